//! Welcomes that were taken up and whose invitation has no answer yet. They are rows of `held`, so they are deleted
//! with the group. No query of waiting events returns them.

use mdk_wire::GroupId;

use crate::store::tables::buffered_events::{HeldRow, Loss, read_held};
use crate::{Result, Tx};

const KEPT: &str = "SELECT event_id, group_id, event_json, received_at, reported, closed, source FROM held \
     WHERE group_id = ?1 AND reported = 3 ORDER BY seq";

impl Tx<'_> {
    /// Keeps a Welcome that is no longer held, with any number of others: the caller bounds them. Its `loss` does not
    /// count.
    pub fn keep_welcome(&self, row: &HeldRow) -> Result<()> {
        self.put_held(&HeldRow { loss: Loss::Kept, closed: false, ..row.clone() })
    }

    /// The Welcomes that are kept for a group, in the order of arrival.
    pub fn kept_welcomes(&self, group: &GroupId) -> Result<Vec<HeldRow>> {
        self.all(KEPT, [group.as_bytes()], read_held)
    }

    /// Forgets the kept Welcomes of a group.
    pub fn drop_kept(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM held WHERE group_id = ?1 AND reported = 3", [group.as_bytes()])?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::{ContentId, EventId};

    use super::*;
    use crate::{Seen, Store};

    fn group(n: u8) -> GroupId {
        GroupId::from_bytes(&[n; 16]).unwrap()
    }

    fn with_tx(f: impl FnOnce(&Tx<'_>) -> Result<()>) {
        Store::in_memory().unwrap().write(f).unwrap();
    }

    fn row(n: u8) -> HeldRow {
        HeldRow {
            event_id: EventId::from_bytes([n; 32]),
            group: group(1),
            event_json: format!("{{\"kind\":1059,\"n\":{n}}}"),
            received_at: u64::from(n),
            loss: Loss::Possible,
            closed: false,
            source: 0,
        }
    }

    #[test]
    fn what_is_kept_waits_for_nothing() {
        with_tx(|tx| {
            tx.hold_welcome(&row(1))?;
            tx.keep_welcome(&row(2))?;
            let kept = HeldRow { loss: Loss::Kept, ..row(2) };
            assert_eq!(tx.kept_welcomes(&group(1))?, [kept]);
            assert_eq!(tx.held(&group(1))?, [row(1)]);
            assert_eq!(tx.held_ids(&group(1))?, [row(1).event_id]);
            assert_eq!(tx.held_before(&group(1), 9)?, [row(1)]);
            assert_eq!(tx.held_event(&row(2).event_id)?, None);
            tx.unhold(&row(1).event_id)?;
            assert_eq!(tx.oldest_held(&group(1))?, None);
            assert!(tx.kept_welcomes(&group(2))?.is_empty());
            tx.drop_kept(&group(1))?;
            assert!(tx.kept_welcomes(&group(1))?.is_empty());
            Ok(())
        });
    }

    #[test]
    fn what_was_done_for_an_invitation_can_be_undone() {
        let [one, other] = [[1; 32], [2; 32]].map(EventId::from_bytes);
        let [event, content, of_other, plain] = [[3; 32], [4; 32], [5; 32], [6; 32]];
        with_tx(|tx| {
            tx.mark_done_for(&one, &event)?;
            tx.mark_done_for(&one, ContentId::from_bytes(content).as_bytes())?;
            tx.mark_done_for(&other, &of_other)?;
            tx.mark_seen(&plain, Seen::Stale)?;
            tx.mark_done_for(&one, &plain)?;
            assert_eq!(tx.seen(&event)?, Some(Seen::Done));
            tx.forget_done_for(&one)?;
            assert_eq!((tx.seen(&event)?, tx.seen(&content)?), (None, None));
            assert_eq!(
                (tx.seen(&of_other)?, tx.seen(&plain)?),
                (Some(Seen::Done), Some(Seen::Stale))
            );
            Ok(())
        });
    }
}
