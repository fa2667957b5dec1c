//! Inviting accounts.

use mdk_wire::{Event, GroupId, PublicKey};

use crate::mls::components::admin_policy;
use crate::mls::invitees::incompatible;
use crate::mls::key_packages::check;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{invitees, own_commit, stage_commit};
use crate::model::error::{Error, Result};
use crate::model::values::Pending;

/// Invites accounts, optionally as admins in the same commit.
pub(crate) fn add_members(
    work: &mut Work<'_>,
    id: &GroupId,
    events: &[Event],
    promote: bool,
) -> Result<Pending> {
    if events.is_empty() {
        return Err(Error::empty("key_packages", "empty"));
    }
    let invitees = invitees::check_invitees(work.records.call, work.crypto, events)?;
    let mut group = own_commit::take_for_commit(work, id)?;
    stage_commit::require_admin(work.records.call, &group)?;
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
    own_commit::prepare(work, group, &plan)
}
