//! The one place where an error of the engine becomes a Python exception.
//!
//! The classes, their codes and their hints are written in `python/mdk/errors/`; this file names and raises them, and
//! `mapping` says which error is which class.

mod exception;
mod mapping;
pub(crate) mod raise;
mod transport;

use pyo3::prelude::*;

pub(crate) use self::mapping::class_of;
pub(crate) use self::raise::{Class, Detail, Raise};

/// Ends a `with` block. The exception that is leaving it (None without one) wins over a failure of the block's end, which
/// it carries as a note.
pub(crate) fn end_block(
    raised: &Bound<'_, PyAny>,
    what: &str,
    result: PyResult<()>,
) -> PyResult<()> {
    match result {
        Err(error) if !raised.is_none() => {
            let note = format!("{what}: {}", error.value(raised.py()));
            // If it takes no notes, it is still the one to see.
            let _ = raised.call_method1("add_note", (note,));
            Ok(())
        }
        result => result,
    }
}
