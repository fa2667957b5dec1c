//! Commits of ours that wait to be published and confirmed.

use mdk_store::{CommitStatus, GroupRow, GroupStatus, PendingRow};

use crate::ctx::Ctx;
use crate::mls::loaded_groups::LoadedGroup;
use crate::model::error;
use crate::model::error::{Error, Result};

impl Ctx<'_, '_> {
    /// A commit that was confirmed and is true still.
    pub(crate) fn confirmed(&self, id: i64) -> Result<Option<PendingRow>> {
        let row = self.tx.pending(id)?.filter(|row| row.status == CommitStatus::Confirmed);
        Ok(match row {
            Some(done) if !self.is_withdrawn(&done)? => Some(done),
            _ => None,
        })
    }

    /// Whether a commit of ours that was confirmed stands on a branch that is not followed.
    pub(crate) fn is_withdrawn(&self, commit: &PendingRow) -> Result<bool> {
        let nodes = self.tx.nodes(&commit.group)?;
        if let Some(node) = nodes.iter().find(|n| n.commit == Some(commit.digest)) {
            return Ok(!node.canonical);
        }
        // Its state is let go before its row is; what was told of it is not.
        let switches = self.tx.group(&commit.group)?.map_or(0, |row| row.pass.switches);
        for switch in 1..=switches {
            if self.was_withdrawn(&commit.group, switch, &commit.digest)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    // rule: C2-4 while a commit of the user's is being published everything else waits
    pub(crate) fn publishing(&self, row: &GroupRow) -> error::Result<bool> {
        // OpenMLS has what is pending too, except of a founding: mostly nothing, which needs no query.
        let idle = self.loaded.peek(&row.id).is_some_and(|g| g.mls.pending_commit().is_none());
        if idle && row.status != GroupStatus::Founding {
            return Ok(false);
        }
        Ok(self.tx.pending_of(&row.id)?.is_some_and(|pending| !pending.automatic))
    }

    /// Marks a pending commit as given up; the rows that can still realise it are kept with it, and its Welcomes, which
    /// go out when that happens.
    pub(crate) fn supersede(&mut self, group: &LoadedGroup, id: i64) -> Result<()> {
        self.tx.set_commit_state(id, &self.tx.mls_dump(&group.row.id)?)?;
        self.tx.set_commit_status(id, CommitStatus::Discarded)?;
        self.withdraw_commit(id)
    }

    pub(crate) fn unresolved(&self, id: i64) -> Result<PendingRow> {
        let row = self.tx.pending(id)?.ok_or(Error::CommitLost)?;
        match row.status {
            CommitStatus::Prepared | CommitStatus::Exposed => Ok(row),
            // rule: C2-5
            CommitStatus::Confirmed | CommitStatus::Discarded => Err(Error::CommitLost),
        }
    }
}
