//! Handshakes that waited, tried on the states that came since.

use mdk_store::{CommitStatus, GroupStatus, InputClass, InputRow, InputState, NodeRow, Tx};
use mdk_wire::{ContentId, GroupId};
use openmls::prelude::ProtocolMessage;

use crate::fork_choice::settling::beyond;
use crate::mls::decode;
use crate::mls::replay::Edge;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Rejection, Verdict};
use crate::model::state_id::Auth;
use crate::operations::receive::{
    apply_commit, apply_proposal, candidate, locate_parent, own_commit_returns, refuse,
};
use crate::state_store::handshakes_tried;
use crate::state_store::handshakes_tried::proposals_on;
use crate::state_store::records::Records;

/// After a pass, or a restart: waiting handshakes are tried on every retained state that they were not tried on yet.
pub(crate) fn look_again(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    let row = records.groups().current_row(id)?;
    let inputs = records.tx.input_heads(id)?;
    if inputs.iter().all(|i| i.state != mdk_store::InputState::Waiting) {
        return Ok(());
    }
    if membership::is_over(row.status) || records.groups().publishing(&row)? {
        return Ok(());
    }
    for node in records.tx.states(id)?.iter() {
        let proposals = handshakes_tried::proposals_on(&inputs, &node.authenticator);
        let open = |i| records.memory.tried.is_open(i, node, proposals, records.call.now_millis);
        if inputs.iter().any(open) {
            records.effects.new_states.push((id.clone(), node.authenticator));
        }
    }
    Ok(())
}

/// A state, if it is retained, and which handshakes of a class wait that may be tried on it.
pub(crate) fn waiting_for(
    records: &Records<'_>,
    id: &GroupId,
    auth: &Auth,
    class: InputClass,
) -> Result<Option<(NodeRow, Vec<ContentId>)>> {
    let states = records.tx.states(id)?;
    let Some(node) = states.get(auth) else { return Ok(None) };
    let mut waiting = records.tx.input_heads(id)?;
    let (proposals, now) = (proposals_on(&waiting, auth), records.call.now_millis);
    waiting.retain(|i| i.class == class && records.memory.tried.is_open(i, node, proposals, now));
    // rule: E3-4 in the order of their digests, whatever came first
    let mut waiting: Vec<ContentId> = waiting.into_iter().map(|i| i.content_id).collect();
    waiting.sort_unstable();
    Ok(Some((node.clone(), waiting)))
}

/// The state that a commit waits for that could not be judged. Without it the commit goes.
pub(crate) fn parent_of(tx: &Tx<'_>, input: &InputRow) -> Result<Option<NodeRow>> {
    let nodes = tx.nodes(&input.group)?;
    let node = nodes.into_iter().find(|n| Some(n.authenticator) == input.parent_auth);
    if node.is_none() {
        tx.drop_input(&input.group, &input.content_id)?;
    }
    Ok(node)
}

/// Returns a waiting input as an opened message, with its content, or without if the input goes. Returns `None` if it
/// is not to be tried now.
pub(crate) fn opened_from(
    records: &Records<'_>,
    input: &InputRow,
    node: &NodeRow,
) -> Result<Option<(Opened, Option<ProtocolMessage>)>> {
    let row = records.groups().current_row(&input.group)?;
    if row.status.is_stuck() || row.status == GroupStatus::Disbanded {
        return Ok(None);
    }
    if input.class == InputClass::Commit && beyond(&row.pass, input.epoch, records.input.batching) {
        return Ok(None);
    }
    let message = decode::decode(&input.bytes).ok();
    if message.is_none() {
        records.tx.drop_input(&input.group, &input.content_id)?;
    }
    Ok(Some((Opened::from_input(row, input, node.authenticator), message)))
}

/// Takes in a handshake that waited, on the state that it is tried on.
pub(crate) fn receive_handshake(
    work: &mut Work<'_>,
    opened: Opened,
    message: ProtocolMessage,
    input: &InputRow,
    node: &NodeRow,
) -> Result<Verdict, Halt> {
    let on_tip = node.authenticator == opened.row.authenticator;
    match input.class {
        InputClass::Proposal if on_tip => apply_proposal::apply_proposal(work, opened, message),
        InputClass::Proposal => {
            apply_proposal::place_proposal(&mut work.records, work.crypto, &opened, &message)
        }
        InputClass::Commit => {
            match work.records.tx.pending_by_digest(&input.group, &input.content_id)? {
                Some(own) if own.status == CommitStatus::Discarded => {
                    own_commit_returns::place_own(&mut work.records, work.crypto, &opened, &own)
                }
                _ if on_tip => apply_commit::apply_commit(work, opened, message),
                _ => match work.copies().try_edge(&opened, message, node)? {
                    Edge::Elsewhere => {
                        locate_parent::not_there(&mut work.records, &opened, node.authenticator);
                        Ok(Verdict::Deferred(DeferredReason::MissingParent))
                    }
                    Edge::Missing => Ok(Verdict::Deferred(DeferredReason::MissingParent)),
                    Edge::Wait(reason) => {
                        refuse::wait_on(&mut work.records, &opened, node, input.epoch, reason)
                    }
                    Edge::OwnLost => work.records.handshakes().own_lost(&opened, node, input.epoch),
                    Edge::Made(made) => candidate::add_candidate(&mut work.records, &opened, *made),
                },
            }
        }
    }
}

/// Forgets an input that has waited and is settled. Returns true when something moved.
pub(crate) fn after_handshake(
    tx: &Tx<'_>,
    input: &InputRow,
    verdict: std::result::Result<Verdict, Rejection>,
) -> Result<bool> {
    let id = &input.group;
    match verdict {
        Ok(Verdict::Deferred(reason)) if reason != DeferredReason::Rival => Ok(false),
        Ok(_) => {
            // A proposal that was verified stays as an input; a commit is a state now, and may be kept as such.
            let left = tx.input(id, &input.content_id)?;
            if left.is_some_and(|i| i.class == InputClass::Commit && i.state != InputState::Placed)
            {
                tx.drop_input(id, &input.content_id)?;
            }
            Ok(true)
        }
        Err(_) => {
            tx.drop_input(id, &input.content_id)?;
            Ok(true)
        }
    }
}
