//! Inviting accounts.

use mdk_wire::{Event, GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::mls::components::admin_policy;
use crate::mls::invitees::incompatible;
use crate::mls::key_packages::check;
use crate::mls::stage_commit::Plan;
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

impl Ctx<'_> {
    /// Invites accounts, optionally as admins in the same commit.
    pub(crate) fn add_members(
        &mut self,
        id: &GroupId,
        events: &[Event],
        promote: bool,
    ) -> Result<Pending> {
        if events.is_empty() {
            return Err(Error::empty("key_packages", "empty"));
        }
        let invitees = self.check_invitees(events)?;
        let mut group = self.take_for_commit(id)?;
        self.require_admin(&group)?;
        let view = group.view();
        for invitee in &invitees {
            if group.row.members.contains(&invitee.account) {
                return Err(Error::input("key_packages", "an account that is a member already"));
            }
            check::fits(invitee, &view).map_err(incompatible(invitee.account))?;
        }
        let mut plan = Plan::default();
        if promote {
            let granted = invitees.iter().map(|kp| kp.account);
            let admins: Vec<PublicKey> = group.row.admins.iter().copied().chain(granted).collect();
            plan.components.push(admin_policy(admins)?);
        }
        plan.adds = invitees;
        self.prepare(group, &plan)
    }
}
