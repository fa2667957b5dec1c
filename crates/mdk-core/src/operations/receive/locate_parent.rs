//! Finding the state that a handshake message was made on, when it is not the tip.

use mdk_store::{InputClass, InputState, NodeRow};
use openmls::prelude::ProtocolMessage;
use openmls_rust_crypto::RustCrypto;

use crate::fork_choice::state_tree::away;
use crate::mls::end_membership;
use crate::mls::rebuild_state::Copies;
use crate::mls::replay::Edge;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::operations::receive::{candidate, refuse};
use crate::state_store::handshakes_tried::Vain;
use crate::state_store::records::Records;

/// A commit that the tip does not take: tried on the state whose key sealed it. (rule: E3-1)
///
/// `tip_refused` says that the tip was tried and it was not made there.
pub(crate) fn place_commit(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    opened: &Opened,
    message: &ProtocolMessage,
    tip_refused: bool,
) -> Result<Verdict, Halt> {
    let epoch = message.epoch().as_u64();
    let id = opened.row.id.clone();
    let states = records.tx.states(&id)?;
    // (another invitation than the one we follow may lead to an epoch before that one)
    let began = states.iter().find(|n| n.canonical && n.parent.is_none()).map(|n| n.epoch);
    let away = away(&states).is_some_and(|away| away.contains(&epoch));
    let here = states.iter().filter(|n| n.epoch == epoch && !n.removed);
    let mut nodes: Vec<&NodeRow> = here.collect();
    let tip = opened.row.authenticator;
    // rule: E6-2 a state that must be there is not: nothing is chosen without it
    let live = |n: &NodeRow| n.authenticator == tip && !membership::is_out(opened.row.status);
    // (where we are out there is no state to lose)
    let out = membership::is_out(opened.row.status);
    let mut lost = epoch >= began.unwrap_or(0).max(opened.row.pass.floor)
        && epoch <= opened.row.epoch
        && !away
        && !(out && epoch == opened.row.epoch);
    for node in nodes.iter().filter(|n| n.canonical) {
        lost &= !live(node) && records.tx.node_state(&id, &node.authenticator)?.is_none();
    }
    if tip_refused {
        not_there(records, opened, tip);
        nodes.retain(|n| n.authenticator != tip);
    }
    // A message is sealed with the key of the state that it is made on. A try on every rival of its epoch would make
    // each sleeping one anew. A try on the others alone would let the order of arrival decide.
    nodes.retain(|n| n.authenticator == opened.opener);
    nodes.retain(|n| !records.memory.tried.is_elsewhere(opened.content_id, n.authenticator));
    for node in &nodes {
        match Copies::new(records.groups(), records.call, crypto).try_edge(
            opened,
            message.clone(),
            node,
        )? {
            Edge::Elsewhere => not_there(records, opened, node.authenticator),
            Edge::Missing => {}
            Edge::Wait(reason) => return refuse::wait_on(records, opened, node, epoch, reason),
            Edge::OwnLost => return records.handshakes().own_lost(opened, node, epoch),
            Edge::Made(made) => return candidate::add_candidate(records, opened, *made),
        }
    }
    if lost {
        let verdict =
            hold_there(records, opened, InputClass::Commit, epoch, DeferredReason::CannotJudge)?;
        end_membership::give_up(records, &id, "retained_state_lost")?;
        return Ok(verdict);
    }
    hold_there(records, opened, InputClass::Commit, epoch, DeferredReason::MissingParent)
}

/// Keeps a handshake that the state with its key does not take, or not yet. What is known of it from another state
/// stays.
pub(crate) fn hold_there(
    records: &mut Records<'_>,
    opened: &Opened,
    class: InputClass,
    epoch: u64,
    reason: DeferredReason,
) -> Result<Verdict, Halt> {
    if records.tx.input(&opened.row.id, &opened.content_id)?.is_some() {
        return Ok(Verdict::Deferred(reason));
    }
    let place = (InputState::Waiting, Some(opened.opener), None);
    records.handshakes().keep_input(opened, class, epoch, place, reason)
}

pub(crate) fn not_there(records: &mut Records<'_>, opened: &Opened, state: Auth) {
    records.memory.tried.note(opened.content_id, state, Vain::Elsewhere);
}
