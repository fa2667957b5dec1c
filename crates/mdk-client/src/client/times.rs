//! The time, and pauses with some chance in them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mdk_wire::{OsRandom, Random as _};

/// How far ahead of the clock, in seconds, an event of ours may be dated. What lies further ahead was made when the clock was
/// wrong: relays do not take it, or nobody can use it yet.
pub(crate) const MOST_AHEAD: u64 = 900;

/// Unix milliseconds.
pub(crate) fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    now_millis() / 1000
}

/// A number by chance, from 0 to 1.
pub(crate) fn chance() -> f64 {
    let mut random = [0; 2];
    OsRandom.fill(&mut random);
    f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX)
}

/// `base` with up to as much again, so that many clients do not act at one time.
pub(crate) fn jittered(base: Duration) -> Duration {
    base + base.mul_f64(chance())
}

/// The pause after so many failures: `least` doubling up to `most`, of which the last half is by chance.
pub(crate) fn backoff(least: Duration, most: Duration, failures: u32) -> Duration {
    pause_after(least, most, failures, chance())
}

/// As [`backoff`], where the chance is given.
pub(crate) fn pause_after(least: Duration, most: Duration, failures: u32, chance: f64) -> Duration {
    let full = least.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX));
    let half = full.min(most) / 2;
    half + half.mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_their_bound() {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(300));
        for failures in 0..70 {
            let pause = backoff(least, most, failures);
            assert!(pause >= least / 2 && pause <= most);
            assert!(failures < 9 || pause >= most / 2);
        }
    }
}
