//! The two lazy iterators: outcomes of a batch, and the event log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mdk_core::{EngineEvent, Outcome};
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::args;
use crate::engine::Mdk;
use crate::signed_event::Incoming;
use crate::views::ToPy;

/// Most events in one transaction of `process_many`.
const BATCH: usize = 500;
/// Events read from the log at once.
const PAGE: u32 = 256;

/// The outcomes of `Mdk.process_many()`, in the order of the events.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct OutcomeIterator {
    mdk: Py<Mdk>,
    events: Py<PyIterator>,
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    ready: VecDeque<Outcome>,
    /// What the caller's iterable raised; it is passed on behind the outcomes of the events before it.
    error: Option<PyErr>,
}

impl OutcomeIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, events: &Bound<'_, PyAny>) -> PyResult<Self> {
        let events = args::items("events", events)?.unbind();
        Ok(Self { mdk: mdk.clone().unbind(), events, batch: Mutex::default() })
    }

    fn fill(&self, py: Python<'_>) -> PyResult<()> {
        let mut events = Vec::new();
        let mut error = None;
        for item in self.events.bind(py).clone().take(BATCH) {
            match item.and_then(|item| Incoming::extract(&item)) {
                Ok(event) => events.push(event),
                Err(raised) => {
                    error = Some(raised);
                    break;
                }
            }
        }
        let outcomes = if events.is_empty() {
            Vec::new()
        } else {
            self.mdk.get().guard.call(py, |engine| {
                engine.process_batch(events.iter().map(Incoming::borrow).collect())
            })?
        };
        *lock(&self.batch) = Batch { ready: outcomes.into(), error };
        Ok(())
    }

    fn pop(&self) -> Option<Result<Outcome, PyErr>> {
        let mut batch = lock(&self.batch);
        let outcome = batch.ready.pop_front().map(Ok);
        outcome.or_else(|| batch.error.take().map(Err))
    }
}

#[pymethods]
impl OutcomeIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = match self.pop() {
            Some(next) => Some(next),
            None => {
                self.fill(py)?;
                self.pop()
            }
        };
        next.transpose()?.map(|outcome| outcome.to_py(py)).transpose()
    }
}

/// The events of `Mdk.events()`, oldest first.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct EventIterator {
    mdk: Py<Mdk>,
    page: Mutex<Page>,
}

struct Page {
    after: i64,
    left: Option<u32>,
    ready: VecDeque<EngineEvent>,
}

impl EventIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, after: i64, limit: Option<u32>) -> Self {
        let page = Page { after, left: limit, ready: VecDeque::new() };
        Self { mdk: mdk.clone().unbind(), page: Mutex::new(page) }
    }

    /// The next event, if it has been read already; otherwise what to read.
    fn step(&self) -> Result<EngineEvent, (i64, u32)> {
        let mut page = lock(&self.page);
        match page.ready.pop_front() {
            Some(event) => {
                page.after = event.cursor;
                page.left = page.left.map(|left| left.saturating_sub(1));
                Ok(event)
            }
            None => Err((page.after, page.left.unwrap_or(PAGE).min(PAGE))),
        }
    }
}

#[pymethods]
impl EventIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let event = match self.step() {
            Ok(event) => event,
            Err((_, 0)) => return Ok(None),
            Err((after, count)) => {
                let events = self.mdk.get().guard.call(py, |e| e.events(after, count))?;
                lock(&self.page).ready = events.into();
                match self.step() {
                    Ok(event) => event,
                    Err(_) => return Ok(None),
                }
            }
        };
        event.to_py(py).map(Some)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
