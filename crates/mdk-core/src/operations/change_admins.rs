//! Who is an admin.

use mdk_wire::{GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::mls::invitees::without;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::stage_commit::Plan;
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

impl Ctx<'_> {
    /// Makes members admins.
    pub(crate) fn promote(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        let group = self.take_for_commit(id)?;
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
        self.set_admins(group, admins)
    }

    /// Takes admin rights away; the last admin cannot go (AdminDepletion).
    pub(crate) fn demote(&mut self, id: &GroupId, accounts: &[PublicKey]) -> Result<Pending> {
        let group = self.take_for_commit(id)?;
        if accounts.is_empty() {
            return Err(Error::empty("members", "empty"));
        }
        if accounts.iter().any(|account| !group.row.admins.contains(account)) {
            return Err(Error::input("members", "not an admin"));
        }
        let admins = without(&group.row.admins, accounts);
        self.set_admins(group, admins)
    }

    fn set_admins(&mut self, group: LoadedGroup, admins: Vec<PublicKey>) -> Result<Pending> {
        self.require_admin(&group)?;
        let component = self.new_admins(&group, admins)?;
        self.prepare(group, &Plan { components: vec![component], ..Plan::default() })
    }
}
