//! When a message may go out after a commit.
//!
//! Other apps wait for a second after a commit before they count it, and show what came in the new epoch meanwhile only
//! after their next full sync. So a message of ours waits on disk until the epoch is two seconds old, and until those who
//! were invited have had their invites for as long. Where a relay took our commit later than others, it waits there for
//! as long after that.

use std::collections::HashMap;
use std::time::Duration;

use mdk_core::{OutboxItem, OutboxPurpose, RelayVerdict};
use tokio::time::Instant;

use super::state::{Lane, PATIENT, Worker, lane};

/// A message waits no longer than this for an epoch and for invites, however many commits follow each other.
const AT_LATEST: Duration = Duration::from_secs(10);

/// The waits of messages, by the time of this process. The account's clock, by which the engine dates things, may differ
/// from the machine's and be set at any moment, so each age is asked for once.
#[derive(Default)]
pub(super) struct EpochWaits {
    /// Since when each group has been in its epoch, as the engine has it, and when that is old enough.
    epochs: HashMap<Vec<u8>, (u64, Instant)>,
    /// When each message has waited long enough.
    pub(super) latest: HashMap<i64, Instant>,
    /// Groups of which an invite went out, and when last.
    invited: HashMap<Vec<u8>, Instant>,
    /// When a relay took a commit of ours last.
    took: HashMap<Lane, Instant>,
}

/// A message on its way out.
struct Said<'a> {
    seq: i64,
    group: &'a [u8],
    /// When it was put in, and since when its group has been in its epoch: Unix milliseconds by the engine's clock.
    at: u64,
    epoch_since: u64,
}

impl EpochWaits {
    /// Looks at a message when the engine's clock is at `engine_now`, Unix milliseconds, and this process at `now`.
    fn look(&mut self, said: Said<'_>, engine_now: u64, now: Instant, after: Duration) {
        // A date ahead of the clock comes from a clock that was ahead: its time counts from now on.
        let left = |time: Duration, since: u64| {
            time.saturating_sub(Duration::from_millis(engine_now.saturating_sub(since)))
        };
        self.latest.entry(said.seq).or_insert_with(|| now + left(AT_LATEST, said.at));
        let epoch = self.epochs.entry(said.group.to_vec()).or_insert((0, now));
        if epoch.0 != said.epoch_since {
            *epoch = (said.epoch_since, now + left(after, said.epoch_since));
        }
    }

    /// When a message may go out. `invites`: some of its group are still on their way.
    fn at(&self, seq: i64, group: &[u8], invites: bool, after: Duration) -> Option<Instant> {
        let latest = *self.latest.get(&seq)?;
        if invites {
            return Some(latest);
        }
        let invited = self.invited.get(group).map(|at| *at + after);
        let epoch = self.epochs.get(group).map(|(_, at)| *at);
        epoch.max(invited).map(|at| at.min(latest))
    }
}

fn group_of_message(item: &OutboxItem) -> Option<&[u8]> {
    let message = matches!(item.purpose, OutboxPurpose::Message { .. });
    item.group.as_ref().filter(|_| message).map(|group| group.as_bytes())
}

impl Worker {
    /// Looks at all messages that no relay was asked to take.
    pub(super) fn look_at_ages(&mut self) {
        let (after, now) = (self.shared.options.speak_after, Instant::now());
        for item in self.items.iter().filter(|item| item.attempts == 0) {
            let Some(group) = group_of_message(item) else { continue };
            let at = item.created_at.saturating_mul(1000);
            let said = Said { seq: item.seq, group, at, epoch_since: item.epoch_since };
            self.epoch_waits.look(said, self.read_at, now, after);
        }
    }

    // rule: OB-20 a message goes out when its group's epoch is two seconds old
    /// When this may go out; `None` for at once.
    pub(super) fn speaks_at(&self, item: &OutboxItem) -> Option<Instant> {
        let after = self.shared.options.speak_after;
        let group = group_of_message(item).filter(|_| item.attempts == 0 && !after.is_zero())?;
        let waits = |other: &OutboxItem| {
            matches!(other.purpose, OutboxPurpose::Welcome { .. })
                && other.group.as_ref() == item.group.as_ref()
                && !other.is_accepted()
                && other.attempts < PATIENT
        };
        self.epoch_waits.at(item.seq, group, self.items.iter().any(waits), after)
    }

