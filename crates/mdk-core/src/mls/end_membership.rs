//! The end of a membership, and a group that cannot be recovered.

use mdk_store::{GroupRow, GroupStatus};
use mdk_wire::{ContentId, GroupId, PublicKey, Secret};

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::state_store::competing_invites;
use crate::state_store::log_entry::Stored;

impl Ctx<'_> {
    /// A needed state is gone: nothing is guessed, nothing is sent, what came is kept. (rule: E6-1)
    pub(crate) fn give_up(&mut self, id: &GroupId, reason: &'static str) -> Result<()> {
        let row = self.groups().current_row(id)?;
        if row.status == GroupStatus::Unrecoverable {
            return Ok(());
        }
        // Each membership may end so.
        let subject = [reason.as_bytes(), &row.join_epoch.to_be_bytes()].concat();
        self.edit_row(id, |row| {
            row.status = GroupStatus::Unrecoverable;
            row.pass.opened = 0;
        })?;
        self.log().emit(id, &subject, &Stored::Unrecoverable { reason: reason.to_owned() })
    }

    // rule: D6-1 a removed copy is terminal, by an authenticated commit only
    /// The account is out, or the group is over: live secrets go, the history stays (C5, D6).
    pub(crate) fn end(
        &mut self,
        row: &GroupRow,
        committer: Option<PublicKey>,
        commit: Option<ContentId>,
    ) -> Result<()> {
        let by = committer.map(|k| *k.as_bytes());
        let commit = commit.map(|c| *c.as_bytes());
        let subject = [&row.pass.switches.to_be_bytes()[..], &commit.unwrap_or_default()].concat();
        if row.status == GroupStatus::Disbanded {
            self.log().emit(&row.id, &subject, &Stored::Disbanded { by })?;
        } else {
            let left = row.status == GroupStatus::Left;
            self.log().emit(&row.id, &subject, &Stored::Removed { by, left, commit })?;
        }
        self.deliveries().abandon_outgoing(&row.id)?;
        self.tx.drop_kept(&row.id)?;
        self.tx.mls_delete(&row.id)?;
        // The state that was left has its key with it, as long as it is retained.
        self.edit_row(&row.id, |row| row.event_key = Secret::new([0; 32]))?;
        // rule: D6-5 a removed copy keeps its retained states for a while, and what waits for others: another branch may
        // have kept us
        if row.status == GroupStatus::Disbanded {
            let waiting = match competing_invites::ended_unanswered(self.tx, row)? {
                true => self.waiting().held_welcomes(&row.id)?,
                false => Vec::new(),
            };
            self.waiting().drop_held(&row.id)?;
            // (other invitations are other questions, and are looked at by the next tick)
            for held in waiting {
                self.tx.hold_welcome(&held)?;
            }
            self.tx.delete_leave(&row.id)?;
            self.tx.purge_expired(&row.id, u64::MAX)?;
            self.tx.prune_nodes(&row.id, u64::MAX)?;
            self.tx.prune_inputs(&row.id, u64::MAX)?;
            self.invite_deliveries().drop_invites(&row.id)?;
            self.tx.prune_commits(&row.id, u64::MAX)?;
        }
        Ok(())
    }
}
