//! Times that other work on the machine does not change much.

use std::time::{Duration, Instant};

/// The time that this thread has had a processor: others share the machine.
fn busy() -> Duration {
    // The kernel brings the number up to date then, and else with its ticks, milliseconds apart.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|n| n.parse::<u64>().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The time that this takes.
pub fn time_of(work: impl FnOnce()) -> Duration {
    let (begin, before) = (Instant::now(), busy());
    work();
    match busy().saturating_sub(before) {
        Duration::ZERO => begin.elapsed(),
        time => time,
    }
}

/// The shortest time that one of these takes.
pub fn shortest(count: usize, mut f: impl FnMut()) -> Duration {
    (0..count).map(|_| time_of(&mut f)).min().unwrap()
}
