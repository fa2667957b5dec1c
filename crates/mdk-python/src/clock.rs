//! A clock that tests set, and the time that one `tick(now)` uses.

use std::sync::Arc;

use mdk_core::{Clock as _, Engine, ManualClock, SystemClock};
use pyo3::prelude::*;
use pyo3::types::PyDelta;

use crate::args;
use crate::views;

/// A clock that stands still until it is moved. For tests: `Mdk.in_memory(clock=Clock(start))`.
///
/// Args:
///     start: the time to show, an aware datetime.
///
/// OpenMLS compares KeyPackage lifetimes (RFC 9420, 7.3) with the system clock whatever this shows.
#[pyclass(frozen, module = "mdk.testing")]
pub(crate) struct Clock(ManualClock);

#[pymethods]
impl Clock {
    #[new]
    fn new(start: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(ManualClock::at(args::millis("start", start)? / 1000)))
    }

    /// The time it shows, UTC, whole seconds.
    #[getter]
    fn now<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        views::time(py, self.0.now())
    }

    /// Sets the time, to the second. It may go back.
    fn set(&self, now: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0.set(args::millis("now", now)? / 1000);
        Ok(())
    }

    /// Moves the time forward, to the millisecond.
    fn advance(&self, by: &Bound<'_, PyDelta>) -> PyResult<()> {
        self.0.advance_millis(args::duration_millis("by", by)?);
        Ok(())
    }
}

impl Clock {
    /// The clock of a new engine.
    pub(crate) fn for_engine(clock: Option<&Self>) -> Arc<dyn mdk_core::Clock> {
        match clock {
            Some(clock) => Arc::new(clock.0.clone()),
            None => Arc::new(SystemClock),
        }
    }
}

/// Calls `f` with the engine's clock standing at `now`, in milliseconds.
pub(crate) fn at<T>(engine: &mut Engine, now: u64, f: impl FnOnce(&mut Engine) -> T) -> T {
    let clock = ManualClock::at(now / 1000);
    clock.advance_millis(now % 1000);
    let usual = engine.set_clock(Arc::new(clock));
    let result = f(engine);
    engine.set_clock(usual);
    result
}
