//! `os.fork()` while other threads are in the engine: it waits for them, or the child would have the locks of SQLite that
//! they hold, and nobody to release them.
//!
//! Not for ever: a call may wait for the thread that forks, or take minutes. After `PATIENCE` the fork goes on, and the
//! child is on its own.

use std::cell::{Cell, RefCell};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Default)]
struct State {
    /// Threads that are in the engine.
    inside: usize,
    /// Threads that are about to fork: who is not in the engine yet waits for them.
    forking: usize,
}

static STATE: Mutex<State> = Mutex::new(State { inside: 0, forking: 0 });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Calls that this thread is in: a callback of one may make another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Held over the fork, so that the child has it from this thread and not from one that it lacks.
    static HELD: RefCell<Option<MutexGuard<'static, State>>> = const { RefCell::new(None) };
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's stay in the engine.
pub(crate) struct Stay {
    /// Not within another one, nor by the thread that is about to fork.
    counts: bool,
}

impl Stay {
    /// Waits for a fork that is about to happen. To be called without the GIL, which whoever forks needs to go on.
    pub(crate) fn begin() -> Self {
        let counts = DEPTH.get() == 0 && HELD.with_borrow(Option::is_none);
        if counts {
            let waits = |state: &mut State| state.forking > 0;
            let state = CHANGED.wait_while(lock(), waits);
            state.unwrap_or_else(PoisonError::into_inner).inside += 1;
        }
        DEPTH.set(DEPTH.get() + 1);
        Self { counts }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if !self.counts {
            return;
        }
        let mut state = lock();
        state.inside -= 1;
        if state.forking > 0 {
            CHANGED.notify_all();
        }
    }
}

/// This thread's own calls: it cannot wait for their end.
fn own() -> usize {
    usize::from(DEPTH.get() > 0)
}

#[pyfunction]
fn before(py: Python<'_>) {
    py.detach(|| {
        let mut state = lock();
        state.forking += 1;
        let waits = |state: &mut State| state.inside > own();
        let waited = CHANGED.wait_timeout_while(state, PATIENCE, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        HELD.set(Some(state));
    });
}

#[pyfunction]
fn after_in_parent() {
    if let Some(mut state) = HELD.take() {
        state.forking -= 1;
        drop(state);
        CHANGED.notify_all();
    }
}

#[pyfunction]
fn after_in_child() {
    if let Some(mut state) = HELD.take() {
        // No other thread is here, and nobody to wake.
        *state = State { inside: own(), forking: 0 };
    }
}

/// From now on forks of Python wait.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let hooks = pyo3::types::PyDict::new(py);
    hooks.set_item("before", wrap_pyfunction!(before, py)?)?;
    hooks.set_item("after_in_parent", wrap_pyfunction!(after_in_parent, py)?)?;
    hooks.set_item("after_in_child", wrap_pyfunction!(after_in_child, py)?)?;
    os.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
