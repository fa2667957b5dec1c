//! How long a transfer may take.

use std::time::Duration;

/// Times of a transfer. Connecting has the pool's `connect_timeout`.
#[derive(Debug, Clone)]
pub struct BlossomOptions {
    /// Longest wait for an answer: all of its head, after all of the request.
    pub first_byte: Duration,
    /// A transfer is measured over times of this length.
    pub stall: Duration,
    /// Slower than this on average over one `stall`, a transfer is given up; bytes a second.
    pub min_rate: u64,
}

impl Default for BlossomOptions {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            min_rate: 4 * 1024,
        }
    }
}

impl BlossomOptions {
    /// Bytes that must move within one `stall`.
    pub(super) fn least(&self) -> u64 {
        let least = u128::from(self.min_rate) * self.stall.as_millis() / 1000;
        u64::try_from(least).unwrap_or(u64::MAX).max(1)
    }
}
