//! `str` and path arguments. Their conversion errors would carry the whole text, which may be a secret: here they end as
//! a flag, and the method that knows the argument's name raises.

use std::path::PathBuf;

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::errors::Raise;

const PROBLEM: &str = "not valid Unicode (lone surrogates)";

/// A `str`, perhaps with lone surrogates, which UTF-8 cannot express.
pub(crate) enum Text {
    Valid(PyBackedStr),
    /// The default of an argument.
    Fixed(&'static str),
    Malformed,
}

impl FromPyObject<'_, '_> for Text {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let text = value.cast::<PyString>()?;
        Ok(text.extract().map_or(Self::Malformed, Self::Valid))
    }
}

impl Text {
    /// The text, or `InvalidInput`.
    pub(crate) fn get(&self, field: &'static str) -> Result<&str, Raise> {
        self.valid().ok_or_else(|| Raise::input(field, PROBLEM))
    }

    /// The text of a key, or `InvalidKey`.
    pub(crate) fn key(&self, field: &'static str) -> Result<&str, Raise> {
        self.valid().ok_or_else(|| Raise::key(field, format!("{field}: {PROBLEM}")))
    }

    fn valid(&self) -> Option<&str> {
        match self {
            Self::Valid(text) => Some(text),
            Self::Fixed(text) => Some(text),
            Self::Malformed => None,
        }
    }
}

/// A `str` or `os.PathLike`; `None` inside for a text that no file name can have.
pub(crate) struct PathText(Option<PathBuf>);

impl FromPyObject<'_, '_> for PathText {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.extract() {
            Ok(path) => Ok(Self(Some(path))),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(value.py()) => {
                Ok(Self(None))
            }
            Err(error) => Err(error),
        }
    }
}

impl PathText {
    /// The path, or `InvalidInput`.
    pub(crate) fn get(self) -> Result<PathBuf, Raise> {
        self.0.ok_or_else(|| Raise::input("path", PROBLEM))
    }
}
