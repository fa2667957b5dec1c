//! The processor time of what a test does: whatever else runs on the machine, and in the tests beside it, is not in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The threads of one test.
pub struct Busy {
    begun: Instant,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    alive: Vec<PathBuf>,
    /// What those had that have ended.
    ended: Duration,
}

impl Busy {
    /// What the threads have had so far; where the system does not count it, the time that has passed.
    pub fn so_far(&self) -> Duration {
        let threads = self.threads.lock().unwrap();
        let alive: Duration = threads.alive.iter().map(|thread| had(thread)).sum();
        match alive + threads.ended {
            Duration::ZERO => self.begun.elapsed(),
            time => time,
        }
    }

    fn begins(&self) {
        self.threads.lock().unwrap().alive.extend(this());
    }

    fn ends(&self) {
        let Some(thread) = this() else { return };
        let mut threads = self.threads.lock().unwrap();
        threads.ended += had(&thread);
        threads.alive.retain(|other| *other != thread);
    }
}

/// Where the system counts for this thread.
fn this() -> Option<PathBuf> {
    let thread = Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?);
    Some(thread.join("schedstat"))
}

fn had(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Runs a test on threads of its own, as many as `tokio::test` has.
pub fn counted<F: Future>(test: impl FnOnce(Arc<Busy>) -> F) -> F::Output {
    let busy = Arc::new(Busy { begun: Instant::now(), threads: Mutex::default() });
    busy.begins();
    let (at_start, at_end) = (busy.clone(), busy.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(move || at_start.begins())
        .on_thread_stop(move || at_end.ends())
        .build()
        .unwrap();
    runtime.block_on(test(busy))
}

/// Whether `few` and `many` tell of a cost that is linear in the amount of work. Memory that others use at the same time
/// slows down one run, hardly three; what is quadratic costs too much in each.
pub fn is_linear(
    mut few: impl FnMut() -> Duration,
    mut many: impl FnMut() -> Duration,
    most: u32,
) -> Result<(), String> {
    let (mut least, mut large) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        (least, large) = (least.min(few()), large.min(many()));
        println!("{least:?} of processor time, then {large:?}");
        if large < least * most {
            return Ok(());
        }
    }
    Err(format!("{least:?}, then {large:?}, {most} times as much or more"))
}
