//! The two lazy iterators: outcomes of a batch, and the event log. Threads that share one take turns, and each item is
//! given once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mdk_core::{EngineEvent, Outcome};
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use pyo3::{PyTraverseError, PyVisit};

use crate::ahead::{Ahead, Taken};
use crate::args;
use crate::engine::Mdk;
use crate::engine_guard::Guard;
use crate::signed_event::Incoming;
use crate::turn::Turns;
use crate::views::ToPy;

/// Most events in one transaction of `process_many`.
const BATCH: usize = 500;
/// Events read from the log at once.
const PAGE: u32 = 256;

/// The next that was read ahead, or what has become of the engine with which it went.
fn pop<T>(py: Python<'_>, guard: &Guard, ahead: &Ahead<T>) -> PyResult<Option<T>> {
    ahead.pop().map_err(|Taken| guard.gone(py))
}

/// The outcomes of `Mdk.process_many()`, in the order of the events. Threads that share it take turns.
///
/// Given up before its end, it loses nothing: the events are in the log, and what is to be published comes again with the
/// next tick(). The outcomes themselves are dropped, for they have plain text; so they are when the account is closed, and
/// who asks for one of them then gets Closed.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct OutcomeIterator {
    mdk: Py<Mdk>,
    events: Py<PyIterator>,
    ahead: Arc<Ahead<Outcome>>,
    /// What the caller's iterable raised; it is passed on behind the outcomes of the events before it. Locked for moments,
    /// and only by who is attached to the interpreter: its garbage collection looks at it more than once, and must see the
    /// same.
    raised: Mutex<Option<Py<PyBaseException>>>,
    /// What was taken from the iterable and is not processed yet: a call that failed is made again for it.
    batch: Turns<Vec<Incoming>>,
}

impl OutcomeIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, events: &Bound<'_, PyAny>) -> PyResult<Self> {
        let events = args::items("events", events)?.unbind();
        let ahead = mdk.get().guard.readers.ahead();
        let (raised, batch) = (Mutex::default(), Turns::default());
        Ok(Self { mdk: mdk.clone().unbind(), events, ahead, raised, batch })
    }

    fn raised(&self) -> MutexGuard<'_, Option<Py<PyBaseException>>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, py: Python<'_>, batch: &mut Vec<Incoming>) {
        for item in self.events.bind(py).clone().take(BATCH) {
            match item.and_then(|item| Incoming::extract(&item)) {
                Ok(event) => batch.push(event),
                Err(raised) => {
                    let raised = raised.into_value(py);
                    *self.raised() = Some(raised);
                    break;
                }
            }
        }
    }

    /// Takes in the next batch of the caller's events.
    fn read(&self, py: Python<'_>, batch: &mut Vec<Incoming>) -> PyResult<()> {
        if batch.is_empty() && self.raised().is_none() {
            self.fill(py, batch);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let (ahead, events) = (&*self.ahead, &*batch);
        self.mdk.get().guard.call(py, |engine| {
            ahead.put(engine.process_batch(events.iter().map(Incoming::borrow).collect())?);
            Ok(())
        })?;
        batch.clear();
        // An interrupt that came meanwhile would be raised behind this call, and the outcome that it returns be lost.
        py.check_signals()
    }
}

#[pymethods]
impl OutcomeIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let guard = &self.mdk.get().guard;
        let mut turn = self.batch.take(py, guard)?;
        let mut next = pop(py, guard, &self.ahead)?;
        if next.is_none() {
            self.read(py, &mut turn.state)?;
            next = pop(py, guard, &self.ahead)?;
        }
        let raised = if next.is_none() { self.raised().take() } else { None };
        drop(turn);
        match raised {
            Some(raised) => Err(PyErr::from_value(raised.into_bound(py).into_any())),
            None => next.map(|outcome| outcome.to_py(py)).transpose(),
        }
    }

    /// The caller's iterable may have this iterator, and through it the account stays open.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mdk)?;
        visit.call(&self.events)?;
        // The frames of its traceback may have this iterator, too.
        visit.call(&*self.raised())
    }
}

impl Drop for OutcomeIterator {
    fn drop(&mut self) {
        if self.ahead.any(|outcome| !outcome.reply.is_empty()) {
            self.mdk.get().guard.hand_out_again();
        }
    }
}

/// The events of `Mdk.events()`, oldest first. Threads that share it take turns.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct EventIterator {
    mdk: Py<Mdk>,
    ahead: Arc<Ahead<EngineEvent>>,
    place: Turns<Place>,
}

struct Place {
    after: i64,
    left: Option<u32>,
}

impl EventIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, after: i64, limit: Option<u32>) -> Self {
        let place = Turns::new(Place { after, left: limit });
        Self { mdk: mdk.clone().unbind(), ahead: mdk.get().guard.readers.ahead(), place }
    }
}

#[pymethods]
impl EventIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let guard = &self.mdk.get().guard;
        let mut turn = self.place.take(py, guard)?;
        let Place { after, left } = &mut *turn.state;
        let mut event = pop(py, guard, &self.ahead)?;
        let count = left.unwrap_or(PAGE).min(PAGE);
        if event.is_none() && count > 0 {
            let (ahead, after) = (&*self.ahead, *after);
            guard.call(py, |engine| {
                ahead.put(engine.events(after, count)?);
                Ok(())
            })?;
            event = pop(py, guard, &self.ahead)?;
        }
        if let Some(event) = &event {
            *after = event.cursor;
            *left = left.map(|left| left.saturating_sub(1));
        }
        drop(turn);
        event.map(|event| event.to_py(py)).transpose()
    }
}
