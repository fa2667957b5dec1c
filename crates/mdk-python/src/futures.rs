//! Work of the tokio runtime as futures of the caller's asyncio loop.
//!
//! A future is made on the loop that runs, and settled through `call_soon_threadsafe`: no code of the user ever runs on one of our
//! threads. Before the interpreter ends, what is being settled is waited for: a thread of ours that Python stops in the middle
//! would end the process with an error. Cancelling the future ends the work behind it at its next pause. A loop that was closed meanwhile gets nothing,
//! and nobody is told.

use std::future::{Future, poll_fn};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::errors::{Class, Raise};
use crate::process::{OfProcess, forked};
use crate::views::{ToPy, imported};
use crate::{logging, panics};

/// Threads that carry sockets. The engine's work is done on others, which come and go.
const THREADS: usize = 2;

/// What carries the work of one process.
struct Process {
    pid: u32,
    /// `None` if its threads could not be started.
    runtime: Option<Runtime>,
    /// Threads of ours that are in the interpreter, or about to be.
    inside: AtomicUsize,
    /// That of a child which `fork` made of this one: there the threads are missing.
    child: OnceLock<Box<Self>>,
}

static FIRST: OnceLock<Process> = OnceLock::new();

impl Process {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("mdk-net")
            .enable_all()
            .build()
            .ok();
        let (inside, child) = (AtomicUsize::new(0), OnceLock::new());
        Self { pid: process::id(), runtime, inside, child }
    }

    /// That of this process, made at its first use. The caller is attached to the interpreter, like whoever forks: no
    /// fork comes in between.
    fn here() -> &'static Self {
        let mut found = FIRST.get_or_init(Self::new);
        while forked(found.pid) {
            found = found.child.get_or_init(|| Box::new(Self::new()));
        }
        found
    }

    /// The same, if there was any use.
    fn existing() -> Option<&'static Self> {
        let mut found = FIRST.get()?;
        while forked(found.pid) {
            found = found.child.get()?;
        }
        Some(found)
    }

    fn runtime(&self) -> Result<&Runtime, Raise> {
        let message = "the threads for the network could not be started";
        self.runtime.as_ref().ok_or_else(|| Raise::new(Class::InternalError, message))
    }
}

/// The one runtime of this process.
pub(crate) fn runtime() -> Result<&'static Runtime, Raise> {
    Process::here().runtime()
}

/// The interpreter is about to end: nobody of ours goes in any more.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Longest wait for those that are inside.
const PATIENCE: Duration = Duration::from_secs(5);

/// A visit to the interpreter by a thread of ours.
struct Visit(&'static Process);

impl Visit {
    fn begin(process: &'static Process) -> Option<Self> {
        process.inside.fetch_add(1, Ordering::SeqCst);
        let visit = Self(process);
        (!ENDING.load(Ordering::SeqCst)).then_some(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Called once by the interpreter before it ends.
#[pyclass(frozen, module = "mdk._mdk")]
struct End;

#[pymethods]
impl End {
    fn __call__(&self, py: Python<'_>) {
        ENDING.store(true, Ordering::SeqCst);
        let Some(process) = Process::existing() else { return };
        py.detach(|| {
            let begun = Instant::now();
            while process.inside.load(Ordering::SeqCst) != 0 && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}

/// Sees to it that the interpreter ends in good order.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let end = Bound::new(py, End)?;
    py.import("atexit")?.call_method1("register", (end,)).map(drop)
}

/// Ends the work when its future was cancelled.
#[pyclass(frozen, module = "mdk._mdk")]
struct Canceller(OfProcess<AbortHandle>);

#[pymethods]
impl Canceller {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            // In a child of `fork` the work was never there.
            if let Ok(work) = self.0.get() {
                work.abort();
            }
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
    let process = Process::here();
    let runtime = process.runtime()?;
    logging::refresh(py)?;
    let task = runtime.spawn(async move {
        let result = caught(work).await;
        // Waiting for the interpreter must not hold up the sockets.
        tokio::task::spawn_blocking(move || {
            let Some(_visit) = Visit::begin(process) else { return };
            Python::try_attach(|py| settle(py, &event_loop, handle, result));
        });
    });
    let canceller = Bound::new(py, Canceller(OfProcess::new(task.abort_handle())))?;
    future.call_method1("add_done_callback", (canceller,))?;
    Ok(future)
}

/// The result of `work`; a panic in it is `InternalError`, so that nobody waits for ever.
async fn caught<T>(work: impl Future<Output = Result<T, Raise>>) -> Result<T, Raise> {
    let mut work = Box::pin(work);
    let result = poll_fn(|context| {
        panics::catch(|| work.as_mut().poll(context))
            .unwrap_or_else(|panic| Poll::Ready(Err(panic)))
    })
    .await;
    // What it held is given up before anybody hears of it; that may fail like the work itself.
    panics::catch(|| drop(work)).and(result)
}

fn settle<T>(py: Python<'_>, event_loop: &Py<PyAny>, future: Py<PyAny>, result: Result<T, Raise>)
where
    T: for<'a> ToPy<'a>,
{
    let result = match result {
        Ok(value) => {
            panics::catch(|| value.to_py(py)).unwrap_or_else(|panic| Err(panic.into_err(py)))
        }
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
