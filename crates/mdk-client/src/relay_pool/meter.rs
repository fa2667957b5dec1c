//! How much of what a relay sends nobody asked for.

use std::time::Duration;
use tokio::time::Instant;

/// Window of the count.
const WINDOW: Duration = Duration::from_secs(60);
/// Points within a window from which the relay is left alone for the longest pause: 2,000 forged events, or 10,000 notices.
const MOST: u32 = 20_000;

/// Counts of one connection; only numbers are kept.
#[derive(Debug)]
pub(super) struct Meter {
    since: Instant,
    points: u32,
    pub(super) forged: u64,
    pub(super) unasked: u64,
    pub(super) garbage: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { since: Instant::now(), points: 0, forged: 0, unasked: 0, garbage: 0 }
    }
}

/// Why a relay is banned.
pub(super) const TOO_MUCH: &str = "too much that nobody asked for";

impl Meter {
    fn add(&mut self, points: u32) {
        if self.since.elapsed() > WINDOW {
            self.since = Instant::now();
            self.points = 0;
        }
        self.points = self.points.saturating_add(points);
    }

    /// An event whose id or signature is wrong.
    pub(super) fn forged(&mut self) {
        self.forged += 1;
        self.add(10);
    }

    /// An event that matches no filter of its subscription.
    pub(super) fn unasked(&mut self) {
        self.unasked += 1;
        self.add(10);
    }

    /// No message of NIP-01.
    pub(super) fn garbage(&mut self) {
        self.garbage += 1;
        self.add(10);
    }

    /// Notices and pings.
    pub(super) fn chatter(&mut self) {
        self.add(2);
    }

    /// Something for a request that is over, or twice: happens to honest relays, too.
    pub(super) fn stray(&mut self) {
        self.add(1);
    }

    /// # Errors
    /// [`TOO_MUCH`].
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.points > MOST { Err(TOO_MUCH) } else { Ok(()) }
    }
}
