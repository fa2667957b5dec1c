//! The two lazy iterators: outcomes of a batch, and the event log. Threads that share one take turns, and each item is
//! given once.

use std::collections::VecDeque;

use mdk_core::{EngineEvent, Outcome};
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::args;
use crate::engine::Mdk;
use crate::signed_event::Incoming;
use crate::turn::Turns;
use crate::views::ToPy;

/// Most events in one transaction of `process_many`.
const BATCH: usize = 500;
/// Events read from the log at once.
const PAGE: u32 = 256;

/// The outcomes of `Mdk.process_many()`, in the order of the events. Threads that share it take turns.
///
/// Given up before its end, it loses nothing: the events are in the log, and what is to be published comes again with the
/// next tick(). The outcomes themselves are dropped, for they have plain text.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct OutcomeIterator {
    mdk: Py<Mdk>,
    events: Py<PyIterator>,
    batch: Turns<Batch>,
}

#[derive(Default)]
struct Batch {
    ready: VecDeque<Outcome>,
    /// What the caller's iterable raised; it is passed on behind the outcomes of the events before it.
    error: Option<PyErr>,
}

impl Batch {
    fn pop(&mut self) -> Option<Result<Outcome, PyErr>> {
        let outcome = self.ready.pop_front().map(Ok);
        outcome.or_else(|| self.error.take().map(Err))
    }
}

impl OutcomeIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, events: &Bound<'_, PyAny>) -> PyResult<Self> {
        let events = args::items("events", events)?.unbind();
        Ok(Self { mdk: mdk.clone().unbind(), events, batch: Turns::default() })
    }

    /// The next batch of the caller's events.
    fn read(&self, py: Python<'_>) -> PyResult<Batch> {
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
        Ok(Batch { ready: outcomes.into(), error })
    }
}

#[pymethods]
impl OutcomeIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut turn = self.batch.take(py, &self.mdk.get().guard)?;
        let mut next = turn.state.pop();
        if next.is_none() {
            *turn.state = self.read(py)?;
            next = turn.state.pop();
        }
        drop(turn);
        next.transpose()?.map(|outcome| outcome.to_py(py)).transpose()
    }
}

impl Drop for OutcomeIterator {
    fn drop(&mut self) {
        if self.batch.get_mut().ready.iter().any(|outcome| !outcome.reply.is_empty()) {
            self.mdk.get().guard.hand_out_again();
        }
    }
}

/// The events of `Mdk.events()`, oldest first. Threads that share it take turns.
#[pyclass(frozen, module = "mdk._mdk")]
pub(crate) struct EventIterator {
    mdk: Py<Mdk>,
    page: Turns<Page>,
}

struct Page {
    after: i64,
    left: Option<u32>,
    ready: VecDeque<EngineEvent>,
}

impl EventIterator {
    pub(crate) fn new(mdk: &Bound<'_, Mdk>, after: i64, limit: Option<u32>) -> Self {
        let page = Page { after, left: limit, ready: VecDeque::new() };
        Self { mdk: mdk.clone().unbind(), page: Turns::new(page) }
    }
}

impl Page {
    fn pop(&mut self) -> Option<EngineEvent> {
        let event = self.ready.pop_front()?;
        self.after = event.cursor;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Some(event)
    }
}

#[pymethods]
impl EventIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let guard = &self.mdk.get().guard;
        let mut turn = self.page.take(py, guard)?;
        let page = &mut *turn.state;
        let mut event = page.pop();
        let count = page.left.unwrap_or(PAGE).min(PAGE);
        if event.is_none() && count > 0 {
            let after = page.after;
            page.ready = guard.call(py, |e| e.events(after, count))?.into();
            event = page.pop();
        }
        drop(turn);
        event.map(|event| event.to_py(py)).transpose()
    }
}
