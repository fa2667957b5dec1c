//! The members of a group and their leaves.

use mdk_wire::{GroupId, PublicKey};

use crate::mls::loaded_groups::leaves_by_account;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::values::Member;

/// Member accounts with their leaves, sorted by key.
pub(crate) fn members(work: &mut Work<'_>, id: &GroupId) -> Result<Vec<Member>> {
    let row = work.records.groups().listed(id)?;
    let me = work.records.me();
    let member = |public_key: &PublicKey, leaf_indexes| Member {
        public_key: *public_key,
        is_admin: row.admins.contains(public_key),
        is_me: *public_key == me,
        leaf_indexes,
    };
    if membership::is_over(row.status) {
        return Ok(row.members.iter().map(|key| member(key, Vec::new())).collect());
    }
    let group = work.take(id)?;
    let mut leaves = leaves_by_account(&group);
    let mut leaves_of = |key| leaves.remove(key).unwrap_or_default();
    let members = group.row.members.iter().map(|key| member(key, leaves_of(key))).collect();
    work.put(group);
    Ok(members)
}
