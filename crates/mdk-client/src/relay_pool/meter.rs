//! How much of what a relay sends nobody asked for, and when it is banned for that.

use mdk_wire::budget::relay::{
    BYTES_PER_POINT, CHATTER_POINTS, FALSE_POINTS, POINTS, STRAY_BYTES_PER_POINT, STRAY_POINTS,
    WINDOW,
};
use tokio::time::Instant;

/// Counts of one relay's connections, one after the other: hanging up wins it nothing. Only numbers are kept.
#[derive(Debug)]
pub(super) struct Meter {
    since: Instant,
    points: u32,
    /// Size of the message that is looked at.
    bytes: usize,
    pub(super) forged: u64,
    pub(super) unasked: u64,
    pub(super) garbage: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { since: Instant::now(), points: 0, bytes: 0, forged: 0, unasked: 0, garbage: 0 }
    }
}

/// Why a relay is banned.
pub(super) const TOO_MUCH: &str = "too much that nobody asked for";

impl Meter {
    /// A message of this size comes; what is said of it from now on is weighed by that.
    pub(super) fn weigh(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    fn add(&mut self, points: u32, per: usize) {
        if self.since.elapsed() > WINDOW {
            self.since = Instant::now();
            self.points = 0;
        }
        let weight = u32::try_from(self.bytes / per).unwrap_or(u32::MAX);
        self.points = self.points.saturating_add(points).saturating_add(weight);
    }

    /// An event whose id or signature is wrong.
    pub(super) fn forged(&mut self) {
        self.forged += 1;
        self.add(FALSE_POINTS, BYTES_PER_POINT);
    }

    /// An event that matches no filter of its subscription.
    pub(super) fn unasked(&mut self) {
        self.unasked += 1;
        self.add(FALSE_POINTS, BYTES_PER_POINT);
    }

    /// No message of NIP-01, or one that is larger than it may be.
    pub(super) fn garbage(&mut self) {
        self.garbage += 1;
        self.add(FALSE_POINTS, BYTES_PER_POINT);
    }

    /// Notices and pings.
    pub(super) fn chatter(&mut self) {
        self.add(CHATTER_POINTS, BYTES_PER_POINT);
    }

    /// Something for a request that is over, or twice: happens to honest relays, too.
    pub(super) fn stray(&mut self) {
        self.add(STRAY_POINTS, STRAY_BYTES_PER_POINT);
    }

    /// # Errors
    /// [`TOO_MUCH`].
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.points > POINTS { Err(TOO_MUCH) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often something may come before the relay is banned for it.
    fn times(bytes: usize, what: impl Fn(&mut Meter)) -> usize {
        let mut meter = Meter::default();
        meter.weigh(bytes);
        let mut times = 0;
        while meter.check().is_ok() {
            what(&mut meter);
            times += 1;
        }
        times
    }

    #[test]
    fn what_is_large_is_borne_seldom() {
        const MIB: usize = 1024 * 1024;
        assert_eq!(times(500, Meter::forged), 2_001);
        assert_eq!(times(50, Meter::chatter), 10_001);
        assert_eq!(times(500, Meter::stray), 20_001);
        for large in [Meter::forged, Meter::unasked, Meter::garbage, Meter::chatter] {
            assert_eq!(times(MIB, large), 20);
        }
        // An honest relay goes on with an answer that was given up: as much as a page may have, and some.
        assert_eq!(times(MIB, Meter::stray), 78);
    }
}
