//! `mdk.DatabaseKey`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_wire::Secret;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::args;
use crate::errors::{Class, Raise};
use crate::text::{PathText, Text};

/// Where the 32-byte key of an encrypted database comes from. `repr()` shows neither key nor path.
#[pyclass(frozen, module = "mdk")]
pub(crate) struct DatabaseKey {
    pub(crate) key: mdk_store::DatabaseKey,
    /// As in `StoreInfo.key_source`.
    pub(crate) source: &'static str,
}

#[pymethods]
impl DatabaseKey {
    /// The key itself: exactly 32 random bytes. Without it the data is lost, so keep it safe.
    ///
    /// A bytearray or memoryview can be overwritten by the caller afterwards; bytes cannot.
    ///
    /// Raises:
    ///     InvalidInput: not 32 bytes.
    #[staticmethod]
    fn raw(py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyBuffer::<u8>::get(key)?;
        let mut bytes = Zeroizing::new([0; 32]);
        if buffer.item_count() != bytes.len() {
            let size = buffer.item_count() as u64;
            return Err(Raise::size("key", "not exactly 32 bytes", 32, size).into());
        }
        buffer.copy_to_slice(py, bytes.as_mut_slice())?;
        Ok(Self::from_bytes(*bytes, "raw"))
    }

    /// A key file. It is created, with mode 0600 and a fresh key, when the database is created, and never changed.
    ///
    /// Nothing is read before the database is opened.
    #[staticmethod]
    fn from_file(path: PathText) -> PyResult<Self> {
        Ok(Self { key: mdk_store::DatabaseKey::File(path.get()?), source: "file" })
    }

    /// The key in an environment variable, read now: 32 bytes as 64 hex digits or as base64.
    ///
    /// Raises:
    ///     KeyMissing: the variable is not set.
    ///     InvalidKey: it does not hold 32 bytes.
    #[staticmethod]
    #[pyo3(signature = (name=Text::Fixed("MDK_DB_KEY")), text_signature = "(name='MDK_DB_KEY')")]
    fn from_env(name: Text) -> PyResult<Self> {
        let missing = || Raise::new(Class::KeyMissing, "the environment variable is not set");
        let text = args::environment(name.get("name")?).ok_or_else(missing)?;
        let bytes = decode(text.trim())
            .ok_or_else(|| Raise::key("name", "neither 64 hex digits nor base64 of 32 bytes"))?;
        Ok(Self::from_bytes(*bytes, "env"))
    }

    fn __repr__(&self) -> String {
        format!("<DatabaseKey {}>", self.source)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("DatabaseKey cannot be pickled or copied: it may hold a secret"))
    }
}

impl DatabaseKey {
    fn from_bytes(bytes: [u8; 32], source: &'static str) -> Self {
        Self { key: mdk_store::DatabaseKey::Raw(Secret::new(bytes)), source }
    }
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() == 64 {
        hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        return Some(bytes);
    }
    let decoded = Zeroizing::new(STANDARD.decode(text).ok()?);
    bytes.copy_from_slice(decoded.get(..).filter(|decoded| decoded.len() == 32)?);
    Some(bytes)
}
