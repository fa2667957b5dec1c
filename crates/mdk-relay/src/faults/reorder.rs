//! Events in another order.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_millis(20);

/// Holds events back for a moment and gives them out shuffled.
#[derive(Default)]
pub(super) struct Window {
    held: Vec<String>,
    since: Option<Instant>,
    random: Option<(u64, ChaCha8Rng)>,
}

impl Window {
    /// Takes an event; true when the window is full.
    pub(super) fn hold(&mut self, event: String) -> bool {
        self.held.push(event);
        self.since.get_or_insert_with(Instant::now);
        self.held.len() >= WINDOW
    }

    /// When the window must be emptied.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// Empties it. Without a seed the order is that of arrival.
    pub(super) fn take(&mut self, seed: Option<u64>) -> Vec<String> {
        self.since = None;
        let mut events = std::mem::take(&mut self.held);
        let Some(seed) = seed else { return events };
        let random = match &mut self.random {
            Some((of, random)) if *of == seed => random,
            random => &mut random.insert((seed, ChaCha8Rng::seed_from_u64(seed))).1,
        };
        for last in (1..events.len()).rev() {
            let other = random.next_u64() % (last as u64 + 1);
            events.swap(last, usize::try_from(other).unwrap_or(last));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: Option<u64>) -> Vec<String> {
        let mut window = Window::default();
        (0..10).for_each(|n| assert!(!window.hold(n.to_string())));
        window.take(seed)
    }

    #[test]
    fn the_seed_decides_and_nothing_is_lost() {
        let calm = shuffled(None);
        let one = shuffled(Some(1));
        assert_eq!(one, shuffled(Some(1)));
        assert_ne!(one, calm);
        assert_ne!(one, shuffled(Some(2)));
        let mut sorted = one;
        sorted.sort();
        assert_eq!(sorted, calm);
    }
}
