//! Work of the tokio runtime as futures of the caller's asyncio loop.
//!
//! A future is made on the loop that runs, and settled through `call_soon_threadsafe`: no code of the user ever runs on one of our
//! threads. Cancelling the future ends the work behind it at its next pause. A loop that was closed meanwhile gets nothing,
//! and nobody is told.

use std::future::Future;
use std::sync::OnceLock;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::errors::{Class, Raise};
use crate::logging;
use crate::views::{ToPy, imported};

/// Threads that carry sockets. The engine's work is done on others, which come and go.
const THREADS: usize = 2;

/// The one runtime of the process, made at its first use.
pub(crate) fn runtime() -> Result<&'static Runtime, Raise> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let make = || {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("mdk-net")
            .enable_all()
            .build()
            .ok()
    };
    let message = "the threads for the network could not be started";
    RUNTIME.get_or_init(make).as_ref().ok_or_else(|| Raise::new(Class::InternalError, message))
}

/// Ends the work when its future was cancelled.
#[pyclass(frozen, module = "mdk._mdk")]
struct Canceller(AbortHandle);

#[pymethods]
impl Canceller {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            self.0.abort();
        }
        Ok(())
    }
}

/// Settles a future on its loop, unless it was cancelled in the meantime.
#[pyclass(frozen, module = "mdk._mdk")]
struct Settle {
    future: Py<PyAny>,
    value: Py<PyAny>,
    failed: bool,
}

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        if future.call_method0("done")?.is_truthy()? {
            return Ok(());
        }
        let method = if self.failed { "set_exception" } else { "set_result" };
        future.call_method1(method, (&self.value,))?;
        // What the work noted is for the user's loggers, on the user's thread.
        logging::drain(py);
        Ok(())
    }
}

/// Starts `work` and returns a future of the running loop for its result.
pub(crate) fn spawn<'py, T>(
    py: Python<'py>,
    work: impl Future<Output = Result<T, Raise>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>>
where
    T: for<'a> ToPy<'a> + Send + 'static,
{
    let running = imported!(py, "asyncio", "get_running_loop")?.call0()?;
    let future = running.call_method0("create_future")?;
    let (event_loop, handle) = (running.unbind(), future.clone().unbind());
    let runtime = runtime()?;
    logging::refresh(py)?;
    let task = runtime.spawn(async move {
        let result = work.await;
        // Waiting for the interpreter must not hold up the sockets.
        tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| settle(py, &event_loop, handle, result));
        });
    });
    let canceller = Bound::new(py, Canceller(task.abort_handle()))?;
    future.call_method1("add_done_callback", (canceller,))?;
    Ok(future)
}

fn settle<T>(py: Python<'_>, event_loop: &Py<PyAny>, future: Py<PyAny>, result: Result<T, Raise>)
where
    T: for<'a> ToPy<'a>,
{
    let result = match result {
        Ok(value) => value.to_py(py),
        Err(raise) => {
            raise.log();
            Err(raise.into_err(py))
        }
    };
    let (value, failed) = match result {
        Ok(value) => (value.unbind(), false),
        Err(error) => (error.into_value(py).into_any(), true),
    };
    // It fails when the loop is closed: then nobody waits any more.
    let _ = Bound::new(py, Settle { future, value, failed })
        .and_then(|settle| event_loop.bind(py).call_method1("call_soon_threadsafe", (settle,)));
}
