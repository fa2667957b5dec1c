//! When the engine gets what relays have given: not before all have that are about to, and not late for one that takes
//! its time.

use tokio::time::{Duration, Instant};

use super::Flow;
use crate::catch_up::pour;
use crate::client::ready::is_dialled_first;
use crate::relay_pool::RelayState;

/// How long a relay is waited for that is being dialled again: it may be gone for good.
const DIALLED_AGAIN: Duration = Duration::from_secs(1);
/// How often relays that are being dialled are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Flow {
    /// Gives to the engine what is there, unless more is about to come that belongs before it.
    pub(super) fn pour(&mut self) {
        let Some(since) = self.gathered.iter().map(|one| one.at).min() else { return };
        if !self.pouring.is_empty()
            || since.elapsed() < self.shared.options.together_for && self.more_comes(since)
        {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.pouring.spawn(pour(self.shared.clone(), gathered));
    }

    /// When that is to be looked at again.
    pub(super) fn look_at_pouring(&self) -> Option<Instant> {
        let waits = !self.gathered.is_empty() && self.pouring.is_empty();
        waits.then(|| Instant::now() + LOOK_EVERY)
    }

    fn more_comes(&self, since: Instant) -> bool {
        let given = |url: &String| self.gathered.iter().any(|one| one.relay == *url);
        if self.holding().any(|url| !given(url)) {
            return true;
        }
        let status = self.shared.pool.status();
        status.iter().any(|status| {
            let dialled = match status.state {
                RelayState::Connecting if status.last_error.is_none() => {
                    is_dialled_first(&self.shared, status)
                }
                RelayState::Connecting | RelayState::Connected => since.elapsed() < DIALLED_AGAIN,
                _ => false,
            };
            dialled && self.relays.get(&status.url).is_some_and(|relay| !relay.connected)
        })
    }
}
