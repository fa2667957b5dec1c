//! Who is served by an iterator: one thread after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt as _;

use crate::engine_guard::{Guard, this_thread};
use crate::errors::{Class, Raise};

/// What an iterator has in hand, for the thread whose turn it is.
#[derive(Default)]
pub(crate) struct Turns<T> {
    state: Mutex<T>,
    /// The thread whose turn it is, or 0.
    inside: AtomicUsize,
}

/// One thread's turn; over when it is dropped.
pub(crate) struct Turn<'a, T> {
    pub(crate) state: MutexGuard<'a, T>,
    inside: &'a AtomicUsize,
}

impl<T> Turns<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { state: Mutex::new(state), inside: AtomicUsize::new(0) }
    }

    /// Waits for the turns of others, without holding the GIL. Whoever is in a call of the engine, or in a turn of this
    /// iterator already, is refused: the end of that is what it would wait for.
    pub(crate) fn take(&self, py: Python<'_>, engine: &Guard) -> PyResult<Turn<'_, T>> {
        engine.admit(py)?;
        if self.inside.load(Ordering::Relaxed) == this_thread() {
            let message = "next() was called from within next() of the same iterator";
            return Err(Raise::new(Class::Reentered, message).into_err(py));
        }
        // A panic in a turn leaves what is still to be given, or nothing.
        let state = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        self.inside.store(this_thread(), Ordering::Relaxed);
        Ok(Turn { state, inside: &self.inside })
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        // Before the lock is given back, which the field is.
        self.inside.store(0, Ordering::Relaxed);
    }
}
