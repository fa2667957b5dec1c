//! When a message may go out after a commit.
//!
//! Other apps wait for a second after a commit before they count it, and show what came in the new epoch meanwhile only
//! after their next full sync. So a message of ours waits on disk until the epoch is two seconds old, and until those who
//! were invited have had their invites for as long.

use std::time::Duration;

use mdk_core::{OutboxItem, OutboxPurpose, RelayVerdict};
use tokio::time::Instant;

use super::{PATIENT, Worker};

/// A message waits no longer than this, in milliseconds, however many commits follow each other.
const AT_LATEST: u64 = 10_000;

/// When the invites of a group went out.
#[derive(Clone, Copy)]
enum Invites {
    /// Some have not.
    Waiting,
    /// The last one so long ago, if one did lately.
    Sent(Option<Duration>),
}

impl Worker {
    /// When this may go out, Unix milliseconds; 0 for at once.
    pub(super) fn speaks_at(&self, item: &OutboxItem, now: u64) -> u64 {
        let message = matches!(item.purpose, OutboxPurpose::Message { .. });
        let Some(group) = item.group.as_ref().filter(|_| message && item.attempts == 0) else {
            return 0;
        };
        let waits = |other: &OutboxItem| {
            matches!(other.purpose, OutboxPurpose::Welcome { .. })
                && other.group.as_ref() == Some(group)
                && !other.is_accepted()
                && other.attempts < PATIENT
        };
        let invites = match self.items.iter().any(waits) {
            true => Invites::Waiting,
            false => Invites::Sent(self.invited.get(group.as_bytes()).map(Instant::elapsed)),
        };
        let after = self.shared.options.speak_after;
        speaks_at(item.created_at, item.epoch_since, invites, after, now)
    }

    /// Remembers that an invite of a group has gone out.
    pub(super) fn note_invite(&mut self, seq: i64, verdict: &RelayVerdict) {
        let invite = self
            .items
            .iter()
            .find(|item| item.seq == seq && matches!(item.purpose, OutboxPurpose::Welcome { .. }));
        let Some(group) = invite.and_then(|item| item.group.as_ref()) else { return };
        if *verdict == RelayVerdict::Accepted {
            let after = self.shared.options.speak_after;
            self.invited.retain(|_, at| at.elapsed() < after);
            self.invited.insert(group.as_bytes().to_vec(), Instant::now());
        }
    }
}

// rule: OB-20 a message goes out when its group's epoch is two seconds old
/// `said` in Unix seconds, `epoch_since` and `now` in milliseconds.
fn speaks_at(said: u64, epoch_since: u64, invites: Invites, after: Duration, now: u64) -> u64 {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let latest = said.saturating_mul(1000).saturating_add(AT_LATEST);
    if after.is_zero() || now >= latest {
        return 0;
    }
    let invited = match invites {
        Invites::Waiting => return latest,
        Invites::Sent(since) => since.map_or(0, |since| now.saturating_sub(millis(since))),
    };
    let at = invited.max(epoch_since).saturating_add(millis(after));
    // A clock that was set back holds nothing up for longer.
    at.min(latest).min(now.saturating_add(millis(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // shows: OB-20
    #[test]
    fn a_message_waits_for_the_epoch_and_for_invites() {
        const NOW: u64 = 1_790_000_000_000;
        let after = Duration::from_secs(2);
        let none = Invites::Sent(None);
        let at = |epoch_since, invites| speaks_at(NOW / 1000, epoch_since, invites, after, NOW);
        assert_eq!(at(NOW - 500, none), NOW + 1_500);
        assert!(at(NOW - 2_000, none) <= NOW);
        assert!(at(0, none) <= NOW, "an epoch that began long ago");
        assert_eq!(at(0, Invites::Waiting), NOW + AT_LATEST);
        assert_eq!(at(NOW - 9_000, Invites::Sent(Some(Duration::from_millis(300)))), NOW + 1_700);
        assert_eq!(at(NOW + 3_600_000, none), NOW + 2_000, "the clock was set back");
        let late = |age: u64| speaks_at(NOW / 1000 - age, NOW, none, after, NOW);
        assert_eq!(late(9), NOW + 1_000, "commits that follow each other do not silence anybody");
        assert_eq!(late(10), 0);
        assert_eq!(speaks_at(NOW / 1000, NOW, none, Duration::ZERO, NOW), 0);
    }
}
