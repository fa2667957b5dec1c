//! `tracing` as Python's `logging`: events of our crates become records of the loggers `mdk.wire`, `mdk.store`, `mdk.core`,
//! `mdk.client` and `mdk.python`.
//!
//! An event is noted where it happens, often while the engine is locked and the interpreter detached, and handed to
//! Python at the end of the call, when neither is true any more: a handler may do what it likes, even call `mdk`.
//! What no logger wants is refused by one atomic load. Events of other crates are never taken: what they say is not
//! ours to vouch for.

use std::cell::Cell;
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Crates that are listened to, and their loggers.
const SOURCES: [(&str, &str); 5] = [
    ("mdk_wire", "mdk.wire"),
    ("mdk_store", "mdk.store"),
    ("mdk_core", "mdk.core"),
    ("mdk_client", "mdk.client"),
    ("mdk_python", "mdk.python"),
];
/// Most records that wait for the end of a call; more are counted.
const MAX_WAITING: usize = 1000;
/// How often a thread looks again for the queue. It is held for moments, except in a child of `fork()`, where its
/// holder may be gone for ever.
const TRIES: u32 = 10_000;

struct Record {
    source: usize,
    level: u8,
    text: String,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Record>,
    dropped: u64,
}

/// How much each logger wants: 0 nothing, 1 errors, up to 5 everything.
static WANTED: [AtomicU8; SOURCES.len()] = [const { AtomicU8::new(0) }; SOURCES.len()];
static QUEUE: Mutex<Queue> = Mutex::new(Queue { waiting: Vec::new(), dropped: 0 });
/// Whether something waits, so that a call without records pays one load.
static WAITING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// A handler that calls `mdk` must not be called for what that call logs: its records wait for the next call.
    static DRAINING: Cell<bool> = const { Cell::new(false) };
}

/// Listens from now on.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    // A library is silent until its user configures logging.
    let handler = py.import("logging")?.getattr("NullHandler")?.call0()?;
    parent(py)?.call_method1("addHandler", (handler,))?;
    refresh(py)?;
    // It fails only if the module is initialised again, in another interpreter: the first one is kept.
    let _ = tracing::subscriber::set_global_default(Forwarder);
    Ok(())
}

/// Asks the loggers what they want. Called at the beginning of each call, because a level may change at any time.
pub(crate) fn refresh(py: Python<'_>) -> PyResult<()> {
    let parent = parent(py)?;
    let inherited: i64 = parent.call_method0(intern!(py, "getEffectiveLevel"))?.extract()?;
    let manager = parent.getattr(intern!(py, "manager"))?;
    let disabled: i64 = manager.getattr(intern!(py, "disable"))?.extract()?;
    let mut changed = false;
    for (at, wanted) in WANTED.iter().enumerate() {
        // A level of its own, or that of the parent: what `getEffectiveLevel` says, with one call instead of four.
        let own: i64 = source(py, at)?.getattr(intern!(py, "level"))?.extract()?;
        let level = if own == 0 { inherited } else { own };
        let now = match level.max(disabled.saturating_add(1)) {
            ..=5 => 5,
            6..=10 => 4,
            11..=20 => 3,
            21..=30 => 2,
            31..=40 => 1,
            _ => 0,
        };
        changed |= wanted.swap(now, Ordering::Relaxed) != now;
    }
    if changed {
        tracing::callsite::rebuild_interest_cache();
    }
    Ok(())
}

/// Hands what was noted to Python. The caller holds the interpreter and no lock.
pub(crate) fn drain(py: Python<'_>) {
    if !WAITING.load(Ordering::Acquire) || DRAINING.get() {
        return;
    }
    let Some(mut queue) = queue() else { return };
    WAITING.store(false, Ordering::Release);
    let Queue { waiting, dropped } = std::mem::take(&mut *queue);
    drop(queue);
    DRAINING.set(true);
    for record in waiting {
        tell(py, &record);
    }
    if dropped > 0 {
        let text = format!("{dropped} records of one call were too many and are not shown");
        tell(py, &Record { source: SOURCES.len() - 1, level: 2, text });
    }
    DRAINING.set(false);
}

fn tell(py: Python<'_>, record: &Record) {
    let number = match record.level {
        1 => 40,
        2 => 30,
        3 => 20,
        4 => 10,
        _ => 5,
    };
    let told = source(py, record.source)
        .and_then(|logger| logger.call_method1("log", (number, &record.text)).map(drop));
    if let Err(error) = told {
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            // The call has succeeded and its result must not be lost: the interrupt comes right after it.
            let _ = py.import("_thread").and_then(|t| t.call_method0("interrupt_main"));
        } else {
            error.write_unraisable(py, None);
        }
    }
}

fn logger<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("logging")?.call_method1("getLogger", (name,))
}

fn source(py: Python<'_>, at: usize) -> PyResult<&Bound<'_, PyAny>> {
    static LOGGERS: [PyOnceLock<Py<PyAny>>; SOURCES.len()] =
        [const { PyOnceLock::new() }; SOURCES.len()];
    let found =
        LOGGERS[at].get_or_try_init(py, || PyResult::Ok(logger(py, SOURCES[at].1)?.unbind()))?;
    Ok(found.bind(py))
}

/// The logger above all of ours.
fn parent(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static PARENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let found = PARENT.get_or_try_init(py, || PyResult::Ok(logger(py, "mdk")?.unbind()))?;
    Ok(found.bind(py))
}

fn queue() -> Option<MutexGuard<'static, Queue>> {
    for _ in 0..TRIES {
        match QUEUE.try_lock() {
            Ok(queue) => return Some(queue),
            Err(TryLockError::Poisoned(queue)) => return Some(queue.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Which of [`SOURCES`] a target belongs to.
fn source_of(target: &str) -> Option<usize> {
    let name = target.split("::").next().unwrap_or_default();
    // The library that Python loads has a name of its own.
    let name = if name == "_mdk" { "mdk_python" } else { name };
    SOURCES.iter().position(|(source, _)| *source == name)
}

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

struct Forwarder;

impl Subscriber for Forwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && source_of(metadata.target()).is_some_and(|source| {
                number(metadata.level()) <= WANTED[source].load(Ordering::Relaxed)
            })
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let most = WANTED.iter().map(|wanted| wanted.load(Ordering::Relaxed)).max();
        Some(match most {
            Some(1) => LevelFilter::ERROR,
            Some(2) => LevelFilter::WARN,
            Some(3) => LevelFilter::INFO,
            Some(4) => LevelFilter::DEBUG,
            Some(5) => LevelFilter::TRACE,
            _ => LevelFilter::OFF,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(source) = source_of(metadata.target()) else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let record = Record { source, level: number(metadata.level()), text: line.finish() };
        let Some(mut queue) = queue() else { return };
        if queue.waiting.len() < MAX_WAITING {
            queue.waiting.push(record);
        } else {
            queue.dropped += 1;
        }
        WAITING.store(true, Ordering::Release);
    }

    // Spans are not used by our crates.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The text of an event: its message, then its fields in parentheses.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(self) -> String {
        match (self.message.is_empty(), self.fields.is_empty()) {
            (_, true) => self.message,
            (true, false) => self.fields,
            (false, false) => format!("{} ({})", self.message, self.fields),
        }
    }

    fn field(&mut self, field: &Field, value: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        if field.name() == "message" {
            let _ = self.message.write_fmt(value);
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            let _ = write!(self.fields, "{comma}{}={value}", field.name());
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, format_args!("{value:?}"));
    }
}
