//! Progress callbacks: a Python callable as the store's [`Progress`].

use std::ops::ControlFlow;

use mdk_store::{Progress, Step};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::views::{ToPy, build};

/// The `progress` argument of a long operation: a callable or None.
pub(crate) struct Callback(Option<Py<PyAny>>);

impl FromPyObject<'_, '_> for Callback {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Self(None));
        }
        if !value.is_callable() {
            return Err(PyTypeError::new_err("progress is not callable"));
        }
        Ok(Self(Some(value.to_owned().unbind())))
    }
}

impl Callback {
    /// Nobody is told.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Runs an operation that reports its progress. What the callback raises stops the operation and comes back, also
    /// when the operation was past the point where it could be stopped.
    pub(crate) fn run<T>(self, operation: impl FnOnce(&mut Teller) -> PyResult<T>) -> PyResult<T> {
        let mut teller = Teller { callback: self.0, raised: None };
        let result = operation(&mut teller);
        teller.raised.map_or(result, Err)
    }
}

/// What an operation without the interpreter tells its progress to.
pub(crate) struct Teller {
    callback: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Teller {
    /// Runs `f`; the interpreter is attached for each report only.
    pub(crate) fn with<T>(&mut self, f: impl FnOnce(&mut Progress<'_>) -> T) -> T {
        let Self { callback: Some(callback), raised } = self else {
            return f(&mut Progress::none());
        };
        let mut tell = |step: Step| {
            if raised.is_some() {
                return ControlFlow::Break(());
            }
            let told = Python::attach(|py| callback.call1(py, (step.to_py(py)?,)).map(drop));
            match told {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    *raised = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        f(&mut Progress::new(&mut tell))
    }
}

impl<'py> ToPy<'py> for Step {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        build!(py, "mdk.reports", "Progress", self.stage.name(), self.done, self.total)
    }
}
