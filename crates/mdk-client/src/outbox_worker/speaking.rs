//! When a message may go out after a commit.
//!
//! Other apps wait for a second after a commit before they count it, and show what came in the new epoch meanwhile only
//! after their next full sync. So a message of ours waits on disk until the epoch is two seconds old, and until those who
//! were invited have had their invites for as long.

use mdk_core::{OutboxItem, OutboxPurpose, RelayVerdict};
use tokio::time::Instant;

use super::{PATIENT, Worker};

/// A message waits no longer than this, in milliseconds, however many commits follow each other.
const AT_LATEST: u64 = 10_000;

impl Worker {
    // rule: SAY-1 a message goes out when its group's epoch is two seconds old
    /// When this may go out, Unix milliseconds; 0 for at once.
    pub(super) fn speaks_at(&self, item: &OutboxItem, now: u64) -> u64 {
        let message = matches!(item.purpose, OutboxPurpose::Message { .. });
        let Some(group) = item.group.as_ref().filter(|_| message && item.attempts == 0) else {
            return 0;
        };
        let latest = item.created_at.saturating_mul(1000).saturating_add(AT_LATEST);
        let after = u64::try_from(self.shared.options.speak_after.as_millis()).unwrap_or(u64::MAX);
        if after == 0 || now >= latest {
            return 0;
        }
        let of_group = |other: &&OutboxItem| {
            other.group.as_ref() == Some(group)
                && matches!(other.purpose, OutboxPurpose::Welcome { .. })
        };
        let mut invites = self.items.iter().filter(of_group);
        if invites.any(|invite| !invite.is_accepted() && invite.attempts < PATIENT) {
            return latest;
        }
        let invited = self.invited.get(group.as_bytes()).map_or(0, |at| {
            let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            now.saturating_sub(since)
        });
        let at = invited.max(item.epoch_since).saturating_add(after);
        // A clock that was set back holds nothing up for longer.
        at.min(latest).min(now.saturating_add(after))
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
