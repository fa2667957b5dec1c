//! The engine behind its mutex: one owner, no lock under the GIL, nothing after close, fork or panic.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use mdk_client::{ClientError, EngineAccess};
use mdk_core::{Engine, Error};
use mdk_store::StoreError;
use pyo3::prelude::*;

use crate::ahead::Readers;
use crate::errors::{Class, Raise};
use crate::{logging, panics, process};

thread_local! {
    /// Its address tells this thread from the others that are alive.
    static MARK: u8 = const { 0 };
}

pub(crate) fn this_thread() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

/// What to do about a re-key that failed so late that nothing could be opened again.
const LOST: &str = "The account is closed now. Look at the disk, then open it again; with the new key, if that says so.";

enum State {
    Open(Box<Engine>),
    Closed,
    /// A re-key that failed has closed the database; the engine is gone, so that it can be opened again.
    Lost,
    /// The engine panicked; what it holds in memory cannot be trusted.
    Poisoned,
}

fn closed() -> Raise {
    Raise::new(Class::Closed, "this Mdk is closed")
}

pub(crate) struct Guard {
    state: Mutex<State>,
    /// The thread that is in a call, or 0: a callback of that call must not wait for its own end.
    inside: AtomicUsize,
    /// Outcomes with something to publish were given up; the engine is not told yet.
    given_up: AtomicBool,
    /// What was read and not handed out goes with the engine.
    pub(crate) readers: Readers,
    /// The process that opened it: a child after `fork` has the memory, but not the right.
    pid: u32,
}

impl Guard {
    pub(crate) fn new(engine: Engine) -> Self {
        let state = Mutex::new(State::Open(Box::new(engine)));
        let (inside, given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { state, inside, given_up, readers: Readers::default(), pid: std::process::id() }
    }

    /// Runs one call of the engine. The interpreter is detached before the lock is taken, so a waiting thread
    /// never keeps others from running.
    pub(crate) fn call<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T> + Send,
    ) -> PyResult<T> {
        self.admit(py)?;
        logging::refresh(py)?;
        let result = py.detach(|| self.run(f)).inspect_err(Raise::log);
        logging::drain(py);
        result.map_err(|raise| raise.into_err(py))
    }

    /// Refuses who would wait for ever: a child of `fork`, and a callback of a call that is under way.
    pub(crate) fn admit(&self, py: Python<'_>) -> PyResult<()> {
        self.refuse_fork(py)?;
        self.refuse_reentry(py)
    }

    /// Has the engine hand out again what nobody got. It is told by the next call: the interpreter may be in the middle of
    /// anything, so this waits for none.
    pub(crate) fn hand_out_again(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// A child of `fork` has neither the file nor the threads of its parent.
    pub(crate) fn refuse_fork(&self, py: Python<'_>) -> PyResult<()> {
        if !self.forked() {
            return Ok(());
        }
        Err(process::refusal().into_err(py))
    }

    fn refuse_reentry(&self, py: Python<'_>) -> PyResult<()> {
        if self.inside.load(Ordering::Relaxed) != this_thread() {
            return Ok(());
        }
        let message = "called from a callback of a call on the same object";
        Err(Raise::new(Class::Reentered, message).into_err(py))
    }

    fn run<T>(&self, f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>) -> Result<T, Raise> {
        let mut state = self.lock();
        let engine = match &mut *state {
            State::Open(engine) => engine,
            State::Closed => return Err(closed()),
            State::Lost => return Err(Error::Store(StoreError::Closed).into()),
            State::Poisoned => {
                let message = "an earlier internal error made this Mdk unusable; open it again";
                return Err(Raise::new(Class::InternalError, message));
            }
        };
        self.inside.store(this_thread(), Ordering::Relaxed);
        let started =
            tracing::enabled!(target: "mdk_python", tracing::Level::TRACE).then(Instant::now);
        let done = panics::catch(|| {
            if self.given_up.swap(false, Ordering::Relaxed) {
                engine.hand_out_again();
            }
            f(engine)
        });
        if let Some(started) = started {
            let (ok, micros) = (matches!(done, Ok(Ok(_))), started.elapsed().as_micros());
            tracing::trace!(target: "mdk_python", ok, micros, "call");
        }
        let lost = engine.is_closed();
        self.inside.store(0, Ordering::Relaxed);
        match done {
            Ok(result) if lost => {
                self.give_up(&mut state, State::Lost);
                result.map_err(|error| Raise::from(error).text("hint", LOST))
            }
            Ok(result) => result.map_err(Raise::from),
            Err(raise) => {
                self.give_up(&mut state, State::Poisoned);
                Err(raise)
            }
        }
    }

    /// Drops the engine, which releases the file, so that it can be opened again, and wipes what it holds.
    fn give_up(&self, state: &mut State, why: State) {
        let engine = mem::replace(state, why);
        let _ = panics::catch(|| drop(engine));
        self.readers.take_away();
    }

    /// Closes the engine; a second time, or in a forked child, does nothing.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.forked() {
            return Ok(());
        }
        self.refuse_reentry(py)?;
        logging::refresh(py)?;
        let result = py.detach(|| {
            let mut state = self.lock();
            match mem::replace(&mut *state, State::Closed) {
                State::Open(engine) => {
                    tracing::info!(target: "mdk_python", "an account is being closed");
                    panics::catch(|| engine.close())?.map_err(Raise::from)
                }
                State::Closed | State::Lost | State::Poisoned => Ok(()),
            }
        });
        self.readers.take_away();
        logging::drain(py);
        result.map_err(|raise| raise.into_err(py))
    }

    /// What every call says now that the engine is gone.
    pub(crate) fn gone(&self, py: Python<'_>) -> PyErr {
        self.call(py, |_| Ok(())).err().unwrap_or_else(|| closed().into_err(py))
    }

    /// `Closed` or `Forked`, as a call would say. Without waiting: one that is in a call is open.
    pub(crate) fn require_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_open() { Ok(()) } else { self.call(py, |_| Ok(())) }
    }

    /// Whether it is open and ours. Without waiting: one that is in a call is open.
    pub(crate) fn is_open(&self) -> bool {
        if self.forked() {
            return false;
        }
        match self.state.try_lock() {
            Ok(state) => matches!(*state, State::Open(_)),
            Err(TryLockError::Poisoned(state)) => matches!(*state.into_inner(), State::Open(_)),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    fn forked(&self) -> bool {
        process::forked(self.pid)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Panics are handled by `State::Poisoned`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's way in, from threads that Python does not know.
impl EngineAccess for Guard {
    fn run(&self, f: Box<dyn FnOnce(&mut Engine) + Send + '_>) -> mdk_client::Result<()> {
        if self.forked() {
            return Err(ClientError::EngineGone);
        }
        let call = |engine: &mut Engine| {
            f(engine);
            Ok(())
        };
        self.run(call).map_err(|raise| match raise.class() {
            Class::InternalError => ClientError::Internal("the engine is unusable: open it again"),
            _ => ClientError::EngineGone,
        })
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
