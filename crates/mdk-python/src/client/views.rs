//! What the client reports, as Python sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use mdk_client::{PushStats, RelayState, RelayStatus, Stats};
use mdk_core::{Engine, EngineEvent};
use mdk_wire::GroupId;
use mdk_wire::profile::Profile;
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDict, PyList, PyTuple};

use crate::views::{self, ToPy, build, list, time};

/// What `poll` returns: events, and the cursor of the last one.
pub(crate) type Polled = (Vec<EngineEvent>, i64);

/// A list of Python, where `Vec` alone is a tuple.
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<'py, T: ToPy<'py>> ToPy<'py> for List<T> {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, list(py, self.0)?)?.into_any())
    }
}

impl<'py> ToPy<'py> for () {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(py.None().into_bound(py))
    }
}

impl<'py> ToPy<'py> for Option<(Profile, u64)> {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some((profile, said_at)) = self else { return Ok(py.None().into_bound(py)) };
        let texts = [profile.name, profile.about, profile.picture];
        let texts: PyResult<Vec<_>> =
            texts.into_iter().map(|text| Ok(text.into_pyobject(py)?.into_any())).collect();
        let mut fields = texts?;
        fields.push(time(py, said_at)?);
        Ok(PyTuple::new(py, fields)?.into_any())
    }
}

impl<'py> ToPy<'py> for Polled {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (events, last) = self;
        let events = List(events).to_py(py)?;
        Ok(PyTuple::new(py, [events, last.into_pyobject(py)?.into_any()])?.into_any())
    }
}

impl<'py> ToPy<'py> for RelayStatus {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let state = match self.state {
            RelayState::Connecting => "connecting",
            RelayState::Connected => "connected",
            RelayState::BackingOff => "backing-off",
            RelayState::Closed => "closed",
            RelayState::Banned => "banned",
        };
        let latency = match self.latency {
            Some(latency) => {
                let seconds = i32::try_from(latency.as_secs()).unwrap_or(i32::MAX);
                let micros = latency.subsec_micros() as i32;
                PyDelta::new(py, 0, seconds, micros, true)?.into_any()
            }
            None => py.None().into_bound(py),
        };
        let next = self.next_attempt.map(|at| time(py, unix(at))).transpose()?;
        let complete = self.complete_as_of.map(|at| time(py, at)).transpose()?;
        let Self { url, last_error, unanswered, lost, .. } = self;
        build!(
            py,
            "mdk.values",
            "RelayStatus",
            url,
            state,
            latency,
            last_error,
            next,
            unanswered,
            lost,
            complete
        )
    }
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The counters, by their names in `mdk.ClientStats`.
pub(crate) fn stats<'py>(
    py: Python<'py>,
    stats: &Stats,
    push: &PushStats,
) -> PyResult<Bound<'py, PyDict>> {
    let counters = PyDict::new(py);
    for (name, value) in [
        ("outbox_queued", stats.outbox_queued),
        ("events_received", stats.events_received),
        ("events_rejected", stats.events_rejected),
        ("events_false", stats.events_false),
        ("events_deferred", stats.events_deferred),
        ("messages_sent", stats.messages_sent),
        ("backlog_fetched", stats.backlog_fetched),
        ("backlog_processed", stats.backlog_processed),
        ("possible_gaps", stats.possible_gaps),
        ("relays_without_room", stats.relays_without_room),
        ("push_sent", push.sent),
        ("push_failed", push.failed),
        ("push_dropped", push.dropped),
        ("internal_errors", stats.internal_errors),
    ] {
        counters.set_item(name, value)?;
    }
    let last = stats.last_event_at.map(|at| views::time(py, at)).transpose()?;
    counters.set_item("last_event_at", last)?;
    Ok(counters)
}

/// Events read from the log at once.
const PAGE: u32 = 256;

/// The events of one group within a range of the log, and how far it was read.
pub(crate) fn events_of(
    engine: &mut Engine,
    mut after: i64,
    upto: i64,
    group: Option<&GroupId>,
    limit: usize,
) -> mdk_core::Result<(Vec<EngineEvent>, i64)> {
    let mut found = Vec::new();
    loop {
        let page = engine.events(after, PAGE)?;
        let full = page.len() == PAGE as usize;
        for event in page {
            if event.cursor > upto {
                return Ok((found, upto));
            }
            after = event.cursor;
            if event.group_id.as_ref() == group {
                found.push(event);
                if found.len() >= limit {
                    return Ok((found, after));
                }
            }
        }
        if !full {
            return Ok((found, after.max(upto)));
        }
    }
}
