//! The limit to rivals that are kept as whole states.
//!
//! A state takes as much room as the group is large, and members can make any number of valid rivals. Of most of them
//! only the row is kept, with the key, and the commit that led there. Such a state *sleeps*. It takes part in every
//! choice like any other, since branches are compared by the rows. When a message or a commit comes on it, or it wins,
//! it is made again from its parent and the commit. So the choice of sleepers decides nothing, and the order of arrival
//! decides nothing.
//!
//! States are dropped when one account floods the group (rule: E3-5), or all of them do (rule: E3-6). The commits alone
//! decide which.

use std::collections::BTreeSet;

use mdk_store::{InputState, NodeRow, Tx};
use mdk_wire::budget::group::{MAX_BESIDE, MAX_BYTES, MAX_RIVALS};
use mdk_wire::{ContentId, GroupId, SecretVec};

use crate::fork_choice::state_tree::Tree;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::state_id::Auth;
use crate::state_store::records::Records;
use crate::state_store::retained_states;

/// Drops surplus states, and puts to sleep those that need not be whole.
pub(crate) fn limit_rivals(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    let mut nodes = records.tx.nodes(id)?;
    let beside = |nodes: &[NodeRow]| nodes.iter().filter(|n| !n.canonical).count();
    if beside(&nodes) <= MAX_RIVALS {
        return Ok(());
    }
    let gone = drop_surplus(records, &nodes)?;
    nodes.retain(|n| !gone.contains(&n.authenticator));
    while beside(&nodes) > MAX_BESIDE || records.tx.placed_bytes(id)? > MAX_BYTES {
        let Some(last) = Tree::new(&nodes).excess() else { break };
        let node = nodes.remove(last);
        // It was valid, and has to give way to no better one: it may come again when there is room.
        if let Some(commit) = node.commit
            && let Some(input) = records.tx.input(id, &commit)?
        {
            records.tx.forget_seen(input.event_id.as_bytes())?;
            records.tx.forget_seen(commit.as_bytes())?;
        }
        records.states().drop_state(&node)?;
    }
    put_to_sleep(records.tx, records.call, id, &nodes)
}

/// Forgets the states beyond their maker's share. A followed state stays until another branch was chosen.
fn drop_surplus(records: &Records<'_>, nodes: &[NodeRow]) -> Result<BTreeSet<Auth>> {
    let tree = Tree::new(nodes);
    let mut surplus = tree.surplus();
    surplus.retain(|place| !nodes[*place].canonical);
    for place in &surplus {
        records.states().drop_state(&nodes[*place])?;
    }
    Ok(surplus.into_iter().map(|place| nodes[place].authenticator).collect())
}

// rule: E3-3 a flood of valid commits takes a bounded number of whole states: those of the best tips
fn put_to_sleep(tx: &Tx<'_>, call: Call<'_>, id: &GroupId, nodes: &[NodeRow]) -> Result<()> {
    let tree = Tree::new(nodes);
    if tree.leaves().iter().filter(|tip| !nodes[**tip].canonical).count() <= MAX_RIVALS {
        return Ok(());
    }
    let witnesses = tx.witnesses(id, retained_states::fork_history(nodes))?;
    // rule: E3-8 a state in which this account has spoken does not sleep: whoever speaks there once more, after it was
    // made again, would use its message keys a second time
    let me = call.me();
    let spoken: BTreeSet<Auth> =
        tx.spoken_in(id, Some(&me), retained_states::fork_history(nodes))?.into_iter().collect();
    // (a state that came with an invitation, or is our own, cannot be made again)
    let kept: BTreeSet<ContentId> = tx
        .input_heads(id)?
        .into_iter()
        .filter(|i| i.state == InputState::Placed)
        .map(|i| i.content_id)
        .collect();
    let whole: BTreeSet<Auth> = tx.whole_nodes(id)?.into_iter().collect();
    let restless = |place: &usize| {
        let node = &nodes[*place];
        let can_sleep = node.commit.is_some_and(|commit| kept.contains(&commit));
        whole.contains(&node.authenticator) && (!can_sleep || spoken.contains(&node.authenticator))
    };
    let (mut awake, others): (Vec<usize>, Vec<usize>) =
        tree.rivals(&witnesses).into_iter().partition(&restless);
    awake.extend(others.into_iter().take(MAX_RIVALS.saturating_sub(awake.len())));
    let awake: BTreeSet<usize> = awake.into_iter().flat_map(|tip| tree.path(tip)).collect();
    for (place, node) in nodes.iter().enumerate().filter(|(_, n)| !n.canonical) {
        let tired = whole.contains(&node.authenticator) && !awake.contains(&place);
        if tired && !restless(&place) {
            tx.set_node_state(id, &node.authenticator, &SecretVec::new(Vec::new()))?;
        }
    }
    Ok(())
}
