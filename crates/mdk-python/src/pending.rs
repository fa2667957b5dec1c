//! `mdk.PendingCommit`.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use mdk_core::{CommitState, Error, GroupInfo, Pending};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::engine::Mdk;
use crate::errors::end_block;
use crate::signed_event::SignedEvent;
use crate::views::{self, ToPy};

/// A commit of ours that is not yet true. Publish it, then `confirm()`.
///
/// Leaving a `with` block without `confirm()` discards it. If that fails while an exception leaves the block, the
/// exception goes on with a note, and the commit stays in `Mdk.pending()`, which also lists what a crash has left. Two
/// objects of the same commit are equal.
///
/// While it is pending, events of its group that arrive are kept and judged when it is confirmed or discarded.
#[pyclass(frozen, eq, hash, module = "mdk")]
pub(crate) struct PendingCommit {
    mdk: Py<Mdk>,
    commit: Pending,
    /// Confirmed or discarded through this object.
    done: AtomicBool,
}

impl PendingCommit {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, commit: Pending) -> Self {
        Self { mdk: mdk.clone().unbind(), commit, done: AtomicBool::new(false) }
    }

    /// Its handle in the engine.
    pub(crate) fn id(&self) -> i64 {
        self.commit.id
    }
}

impl PartialEq for PendingCommit {
    fn eq(&self, other: &Self) -> bool {
        // The group as well: a file may be deleted and made anew under its old name.
        self.commit.id == other.commit.id
            && self.commit.group_id == other.commit.group_id
            && self.mdk.get().database() == other.mdk.get().database()
    }
}

impl Hash for PendingCommit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.commit.id.hash(state);
        self.commit.group_id.hash(state);
        self.mdk.get().database().hash(state);
    }
}

#[pymethods]
impl PendingCommit {
    /// The group that it changes, or founds.
    #[getter]
    fn group_id(&self) -> String {
        self.commit.group_id.to_hex()
    }

    /// The kind-445 event to publish; None for the founding of a group, which nobody else can read.
    #[getter]
    fn event(&self) -> Option<SignedEvent> {
        self.commit.event.clone().map(SignedEvent)
    }

    /// Gift wraps (kind 1059), one per invited KeyPackage. Publish them after `event`, to the invitees' inbox relays.
    #[getter]
    fn welcomes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, views::list(py, self.commit.welcomes.clone())?)
    }

    /// Where `event` goes: the relays of the group before the change.
    #[getter]
    fn relays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.commit.relays)
    }

    /// Whether the engine made it by itself, mostly to answer somebody's leave.
    ///
    /// Its event is in the `reply` of an outcome. It is true here once it is confirmed, after it was published, or once its
    /// event comes back through process().
    #[getter]
    fn automatic(&self) -> bool {
        self.commit.automatic
    }

    /// Makes it true. Call it when at least one relay has accepted `event`.
    ///
    /// Called again, also from another thread, through another object or after a restart, it changes nothing and gives the
    /// group.
    ///
    /// Returns:
    ///     GroupInfo: the group after the change, as it is now.
    ///
    /// Raises:
    ///     CommitLost: it was discarded, or another member's commit won, also afterwards; nothing was changed. Or it was
    ///         confirmed, but some 5 epochs ago or more, or the group is over since, and is forgotten. An `automatic` one
    ///         that gave way competes with the other from here on, since a relay has it, and may still win.
    fn confirm<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let info: GroupInfo = self.mdk.get().guard.call(py, |e| e.confirm(self.commit.id))?;
        self.done.store(true, Ordering::Release);
        info.to_py(py)
    }

    /// Forgets it: the group stays as it was.
    ///
    /// Raises:
    ///     CommitLost: it was discarded before, or another member's commit won; nothing was changed. Or it was confirmed, but
    ///         some 5 epochs ago or more, or the group is over since, and is forgotten.
    ///     NotAllowed: it was confirmed, and is true: only another change takes it back. Or a relay is known to have it (its
    ///         event came back to process()): confirm it.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.mdk.get().guard.call(py, |e| e.discard(self.commit.id))?;
        self.done.store(true, Ordering::Release);
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().mdk.get().guard.require_open(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (_type, _value, _traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _type: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if self.done.load(Ordering::Acquire) {
            return Ok(());
        }
        // One that was resolved through another object is what leaving the block asks for.
        let result = self.mdk.get().guard.call(py, |e| match e.discard(self.commit.id) {
            Err(Error::CommitLost | Error::NotFound(_)) => Ok(()),
            Err(Error::NotAllowed(_))
                if e.commit_state(self.commit.id)? == CommitState::Confirmed =>
            {
                Ok(())
            }
            result => result,
        });
        if result.is_ok() {
            self.done.store(true, Ordering::Release);
        }
        end_block(_value, "the commit was not discarded, see Mdk.pending()", result)
    }

    fn __repr__(&self) -> String {
        let (kind, welcomes) = match self.commit.event {
            Some(_) => ("change", self.commit.welcomes.len()),
            None => ("founding", self.commit.welcomes.len()),
        };
        format!("<PendingCommit {kind} welcomes={welcomes}>")
    }
}