    // rule: OB-20 a relay that took the commit later gets the message later
    /// When this may go out at one relay, which may have taken a commit of ours just now.
    pub(super) fn speaks_there_at(&self, item: &OutboxItem, lane: &Lane) -> Option<Instant> {
        group_of_message(item)?;
        self.epoch_waits.took.get(lane).map(|at| *at + self.shared.options.speak_after)
    }

    /// Remembers that an invite or a commit of a group has gone out.
    pub(super) fn note_sent(&mut self, seq: i64, relay: &str, verdict: &RelayVerdict) {
        let Some(item) = self.items.iter().find(|item| item.seq == seq) else { return };
        let Some(group) = item.group.as_ref().filter(|_| *verdict == RelayVerdict::Accepted) else {
            return;
        };
        let (after, now) = (self.shared.options.speak_after, Instant::now());
        match item.purpose {
            OutboxPurpose::Welcome { .. } => {
                self.epoch_waits.invited.retain(|_, at| at.elapsed() < after);
                self.epoch_waits.invited.insert(group.as_bytes().to_vec(), now);
            }
            OutboxPurpose::Commit { .. } => {
                self.epoch_waits.took.retain(|_, at| at.elapsed() < after);
                self.epoch_waits.took.insert(lane(item, relay), now);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const AFTER: Duration = Duration::from_secs(2);
    const GROUP: &[u8] = b"group";

    /// Messages that are looked at so many milliseconds after the first.
    struct Waiting {
        epoch_waits: EpochWaits,
        begin: Instant,
        now: u64,
    }

    impl Waiting {
        fn new() -> Self {
            Self { epoch_waits: EpochWaits::default(), begin: Instant::now(), now: 0 }
        }

        fn instant(&self) -> Instant {
            self.begin + Duration::from_millis(self.now)
        }

        /// How long a message waits yet, in milliseconds, while the engine's clock is at `NOW`.
        fn left(&mut self, seq: i64, at: u64, epoch_since: u64, invites: bool) -> u128 {
            let (now, said) = (self.instant(), Said { seq, group: GROUP, at, epoch_since });
            self.epoch_waits.look(said, NOW, now, AFTER);
            let at = self.epoch_waits.at(seq, GROUP, invites, AFTER).unwrap();
            at.saturating_duration_since(now).as_millis()
        }
    }

    // shows: OB-20
    #[test]
    fn a_message_waits_for_the_epoch_and_for_invites() {
        let left = |at, epoch_since, invites| Waiting::new().left(1, at, epoch_since, invites);
        assert_eq!(left(NOW, NOW - 500, false), 1_500);
        assert_eq!(left(NOW, NOW - 2_000, false), 0);
        assert_eq!(left(NOW, 0, false), 0, "an epoch that began long ago");
        assert_eq!(left(NOW, 0, true), 10_000);
        let late = |age: u64| left(NOW - 1_000 * age, NOW, false);
        assert_eq!(late(9), 1_000, "commits that follow each other do not silence anybody");
        assert_eq!(late(10), 0);
        let mut invited = Waiting::new();
        invited.epoch_waits.invited.insert(GROUP.to_vec(), invited.begin);
        invited.now = 300;
        assert_eq!(invited.left(1, NOW, NOW - 9_000, false), 1_700);
    }

    /// It was ahead when the group was founded, and has been set right.
    // shows: OB-20
    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up_for_longer() {
        let ahead = NOW + 3_600_000;
        let mut waiting = Waiting::new();
        assert_eq!(waiting.left(1, NOW, ahead, false), 2_000);
        waiting.now = 1_500;
        assert_eq!(waiting.left(1, NOW, ahead, false), 500, "looked at again");
        waiting.now = 2_000;
        assert_eq!(waiting.left(2, NOW, ahead, false), 0, "nor does what is said next");
        assert_eq!(waiting.left(3, ahead, 0, true), 10_000);
        waiting.now = 12_000;
        assert_eq!(waiting.left(3, ahead, 0, true), 0, "a message that is dated ahead");
        assert_eq!(waiting.left(4, NOW, ahead + 1, false), 2_000, "another epoch");
    }
}
