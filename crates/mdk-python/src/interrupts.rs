//! Signals of Python that come while a key is read.

use std::cell::RefCell;

use pyo3::prelude::*;

thread_local! {
    /// What ended the callback of this thread: an interrupt or an exit, which goes on to the caller.
    static INTERRUPT: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Whether what a signal calls for in Python ends the reading of a key, as it ends a key callback.
pub(crate) fn interrupted() -> bool {
    Python::attach(|py| match py.check_signals() {
        Ok(()) => false,
        Err(error) => {
            keep(error);
            true
        }
    })
}

/// Keeps what ended a callback, for the call that fails by it.
pub(crate) fn keep(error: PyErr) {
    INTERRUPT.with(|slot| slot.replace(Some(error)));
}

/// What ended the callback of the call that fails now, if it was no exception of the ordinary kind.
pub(crate) fn interrupt() -> Option<PyErr> {
    INTERRUPT.with(RefCell::take)
}
