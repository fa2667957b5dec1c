//! The rows of groups, and what the settling window of one allows.

use mdk_store::{GroupRow, GroupStatus, PassRow};
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::fork_choice::settling::SettlingTimes;
use crate::mls::loaded_groups::LoadedGroup;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::state_store::declined_invites::is_declined;

impl Ctx<'_, '_> {
    pub(crate) fn may_send(&self, group: &LoadedGroup) -> Result<()> {
        if group.mls.pending_commit().is_some()
            && self.tx.pending_of(&group.row.id)?.is_none_or(|pending| !pending.automatic)
        {
            return Err(Error::CommitPending);
        }
        Ok(())
    }

    /// How long a pass of a group waits.
    fn settling_times(&self, id: &GroupId) -> SettlingTimes<'_> {
        SettlingTimes {
            quiet: self.config.settle_quiet_millis,
            hard: self.config.settle_max_millis,
            fetching_until: self.hints.more.get(id).copied().unwrap_or(0),
            worked: &self.hints.worked,
        }
    }

    /// When an open pass is over, in Unix milliseconds. `None`: none is open.
    pub(crate) fn deadline(&self, id: &GroupId, pass: &PassRow) -> Option<u64> {
        self.settling_times(id).deadline(pass)
    }

    /// Whether the open pass is to be closed.
    pub(crate) fn is_due(&self, id: &GroupId, pass: &PassRow) -> bool {
        self.settling_times(id).is_due(pass, self.now_millis)
    }

    /// The pass of a group, read as cheaply as it can be: every event asks.
    pub(crate) fn pass_of(&self, id: &GroupId) -> Result<PassRow> {
        match self.loaded.peek(id) {
            Some(group) => Ok(group.row.pass),
            None => Ok(self.row(id)?.pass),
        }
    }

    /// The row as this transaction has it.
    pub(crate) fn current_row(&self, id: &GroupId) -> Result<GroupRow> {
        self.cached_row(id).map_or_else(|| self.row(id), Ok)
    }

    /// Changes a group's row, in the cache too.
    pub(crate) fn edit_row(
        &mut self,
        id: &GroupId,
        edit: impl FnOnce(&mut GroupRow),
    ) -> Result<GroupRow> {
        if let Some(mut group) = self.loaded.take(id) {
            edit(&mut group.row);
            self.tx.update_group(&group.row)?;
            let row = group.row.clone();
            self.put(group);
            return Ok(row);
        }
        let mut row = self.row(id)?;
        edit(&mut row);
        self.tx.update_group(&row)?;
        Ok(row)
    }

    /// Whether commits of ours have to wait.
    pub(crate) fn is_settling(&self, id: &GroupId) -> Result<bool> {
        let pass = self.pass_of(id)?;
        Ok(pass.opened != 0 && !self.is_due(id, &pass))
    }
}

impl<'a> Ctx<'a, '_> {
    /// The group's row, or `GroupNotFound`.
    pub(crate) fn row(&self, id: &GroupId) -> Result<GroupRow> {
        self.tx.group(id)?.ok_or(Error::GroupNotFound)
    }

    /// The row of a group that its user knows of, or `GroupNotFound`: one whose founding commit is not confirmed is not
    /// there yet, for any call.
    pub(crate) fn listed(&self, id: &GroupId) -> Result<GroupRow> {
        let row = self.cached_row(id).map_or_else(|| self.row(id), Ok)?;
        membership::state(row.status).ok_or(Error::GroupNotFound)?;
        if row.status != GroupStatus::Active && is_declined(self.tx, id)? {
            return Err(Error::GroupNotFound);
        }
        Ok(row)
    }

    /// The row of a cached group, without touching the database.
    pub(crate) fn cached_row(&self, id: &GroupId) -> Option<GroupRow> {
        self.loaded.peek(id).map(|group| group.row.clone())
    }
}
