//! Fresh keys for our leaf (RFC 9420, 12.4: a commit with a path and no proposals).

use mdk_store::GroupStatus;
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::error::Result;
use crate::outbound::Plan;
use crate::values::Pending;

impl Ctx<'_, '_> {
    /// Any member may do this (rule: 2.6-4a).
    pub(crate) fn self_update(&mut self, id: &GroupId) -> Result<Pending> {
        let group = self.take_for_commit(id)?;
        self.prepare(group, &Plan::default())
    }

    /// Groups whose own leaf is older than `older_than` seconds.
    pub(crate) fn needs_self_update(&self, older_than: u64) -> Result<Vec<GroupId>> {
        let now = self.now();
        Ok(self
            .tx
            .groups()?
            .into_iter()
            .filter(|row| row.status == GroupStatus::Active)
            .filter(|row| row.self_updated_at.saturating_add(older_than) <= now)
            .map(|row| row.id)
            .collect())
    }
}
