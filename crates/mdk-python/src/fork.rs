//! A child of `os.fork()` uses nothing of its parent: see `files/in_use.rs` of the store, which refuses it. It lets go of the
//! databases that its parent has open, so that they are free when the parent ends.

use pyo3::prelude::*;

#[pyfunction]
fn after_in_child() {
    mdk_store::let_go_in_child();
}

/// From now on children of Python's `os.fork()` do so.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let hooks = pyo3::types::PyDict::new(py);
    hooks.set_item("after_in_child", wrap_pyfunction!(after_in_child, py)?)?;
    os.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
