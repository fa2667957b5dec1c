//! Commits of ours that wait to be published and confirmed.

use mdk_store::{CommitStatus, GroupRow, GroupStatus, NodeRow, PendingRow};
use mdk_wire::{ContentId, Event, GroupId, SecretVec};

use crate::ctx::Ctx;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::stage_commit::Plan;
use crate::model::commit_purpose::PURPOSE_DISBAND;
use crate::model::error;
use crate::model::error::{Error, Result};
use crate::model::stored_event::stored_event;
use crate::model::values::Pending;

impl Ctx<'_, '_> {
    // rule: C2-4 while a commit of the user's is being published everything else waits
    pub(crate) fn publishing(&self, row: &GroupRow) -> error::Result<bool> {
        // OpenMLS has what is pending too, except of a founding: mostly nothing, which needs no query.
        let idle = self.cache.peek(&row.id).is_some_and(|g| g.mls.pending_commit().is_none());
        if idle && row.status != GroupStatus::Founding {
            return Ok(false);
        }
        Ok(self.tx.pending_of(&row.id)?.is_some_and(|pending| !pending.automatic))
    }

    pub(crate) fn store_pending(
        &mut self,
        group: &LoadedGroup,
        digest: ContentId,
        event: Option<&Event>,
        welcome: &[u8],
        plan: &Plan,
    ) -> Result<i64> {
        let next_auth = group
            .mls
            .pending_commit()
            .and_then(|staged| staged.epoch_authenticator())
            .and_then(|auth| <[u8; 32]>::try_from(auth.as_slice()).ok())
            .unwrap_or(group.row.authenticator);
        self.tx.prune_commits(&group.row.id, group.row.pass.floor)?;
        Ok(self.tx.insert_pending(&PendingRow {
            id: 0,
            group: group.row.id.clone(),
            digest,
            source_epoch: group.row.epoch,
            source_auth: group.row.authenticator,
            next_auth,
            purpose: if plan.disbands { PURPOSE_DISBAND } else { 0 },
            automatic: plan.automatic,
            status: CommitStatus::Prepared,
            event_id: event.map(Event::id),
            event_json: event.map(Event::to_json),
            relays: group.row.relays.clone(),
            created_at: self.now(),
            // OpenMLS's own row holds the commit while it is pending, the retained epoch once it is confirmed.
            group_state: SecretVec::new(Vec::new()),
            welcome: welcome.to_vec(),
        })?)
    }

    /// Marks a pending commit as given up; the rows that can still realise it are kept with it, and its Welcomes, which
    /// go out when that happens.
    pub(crate) fn supersede(&mut self, group: &LoadedGroup, id: i64) -> Result<()> {
        self.tx.set_commit_state(id, &self.tx.mls_dump(&group.row.id)?)?;
        self.tx.set_commit_status(id, CommitStatus::Discarded)?;
        self.withdraw_commit(id)
    }

    /// Takes up an automatic commit that gave way to another and that a relay has after all, as its own event would when it
    /// comes back: others may follow it (C2-7). Gives its group, if it is true by that.
    pub(crate) fn take_up_published(&mut self, id: i64) -> Result<Option<GroupId>> {
        let gave_way = |row: &PendingRow| row.automatic && row.status == CommitStatus::Discarded;
        let Some(row) = self.tx.pending(id)?.filter(gave_way) else { return Ok(None) };
        let Some(event) = &row.event_json else { return Ok(None) };
        // Whatever is said of it, it is no answer to an event that somebody has sent.
        let _ = self.attempt(stored_event(event)?)?;
        let is_true = |node: &NodeRow| node.canonical && node.commit == Some(row.digest);
        Ok(self.tx.nodes(&row.group)?.iter().any(is_true).then_some(row.group))
    }

    pub(crate) fn unresolved(&self, id: i64) -> Result<PendingRow> {
        let row = self.tx.pending(id)?.ok_or(Error::CommitLost)?;
        match row.status {
            CommitStatus::Prepared | CommitStatus::Exposed => Ok(row),
            // rule: C2-5
            CommitStatus::Confirmed | CommitStatus::Discarded => Err(Error::CommitLost),
        }
    }

    // rule: C2-6 the same bytes are handed out again after a restart
    /// Commits that wait for `confirm` or `discard`, with the very bytes that were handed out before.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>> {
        self.tx
            .pendings()?
            .into_iter()
            .map(|row| {
                let welcomes = self.tx.welcomes_of(row.id)?;
                let welcomes =
                    welcomes.iter().map(|w| self.wrap_again(&row, w)).collect::<Result<_>>()?;
                Ok(Pending {
                    id: row.id,
                    group_id: row.group,
                    event: row.event_json.as_deref().map(stored_event).transpose()?,
                    welcomes,
                    relays: row.relays,
                    automatic: row.automatic,
                })
            })
            .collect()
    }
}
