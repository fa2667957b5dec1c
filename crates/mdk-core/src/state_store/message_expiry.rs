//! Disappearing messages: when each goes, and that it does not come back (protocol/expiry.md 2.9).

use mdk_store::{MessageRow, MessageStatus, Tx};
use mdk_wire::{EventId, GroupId, kind};

use crate::model::error::Result;
use crate::state_store::deliveries::Deliveries;
use crate::state_store::message_effects::Messages;

/// The time for which a message is known to have expired, in seconds: as long as an event waits for the commits before
/// it.
const REMEMBERED: u64 = 30 * 24 * 3600;

/// The delay, in seconds, after which an expired deletion of ours is looked at again: it may have gone out by then.
pub(crate) const UNTIL_SENT: u64 = 60;

/// The time for which relays are to keep an event.
pub(crate) enum Kept {
    /// As long as its readers keep it.
    AsReaders,
    /// No longer than it was kept when it was said before.
    AtMost(Option<u64>),
    /// At least as long as the message that it deletes is kept.
    AsLongAs(Option<u64>),
}

impl Kept {
    /// The end for relays, of an event that readers keep until `own`.
    pub(crate) fn by_relays(self, own: Option<u64>) -> Option<u64> {
        match self {
            Self::AsReaders => own,
            Self::AtMost(end) => sooner(own, end),
            Self::AsLongAs(end) => own.zip(end).map(|(own, end)| own.max(end)),
        }
    }
}

/// The messages whose time comes.
pub(crate) struct MessageExpiry<'a> {
    pub(crate) tx: &'a Tx<'a>,
    /// Unix seconds.
    pub(crate) now: u64,
    pub(crate) deliveries: Deliveries<'a>,
}

