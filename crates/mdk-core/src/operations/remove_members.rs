//! Putting members out.

use mdk_wire::{GroupId, PublicKey};

use crate::mls::components::admin_policy;
use crate::mls::invitees::without;
use crate::mls::loaded_groups::leaves_of;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{own_commit, stage_commit};
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

/// Removes every leaf of the accounts; their admin keys go in the same commit (rule: 2.6-7).
pub(crate) fn remove_members(
    work: &mut Work<'_>,
    id: &GroupId,
    accounts: &[PublicKey],
) -> Result<Pending> {
    if accounts.is_empty() {
        return Err(Error::empty("members", "empty"));
    }
    let group = own_commit::take_for_commit(work, id)?;
    stage_commit::require_admin(work.records.call, &group)?;
    if accounts.contains(&work.records.me()) {
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
    own_commit::prepare(work, group, &plan)
}
