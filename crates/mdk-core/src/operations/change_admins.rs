//! Changes of a group's admins.

use mdk_wire::{GroupId, PublicKey};

use crate::mls::invitees::without;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{components, own_commit, stage_commit};
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

/// Makes members admins.
pub(crate) fn promote(
    work: &mut Work<'_>,
    id: &GroupId,
    accounts: &[PublicKey],
) -> Result<Pending> {
    let group = own_commit::take_for_commit(work, id)?;
    if accounts.is_empty() {
        return Err(Error::empty("members", "empty"));
    }
    if accounts.iter().any(|account| !group.row.members.contains(account)) {
        return Err(Error::input("members", "not a member"));
    }
    if accounts.iter().all(|account| group.row.admins.contains(account)) {
        return Err(Error::input("members", "admins already"));
    }
    let admins = group.row.admins.iter().chain(accounts).copied().collect();
    set_admins(work, group, admins)
}

/// Takes admin rights away; the last admin cannot go (AdminDepletion).
pub(crate) fn demote(work: &mut Work<'_>, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
    let group = own_commit::take_for_commit(work, id)?;
    if accounts.is_empty() {
        return Err(Error::empty("members", "empty"));
    }
    if accounts.iter().any(|account| !group.row.admins.contains(account)) {
        return Err(Error::input("members", "not an admin"));
    }
    let admins = without(&group.row.admins, accounts);
    set_admins(work, group, admins)
}

fn set_admins(work: &mut Work<'_>, group: LoadedGroup, admins: Vec<PublicKey>) -> Result<Pending> {
    stage_commit::require_admin(work.records.call, &group)?;
    let component = components::new_admins(&group, admins)?;
    own_commit::prepare(work, group, &Plan { components: vec![component], ..Plan::default() })
}