impl MessageExpiry<'_> {
    // rule: 2.9-8 (a relay that dropped a deletion would leave what it deletes with whoever was away)
    /// The time for which relays are to keep a message that is made now.
    pub(crate) fn kept(
        &self,
        group: &GroupId,
        kind: u16,
        target: Option<&EventId>,
    ) -> Result<Kept> {
        let Some(target) = target.filter(|_| kind == kind::DELETE) else {
            return Ok(Kept::AsReaders);
        };
        let copies = self.tx.copies(group, target)?;
        if copies.is_empty() {
            return Ok(Kept::AsReaders);
        }
        // A copy without an end stays for ever.
        let ends: Option<Vec<u64>> = copies.iter().map(|copy| copy.expires_at).collect();
        Ok(Kept::AsLongAs(ends.and_then(|ends| ends.into_iter().max())))
    }

    // rule: 2.9-6 a message lasts as it was first said: sent again in a later epoch it lasts no longer and no shorter
    /// Settles when a message goes of which there are copies, for all of them; whether its time is over.
    pub(crate) fn has_had_its_time(
        &self,
        row: &mut MessageRow,
        copies: &[MessageRow],
    ) -> Result<bool> {
        // A deletion that ends sooner would let its target come back: each copy lasts for itself.
        if row.kind != kind::DELETE {
            let lives = copies.iter().filter(|copy| copy.status != MessageStatus::Deleted);
            if let Some(first) = lives.min_by_key(|copy| copy.epoch) {
                let at = match row.epoch.cmp(&first.epoch) {
                    std::cmp::Ordering::Less => row.expires_at,
                    std::cmp::Ordering::Greater => first.expires_at,
                    // On two branches at once: whichever wins, no member keeps it longer than it was meant to be kept.
                    std::cmp::Ordering::Equal => sooner(row.expires_at, first.expires_at),
                };
                if at != first.expires_at {
                    self.tx.set_lifetime(&row.group, &row.id, at)?;
                }
                row.expires_at = at;
            } else if self.is_buried(row)? {
                return Ok(true);
            }
        }
        // rule: 2.9-4 what came after its time is not kept, nor shown
        Ok(row.expires_at.is_some_and(|at| at <= self.now) || self.edits_what_is_gone(row)?)
    }

    /// Whether it was seen to expire, or came too late when it was said before or at the same time.
    fn is_buried(&self, row: &MessageRow) -> Result<bool> {
        let buried = self.tx.buried(&row.group, &row.id)?;
        Ok(buried.iter().any(|copy| copy.shown || copy.epoch <= row.epoch))
    }

    /// Whether this is an edit of a message that had its time.
    fn edits_what_is_gone(&self, row: &MessageRow) -> Result<bool> {
        let Some(target) = row.target.filter(|_| row.kind == kind::EDIT) else { return Ok(false) };
        Ok(self.tx.copies(&row.group, &target)?.is_empty()
            && !self.tx.buried(&row.group, &target)?.is_empty())
    }

    /// Blanks a message that came after its time, or after its deletion (`deleted`). A note is kept that a message of
    /// the former sort was said for so long only, unless another row says so already.
    pub(crate) fn bury_late(&mut self, row: &MessageRow, deleted: bool) -> Result<()> {
        if self.tx.copies(&row.group, &row.id)?.iter().all(|copy| copy.seq == row.seq) {
            self.expire_edits(row)?;
        }
        if deleted || self.is_buried(row)? {
            return Ok(self.tx.expire_message(row.seq)?);
        }
        self.bury(row, false)
    }

    /// The edits of a message go with it. Gives their places.
    pub(crate) fn expire_edits(&mut self, row: &MessageRow) -> Result<Vec<i64>> {
        let edits = self.tx.edits(&row.group, &row.id)?;
        for edit in &edits {
            self.deliveries.expire_outgoing(edit.mine, &edit.outer_id)?;
            self.tx.expire_message(edit.seq)?;
        }
        Ok(edits.iter().map(|edit| edit.seq).collect())
    }

    /// Takes away all of a message but that it was there, for as long as copies of it may come.
    pub(crate) fn bury(&mut self, row: &MessageRow, shown: bool) -> Result<()> {
        Messages { tx: self.tx }.bury_row(row, self.now.saturating_add(REMEMBERED), shown)
    }

    // rule: 2.9-8 what is deleted stays so when the deletion has had its time, or comes after it: it has no plaintext
    /// Ends a deletion, after its effect is applied. A deletion of a message that is not here yet is kept for as long
    /// as the message may come (`first`: the deletion was not kept yet), without its text.
    pub(crate) fn retire_deletion(&mut self, delete: &MessageRow, first: bool) -> Result<()> {
        self.expire_what_it_deleted(delete)?;
        let Some(target) = delete.target.filter(|_| first) else {
            return Ok(self.tx.expire_message(delete.seq)?);
        };
        // A copy that came too late for its own epoch says nothing of one from before, which may have lasted longer.
        let settled = !self.tx.copies(&delete.group, &target)?.is_empty()
            || self.tx.buried(&delete.group, &target)?.iter().any(|copy| copy.shown);
        if settled {
            return Ok(self.tx.expire_message(delete.seq)?);
        }
        Ok(self.tx.strip_message(delete.seq, self.now.saturating_add(REMEMBERED))?)
    }

    /// Removes the rest of a deleted message, when the deletion's time comes. The deletion ends later than the message:
    /// until then the rest says that copies are not to be shown.
    fn expire_what_it_deleted(&mut self, delete: &MessageRow) -> Result<()> {
        let (kind::DELETE, Some(id)) = (delete.kind, &delete.target) else { return Ok(()) };
        let now = self.now;
        for left in self.tx.copies(&delete.group, id)? {
            let due = left.expires_at.is_some_and(|at| at <= now);
            if due && left.status == MessageStatus::Deleted && left.sender == delete.sender {
                for edit in self.tx.edits(&delete.group, id)? {
                    if edit.status == MessageStatus::Deleted {
                        self.tx.expire_message(edit.seq)?;
                    }
                }
                self.bury(&left, true)?;
            }
        }
        Ok(())
    }
}

/// The earlier of two ends, of which none is for ever.
pub(crate) fn sooner(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
