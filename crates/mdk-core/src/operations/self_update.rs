//! Fresh keys for our leaf (RFC 9420, 12.4: a commit with a path and no proposals).

use mdk_store::GroupStatus;
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::mls::stage_commit::Plan;
use crate::model::error::Result;
use crate::model::values::Pending;

impl Ctx<'_> {
    /// Any member may do this (rule: 2.6-4a).
    pub(crate) fn self_update(&mut self, id: &GroupId) -> Result<Pending> {
        let group = self.take_for_commit(id)?;
        self.prepare(group, &Plan::default())
    }

    /// Groups whose own leaf is older than `older_than` seconds, or came with a backup.
    pub(crate) fn needs_self_update(&self, older_than: u64) -> Result<Vec<GroupId>> {
        let now = self.now();
        let mut due = Vec::new();
        for row in self.tx.groups()? {
            let old = row.self_updated_at.saturating_add(older_than) <= now;
            if row.status == GroupStatus::Active
                && (old || self.tx.must_update_after_restore(&row.id)?)
            {
                due.push(row.id);
            }
        }
        Ok(due)
    }
}
