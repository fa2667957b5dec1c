//! Putting members out.

use mdk_wire::{GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::mls::components::admin_policy;
use crate::mls::invitees::without;
use crate::mls::loaded_groups::leaves_of;
use crate::mls::stage_commit::Plan;
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

impl Ctx<'_> {
    /// Removes every leaf of the accounts; their admin keys go in the same commit (rule: 2.6-7).
    pub(crate) fn remove_members(
        &mut self,
        id: &GroupId,
        accounts: &[PublicKey],
    ) -> Result<Pending> {
        if accounts.is_empty() {
            return Err(Error::empty("members", "empty"));
        }
        let group = self.take_for_commit(id)?;
        self.require_admin(&group)?;
        if accounts.contains(&self.me()) {
            return Err(Error::input("members", "the own account: leave instead"));
        }
        let mut plan = Plan::default();
        for account in accounts {
            let leaves = leaves_of(&group, account);
            if leaves.is_empty() {
                return Err(Error::input("members", "not a member"));
            }
            plan.removes.extend(leaves);
        }
        plan.removes.sort_unstable();
        plan.removes.dedup();
        if group.row.admins.iter().any(|admin| accounts.contains(admin)) {
            plan.components.push(admin_policy(without(&group.row.admins, accounts))?);
        }
        self.prepare(group, &plan)
    }
}
