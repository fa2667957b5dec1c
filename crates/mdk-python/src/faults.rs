//! Faults that the tests ask for.

use pyo3::prelude::*;

use crate::engine::Mdk;
use crate::futures;

/// Private, for the tests: panics inside the engine's guard as a bug of the engine would.
#[pyfunction]
pub(crate) fn _panic(py: Python<'_>, mdk: &Mdk) -> PyResult<()> {
    mdk.guard.call(py, |_| panic!("a message that must not be printed"))
}

/// Private, for the tests: panics in what a future of Python waits for.
#[pyfunction]
pub(crate) fn _panic_in_future(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    futures::spawn::<()>(py, async { panic!("a message that must not be printed") })
}
