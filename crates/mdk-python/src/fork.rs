//! `os.fork()` while other threads are in the engine: it waits for them, or the child would have the locks of SQLite that
//! they hold, and nobody to release them. Who comes to the engine meanwhile waits for the fork.
//!
//! Neither waits for ever: a call may take minutes, or wait for the thread that forks, and what else is done before a fork
//! may wait for a call. After `PATIENCE` it goes on, and the child is on its own.
//!
//! The child lets go of the databases that its parent has open, so that they are free when the parent ends. It cannot open
//! them itself any more: SQLite's notes of them are inherited, see `files/in_use.rs` of the store.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

const PATIENCE: Duration = Duration::from_secs(3);

struct State {
    /// Threads that are in the engine.
    inside: usize,
    /// Threads that are about to fork.
    forking: usize,
}

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// That of a child which `fork` made of this process. There nobody may be left to release the lock of this one.
    child: OnceLock<Box<Self>>,
}

static FIRST: Gate = Gate::new(0);

thread_local! {
    /// Calls that this thread is in: a callback of one may make another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// This thread is about to fork. What it does until then must not wait for that.
    static FORKS: Cell<bool> = const { Cell::new(false) };
    /// Of a thread that has been in the engine.
    static END: End = const { End };
}

/// The end of a thread takes a lock of OpenSSL, so a fork waits for it as for a call. Python's `join()` does not.
struct End;

#[cfg(unix)]
impl Drop for End {
    fn drop(&mut self) {
        let _stay = Stay::begin();
        mdk_store::end_thread();
    }
}

impl Gate {
    const fn new(inside: usize) -> Self {
        let state = Mutex::new(State { inside, forking: 0 });
        Self { state, changed: Condvar::new(), child: OnceLock::new() }
    }

    /// That of this process.
    fn here() -> &'static Self {
        let mut found = &FIRST;
        while let Some(child) = found.child.get() {
            found = child;
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        waits: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| waits(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A thread's stay in the engine.
pub(crate) struct Stay {
    /// Not within another one, nor by the thread that is about to fork.
    counts: bool,
}

impl Stay {
    /// Waits for a fork that is about to happen. To be called without the GIL, which whoever forks needs to go on.
    pub(crate) fn begin() -> Self {
        // (not while it ends)
        let _ = END.try_with(|_| ());
        let counts = DEPTH.get() == 0 && !FORKS.get();
        if counts {
            let gate = Gate::here();
            gate.wait(gate.lock(), |state| state.forking > 0).inside += 1;
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
        let gate = Gate::here();
        let mut state = gate.lock();
        state.inside -= 1;
        if state.forking > 0 {
            gate.changed.notify_all();
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
        FORKS.set(true);
        let (gate, own) = (Gate::here(), own());
        let mut state = gate.lock();
        state.forking += 1;
        drop(gate.wait(state, |state| state.inside > own));
    });
}

#[pyfunction]
fn after_in_parent() {
    FORKS.set(false);
    let gate = Gate::here();
    gate.lock().forking -= 1;
    gate.changed.notify_all();
}

#[pyfunction]
fn after_in_child() {
    FORKS.set(false);
    mdk_store::let_go_in_child();
    // Nothing is there yet: it is set in a child alone, and its own children set that of its own.
    let _ = Gate::here().child.set(Box::new(Gate::new(own())));
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
