//! What belongs to the process that made it. A child of `fork` has the memory, but neither the threads nor the right.

use std::mem;
use std::process;

use crate::errors::{Class, Raise};

/// Whether this is not the process with the id `pid`.
pub(crate) fn forked(pid: u32) -> bool {
    process::id() != pid
}

/// The error for a child that uses what its parent opened.
pub(crate) fn refusal() -> Raise {
    Raise::new(Class::Forked, "opened before os.fork(); the child process cannot use it")
}

/// A value that works with threads of this process. In a child it is neither used nor dropped: its locks may be held by
/// threads that are not there, and its destructor would speak for the parent.
pub(crate) struct OfProcess<T> {
    /// `None` only while it is dropped.
    value: Option<T>,
    pid: u32,
}

impl<T> OfProcess<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Some(value), pid: process::id() }
    }

    /// The value, in the process that made it; elsewhere `Forked`.
    pub(crate) fn get(&self) -> Result<&T, Raise> {
        match &self.value {
            Some(value) if !forked(self.pid) => Ok(value),
            _ => Err(refusal()),
        }
    }
}

impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if forked(self.pid) {
            mem::forget(self.value.take());
        }
    }
}
