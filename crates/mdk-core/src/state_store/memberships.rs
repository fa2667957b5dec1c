//! The state of a membership, and the data that goes with it when it ends.

use mdk_store::{GroupRow, GroupStatus, PassRow, Tx};
use mdk_wire::{EventId, GroupId};

use crate::model::call::Call;
use crate::model::error::Result;
use crate::state_store::buffered_memory::{BufferedMemory, Waiting};
use crate::state_store::declined_invites::forget_declined;
use crate::state_store::groups::{GroupRows, Groups};
use crate::state_store::log_entry::Stored;
use crate::state_store::log_rows::recorded;
use crate::state_store::previous_memberships::earlier;

/// The data that goes with a membership.
pub(crate) struct Memberships<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) call: Call<'a>,
    pub(crate) rows: &'a mut GroupRows,
    pub(crate) buffered: &'a mut BufferedMemory,
}

impl Memberships<'_> {
    pub(crate) fn waiting(&mut self) -> Waiting<'_> {
        let groups = Groups { tx: self.tx, rows: self.rows };
        Waiting { call: self.call, groups, buffered: self.buffered }
    }

    /// Puts an invitation away that has ended before it was answered. Welcomes that wait beside it go on waiting.
    pub(crate) fn forget_unanswered(&mut self, row: GroupRow) -> Result<()> {
        let waiting = self.waiting().held_welcomes(&row.id)?;
        let invite = row.welcome.unwrap_or_else(|| EventId::from_bytes([0; 32]));
        let like = Stored::Reinvited { welcome: *invite.as_bytes(), after: 0 };
        let status = match recorded(self.tx, &row.id, invite.as_bytes(), &like)? {
            Some(_) => GroupStatus::Reinvited,
            None => GroupStatus::Invited,
        };
        self.put_away(GroupRow { status, ..row })?;
        for held in waiting {
            self.tx.hold_welcome(&held)?;
        }
        Ok(())
    }

    /// Deletes an invitation that was not accepted, and everything that came with it.
    pub(crate) fn put_away(&mut self, row: GroupRow) -> Result<()> {
        let Some(invite) = row.welcome else { return Ok(()) };
        self.rows.forget(&row.id);
        forget_declined(self.tx, &row.id)?;
        self.waiting().drop_held(&row.id)?;
        // rule: D6-2 the history of an earlier membership stays
        if row.status == GroupStatus::Reinvited {
            let before = earlier(self.tx, &row)?;
            let mut left = GroupRow {
                status: GroupStatus::Left,
                welcome: None,
                pass: PassRow { joined_at: row.pass.joined_at, ..PassRow::default() },
                ..row
            };
            match before {
                Some(before) => before.restores(&mut left)?,
                // (nothing is known of it, so nothing counts as older)
                None => (left.epoch, left.join_epoch, left.pass.joined_at) = (0, 0, 0),
            }
            self.clear_state(&left.id)?;
            let like = Stored::Reinvited { welcome: *invite.as_bytes(), after: 0 };
            let begin = recorded(self.tx, &left.id, invite.as_bytes(), &like)?;
            if let Some((event, Stored::Reinvited { after, .. })) = begin {
                self.tx.delete_since(&left.id, after, event)?;
                left.last_read = left.last_read.min(after);
            }
            self.tx.update_group(&left)?;
        } else {
            self.tx.delete_group(&row.id)?;
        }
        Ok(())
    }

    /// Forgets the MLS state of a copy that is being replaced; history and events stay.
    pub(crate) fn clear_state(&mut self, id: &GroupId) -> Result<()> {
        self.rows.forget(id);
        self.tx.mls_delete(id)?;
        self.tx.prune_nodes(id, u64::MAX)?;
        self.tx.prune_inputs(id, u64::MAX)?;
        self.tx.prune_commits(id, u64::MAX)?;
        self.tx.delete_leave(id)?;
        self.tx.purge_expired(id, u64::MAX)?;
        Ok(())
    }
}

// rule: D6-13 who went before it had answered, or had asked to leave, is no other one when it comes back
/// Our status in a group before a commit put us out or ended it, by the records that are kept of that.
pub(crate) fn standing_before(tx: &Tx<'_>, row: &GroupRow) -> Result<GroupStatus> {
    if tx.leave(&row.id)?.is_some() {
        return Ok(GroupStatus::Leaving);
    }
    let Some(invite) = row.welcome else { return Ok(GroupStatus::Active) };
    let told = |like: &Stored| recorded(tx, &row.id, invite.as_bytes(), like);
    if told(&Stored::Joined)?.is_some() {
        return Ok(GroupStatus::Active);
    }
    let again = Stored::Reinvited { welcome: *invite.as_bytes(), after: 0 };
    Ok(if told(&again)?.is_some() { GroupStatus::Reinvited } else { GroupStatus::Invited })
}
