//! Work of the tokio runtime as futures of the caller's asyncio loop.
//!
//! A future is made on the loop that runs, and settled through `call_soon_threadsafe`: no code of the user ever runs on one of our
//! threads. Before the interpreter ends, what is being settled is waited for: a thread of ours that Python stops in the middle
//! would end the process with an error. Cancelling the future ends the work behind it at its next pause. A loop that was closed meanwhile gets nothing,
//! and nobody is told.

use std::future::Future;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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

/// Threads of ours that are in the interpreter, or about to be.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The interpreter is about to end: nobody of ours goes in any more.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Longest wait for those that are inside.
const PATIENCE: Duration = Duration::from_secs(5);

/// A visit to the interpreter by a thread of ours.
struct Visit;

impl Visit {
    fn begin() -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let visit = Self;
        (!ENDING.load(Ordering::SeqCst)).then_some(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Called once by the interpreter before it ends.
#[pyclass(frozen, module = "mdk._mdk")]
struct End {
    pid: u32,
}

#[pymethods]
impl End {
    fn __call__(&self, py: Python<'_>) {
        ENDING.store(true, Ordering::SeqCst);
        // A child of `fork` has the count, but not the threads.
        if process::id() != self.pid {
            return;
        }
        py.detach(|| {
            let begun = Instant::now();
            while INSIDE.load(Ordering::SeqCst) != 0 && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// Sees to it that the interpreter ends in good order.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let end = Bound::new(py, End { pid: process::id() })?;
    py.import("atexit")?.call_method1("register", (end,)).map(drop)
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
            let Some(_visit) = Visit::begin() else { return };
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
