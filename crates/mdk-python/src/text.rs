//! `str` and path arguments. Their conversion errors would carry the whole text, which may be a secret: here they end as
//! a flag, and the method that knows the argument's name raises.

use std::path::{Path, PathBuf};

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

use crate::errors::Raise;

const PROBLEM: &str = "not valid Unicode (lone surrogates)";
/// The same words as in `python/mdk/paths.py`.
const HOMELESS: &str = "Set HOME, or give an absolute path. A file whose name begins with '~' in this folder is ./~NAME.";

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

/// A `str` or `os.PathLike`, with the home folder that a `~` at its beginning stands for. Anywhere else it is a letter.
pub(crate) enum PathText {
    Valid(PathBuf),
    /// A text that no file name can have.
    Malformed,
    /// It begins with `~`, and nothing says where that home folder is.
    Homeless(PathBuf),
}

impl FromPyObject<'_, '_> for PathText {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match value.extract::<PathBuf>() {
            Ok(path) if begins_with_tilde(&path) => expanded(value.py(), path),
            Ok(path) => Ok(Self::Valid(path)),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(value.py()) => {
                Ok(Self::Malformed)
            }
            Err(error) => Err(error),
        }
    }
}

impl PathText {
    /// The path, or `InvalidInput`.
    pub(crate) fn get(self) -> Result<PathBuf, Raise> {
        match self {
            Self::Valid(path) => Ok(path),
            Self::Malformed => Err(Raise::input("path", PROBLEM)),
            Self::Homeless(path) => {
                let problem = format!("no home folder is known for '{}'", path.display());
                Err(Raise::input("path", &problem).text("hint", HOMELESS))
            }
        }
    }
}

fn begins_with_tilde(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(b"~")
}

/// As Python does it, so that both halves of the library mean the same place.
fn expanded(py: Python<'_>, path: PathBuf) -> PyResult<PathText> {
    let text = path.as_os_str();
    let found: PathBuf = py.import("os.path")?.call_method1("expanduser", (text,))?.extract()?;
    // Python leaves it as it is when it knows no such folder.
    let known = !begins_with_tilde(&found);
    Ok(if known { PathText::Valid(found) } else { PathText::Homeless(path) })
}
