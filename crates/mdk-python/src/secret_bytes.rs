//! Secrets in buffers of Python: copied into memory that is wiped, and overwritten where they came from.

use mdk_wire::SecretVec;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::errors::Raise;

/// The bytes of a buffer.
pub(crate) fn copy(py: Python<'_>, buffer: &PyBuffer<u8>) -> PyResult<SecretVec> {
    let mut bytes = zeroize::Zeroizing::new(vec![0; buffer.item_count()]);
    buffer.copy_to_slice(py, &mut bytes)?;
    Ok(SecretVec::new(std::mem::take(&mut *bytes)))
}

/// Overwrites a buffer with zeros, or says that it cannot be: `bytes` is immutable.
pub(crate) fn wipe(py: Python<'_>, field: &'static str, buffer: &PyBuffer<u8>) -> PyResult<()> {
    if buffer.readonly() {
        let problem = "wipe=True needs a bytearray or a writable memoryview";
        return Err(Raise::input(field, problem).into_err(py));
    }
    buffer.copy_from_slice(py, &vec![0; buffer.item_count()])
}
