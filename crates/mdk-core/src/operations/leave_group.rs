//! Leaving by SelfRemove, and the commit of another member that answers it (protocol/leaving.md 2.7).

use mdk_store::{GroupStatus, InputClass, InputRow, InputState, LeaveRow};
use mdk_wire::{ContentId, Event, GroupId};

use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::work::Work;
use crate::mls::{leave_proposal, own_commit};
use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxPurpose;
use crate::state_store::outbox::Letter;

/// Proposes our own removal. From here on: no messages, no commits.
pub(crate) fn leave(work: &mut Work<'_>, id: &GroupId) -> Result<Event> {
    let row = work.records.groups().row(id)?;
    if row.status == GroupStatus::Leaving {
        return Err(Error::NotAllowed("a leave was already requested in this epoch"));
    }
    let mut group = own_commit::take_unpending(work, id)?;
    let me = work.records.me();
    if group.row.members.as_slice() == [me] {
        return Err(Error::NotAllowed("the last member cannot leave: disband the group"));
    }
    // rule: 2.7-1 (an active admin first commits itself out of the list; another must remain)
    if group.row.admins.contains(&me) {
        return Err(if group.row.admins.len() == 1 {
            Error::LastAdmin
        } else {
            Error::NotAllowed("an admin must give up the admin role first: demote yourself")
        });
    }
    group.row.status = GroupStatus::Leaving;
    let event = propose_leave(work, &mut group, work.records.now())?;
    work.records.tx.update_group(&group.row)?;
    work.put(group);
    Ok(event)
}

/// The proposal of this epoch, stored with its bytes (rule: 2.7-3, once per epoch).
pub(crate) fn propose_leave(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    requested_at: u64,
) -> Result<Event> {
    let proposal = leave_proposal::self_remove(work, group)?;
    let row = &group.row;
    let event = leave_proposal::seal_proposal(work.records.tx, work.records.call, row, &proposal)?;
    let content_id = ContentId::of(&proposal);
    // The commit that answers refers to it, so it is kept like a proposal of another member. It may
    // always be kept: without it the answer could not be read.
    work.records.tx.put_input(
        &InputRow {
            group: row.id.clone(),
            content_id,
            class: InputClass::Proposal,
            epoch: row.epoch,
            bytes: proposal,
            state: InputState::Verified,
            sender: Some(work.records.me()),
            parent_auth: Some(row.authenticator),
            event_id: event.id(),
            received_at: work.records.now(),
            due_at: None,
        },
        u32::MAX,
    )?;
    work.records.tx.put_leave(&LeaveRow {
        group: row.id.clone(),
        requested_at,
        proposed_epoch: row.epoch,
        event_json: event.to_json(),
    })?;
    work.records.outbox().withdraw_proposals(&group.row.id)?;
    work.records.outbox().post(&Letter {
        purpose: OutboxPurpose::Proposal,
        group: Some(&group.row.id),
        event: &event,
        relays: &group.row.relays,
    })?;
    Ok(event)
}

/// A new epoch came and we are still a leaf: ask again.
pub(crate) fn renew_leave(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    let row = work.records.tx.group(id)?;
    let Some(row) = row.filter(|row| row.status == GroupStatus::Leaving) else { return Ok(()) };
    let Some(leave) = work.records.tx.leave(id)? else { return Ok(()) };
    // On another branch the same epoch is another one.
    let state = row.authenticator;
    let me = work.records.me();
    let proposed = work.records.tx.input_heads(id)?.into_iter().any(|i| {
        i.class == InputClass::Proposal && i.sender == Some(me) && i.parent_auth == Some(state)
    });
    if leave.proposed_epoch == row.epoch && proposed {
        return Ok(());
    }
    // rule: 2.7-1 (made an admin meanwhile: the request cannot stand; give the role up and ask again)
    if row.admins.contains(&me) {
        work.records.edit_row(id, |row| row.status = GroupStatus::Active)?;
        work.records.tx.delete_leave(id)?;
        return Ok(());
    }
    let mut group = work.take(id)?;
    let event = propose_leave(work, &mut group, leave.requested_at)?;
    work.put(group);
    work.records.effects.publish.push(event);
    Ok(())
}
