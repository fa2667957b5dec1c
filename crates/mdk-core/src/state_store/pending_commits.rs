//! Commits of ours that wait to be published and confirmed.

use mdk_store::{CommitStatus, PendingRow, Tx};
use mdk_wire::GroupId;

use crate::model::effects::Effects;
use crate::model::error::{Error, Result};
use crate::state_store::log_rows;
use crate::state_store::outbox::Outbox;

/// The rows of commits of ours.
#[derive(Clone, Copy)]
pub(crate) struct PendingCommits<'a> {
    pub(crate) tx: &'a Tx<'a>,
}

impl PendingCommits<'_> {
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
        // Its state is let go before its row is; the events that told of it are not.
        let switches = self.tx.group(&commit.group)?.map_or(0, |row| row.pass.switches);
        for switch in 1..=switches {
            if log_rows::was_withdrawn(self.tx, &commit.group, switch, &commit.digest)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Marks a pending commit as given up; the rows that can still realise it are kept with it, and its Welcomes, which
    /// go out when that happens.
    pub(crate) fn supersede(
        &self,
        outbox: Outbox<'_>,
        effects: &mut Effects,
        group: &GroupId,
        id: i64,
    ) -> Result<()> {
        self.tx.set_commit_state(id, &self.tx.mls_dump(group)?)?;
        self.tx.set_commit_status(id, CommitStatus::Discarded)?;
        outbox.withdraw_commit(effects, id)
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
