//! Passphrases: `str`, or bytes that their owner can overwrite.

use mdk_wire::SecretVec;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::{Class, Raise};
use crate::secret_bytes;
use crate::text::Text;

/// A passphrase as it was given; what is wrong with it is said by the method that knows the argument's name.
pub(crate) enum Passphrase {
    Text(Text),
    Bytes(SecretVec),
}

impl FromPyObject<'_, '_> for Passphrase {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = value.extract::<Text>() {
            return Ok(Self::Text(text));
        }
        let buffer = PyBuffer::<u8>::get(&value).map_err(|_| {
            PyTypeError::new_err("a passphrase is str, bytes, bytearray or memoryview")
        })?;
        Ok(Self::Bytes(secret_bytes::copy(value.py(), &buffer)?))
    }
}

impl Passphrase {
    pub(crate) fn get(self, field: &'static str) -> Result<SecretVec, Raise> {
        match self {
            Self::Text(text) => Ok(SecretVec::new(text.get(field)?.as_bytes().to_vec())),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }
}

/// Most bytes of a passphrase.
const MAX_BYTES: usize = 1024;

/// Fails unless it has an acceptable length.
pub(crate) fn check(field: &'static str, passphrase: &SecretVec) -> Result<(), Raise> {
    let length = passphrase.expose().len();
    if (1..=MAX_BYTES).contains(&length) {
        return Ok(());
    }
    let message = format!("{field}: must have 1 to {MAX_BYTES} bytes, got {length}");
    Err(Raise::new(Class::InvalidPassphrase, message)
        .text("field", field)
        .number("limit", Some(if length == 0 { 1 } else { MAX_BYTES as u64 }))
        .number("value", Some(length as u64)))
}
