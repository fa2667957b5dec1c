//! The members of a group and their leaves.

use mdk_wire::{GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::mls::loaded_groups::leaves_of;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::values::Member;

impl Ctx<'_> {
    /// Member accounts with their leaves, sorted by key.
    pub(crate) fn members(&mut self, id: &GroupId) -> Result<Vec<Member>> {
        let row = self.groups().listed(id)?;
        let me = self.me();
        let member = |public_key: &PublicKey, leaf_indexes| Member {
            public_key: *public_key,
            is_admin: row.admins.contains(public_key),
            is_me: *public_key == me,
            leaf_indexes,
        };
        if membership::is_over(row.status) {
            return Ok(row.members.iter().map(|key| member(key, Vec::new())).collect());
        }
        let group = self.take(id)?;
        let members =
            group.row.members.iter().map(|key| member(key, leaves_of(&group, key))).collect();
        self.put(group);
        Ok(members)
    }
}
