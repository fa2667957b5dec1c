//! The engine behind its mutex: one owner, no lock under the GIL, nothing after close, fork or panic.

use std::mem;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mdk_core::Engine;
use pyo3::prelude::*;

use crate::errors::{Class, Raise};
use crate::panics;

enum State {
    Open(Box<Engine>),
    Closed,
    /// The engine panicked; what it holds in memory cannot be trusted.
    Poisoned,
}

pub(crate) struct Guard {
    state: Mutex<State>,
    /// The process that opened it: a child after `fork` has the memory, but not the right.
    pid: u32,
}

impl Guard {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { state: Mutex::new(State::Open(Box::new(engine))), pid: process::id() }
    }

    /// Runs one call of the engine. The interpreter is detached before the lock is taken, so a waiting thread
    /// never keeps others from running.
    pub(crate) fn call<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T> + Send,
    ) -> PyResult<T> {
        if self.forked() {
            let message = "opened before os.fork(); the child process cannot use it";
            return Err(Raise::new(Class::Forked, message).into_err(py));
        }
        py.detach(|| self.run(f)).map_err(|raise| raise.into_err(py))
    }

    fn run<T>(&self, f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>) -> Result<T, Raise> {
        let mut state = self.lock();
        let engine = match &mut *state {
            State::Open(engine) => engine,
            State::Closed => return Err(Raise::new(Class::Closed, "this Mdk is closed")),
            State::Poisoned => {
                let message = "an earlier internal error made this Mdk unusable; open it again";
                return Err(Raise::new(Class::InternalError, message));
            }
        };
        match panics::catch(|| f(engine)) {
            Ok(result) => result.map_err(Raise::from),
            Err(raise) => {
                // Dropping releases the file, so that it can be opened again.
                let broken = mem::replace(&mut *state, State::Poisoned);
                let _ = panics::catch(|| drop(broken));
                Err(raise)
            }
        }
    }

    /// Closes the engine; a second time, or in a forked child, does nothing.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.forked() {
            return Ok(());
        }
        py.detach(|| {
            let mut state = self.lock();
            match mem::replace(&mut *state, State::Closed) {
                State::Open(engine) => panics::catch(|| engine.close())?.map_err(Raise::from),
                State::Closed | State::Poisoned => Ok(()),
            }
        })
        .map_err(|raise| raise.into_err(py))
    }

    /// Whether it is open and ours. Without waiting: meant for the moment when nobody else has a reference.
    pub(crate) fn is_open(&mut self) -> bool {
        let forked = self.forked();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        !forked && matches!(state, State::Open(_))
    }

    fn forked(&self) -> bool {
        process::id() != self.pid
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Panics are handled by `State::Poisoned`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let forked = self.forked();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let state = mem::replace(state, State::Closed);
        if forked {
            // Closing here would roll back, checkpoint or unlock what the parent is using.
            mem::forget(state);
        } else {
            let _ = panics::catch(|| drop(state));
        }
    }
}
