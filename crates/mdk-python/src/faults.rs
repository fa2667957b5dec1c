//! Faults and looks that the tests ask for.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::engine::Mdk;
use crate::futures;
use crate::text::Text;

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

/// Private, for the tests: the small durable values whose keys begin with `prefix`, by key.
#[pyfunction]
pub(crate) fn _states<'py>(
    py: Python<'py>,
    mdk: &Mdk,
    prefix: Text,
) -> PyResult<Bound<'py, PyDict>> {
    let prefix = prefix.get("prefix")?;
    let states = PyDict::new(py);
    for (key, value) in mdk.guard.call(py, |e| e.states(prefix))? {
        states.set_item(key, PyBytes::new(py, &value))?;
    }
    Ok(states)
}

/// Private, for the tests: writes one of them.
#[pyfunction]
#[pyo3(signature = (mdk, key, value))]
pub(crate) fn _set_state(
    py: Python<'_>,
    mdk: &Mdk,
    key: Text,
    value: Option<&[u8]>,
) -> PyResult<()> {
    let key = key.get("key")?;
    mdk.guard.call(py, |e| e.set_state(key, value))
}
