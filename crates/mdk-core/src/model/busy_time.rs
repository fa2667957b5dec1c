//! The times at which the engine itself was at work: nothing could be given to it then, so no wait counts them.

use std::collections::VecDeque;

/// Shorter calls are not worth noting, in milliseconds.
const SHORTEST: u64 = 5;

/// Spans that are remembered: more than a wait can have in it, unless it is work without end.
const MOST_SPANS: usize = 1024;

/// The most milliseconds that a wait is made longer by. A clock that is set forward during a call looks like work. A
/// member who floods us must not keep a choice open for ever.
const MOST: u64 = 20_000;

/// Spans of work in Unix milliseconds, the newest last; they do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Worked(VecDeque<(u64, u64)>);

impl Worked {
    /// A call began and ended.
    pub(crate) fn note(&mut self, from: u64, to: u64) {
        if self.0.back().is_some_and(|(_, end)| from < *end) {
            // The clock went back: the noted times may come again.
            self.0.clear();
        }
        if to.saturating_sub(from) < SHORTEST {
            return;
        }
        if self.0.len() == MOST_SPANS {
            self.0.pop_front();
        }
        self.0.push_back((from, to));
    }

    /// Milliseconds of work after `at`.
    pub(crate) fn since(&self, at: u64) -> u64 {
        let later = self.0.iter().rev().take_while(|(_, to)| *to > at);
        later.map(|(from, to)| to - at.max(*from)).sum::<u64>().min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_worked_after_a_moment() {
        let mut worked = Worked::default();
        worked.note(1_000, 1_004);
        assert_eq!(worked.since(0), 0, "too short");
        worked.note(1_010, 1_110);
        worked.note(2_000, 2_500);
        assert_eq!(worked.since(0), 600);
        assert_eq!(worked.since(1_060), 550, "a part");
        assert_eq!(worked.since(1_110), 500);
        assert_eq!(worked.since(2_500), 0);
    }

    #[test]
    fn it_has_an_end() {
        let mut worked = Worked::default();
        worked.note(0, u64::MAX);
        assert_eq!(worked.since(0), MOST);
        let mut worked = Worked::default();
        for n in 0..5_000 {
            worked.note(n * 10, n * 10 + 9);
        }
        assert_eq!(worked.0.len(), MOST_SPANS);
    }

    #[test]
    fn a_clock_that_goes_back_forgets() {
        let mut worked = Worked::default();
        worked.note(10_000, 12_000);
        worked.note(9_000, 9_001);
        assert_eq!(worked.since(0), 0);
    }
}
