//! Removals of us on branches, and the invitations that lead on from them.

use mdk_store::{GroupRow, NodeRow, Tx};
use mdk_wire::GroupId;

use crate::fork_choice::own_removal::{self as on_branches, is_invitation, led_on};
use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::state_store::retained_states::fork_history;

/// As [`on_branches::removal_before`], of the retained states of a group.
pub(crate) fn removal_before(
    tx: &Tx<'_>,
    row: &GroupRow,
    epoch: u64,
) -> Result<Option<(Auth, u64)>> {
    if membership::is_out(row.status) || row.pass.contested == 0 {
        return Ok(None);
    }
    let nodes = tx.nodes(&row.id)?;
    let witnesses = tx.witnesses(&row.id, fork_history(&nodes))?;
    Ok(on_branches::removal_before(&Tree::new(&nodes), &witnesses, row, epoch))
}

/// Puts states that we were invited to behind the removals that they must have been made after.
pub(crate) fn lead_on(tx: &Tx<'_>, id: &GroupId) -> Result<()> {
    let nodes = tx.nodes(id)?;
    if nodes.iter().filter(|node| is_invitation(node)).count() < 2 {
        return Ok(());
    }
    let witnesses = tx.witnesses(id, fork_history(&nodes))?;
    let tree = Tree::new(&nodes);
    for (later, removal) in led_on(&tree, &witnesses) {
        let later = &nodes[later];
        let parent = Some(nodes[removal].authenticator);
        tx.put_node(&NodeRow { parent, ..later.clone() })?;
        // The followed branch has come by all of it.
        for place in tree.path(removal).into_iter().take_while(|_| later.canonical) {
            tx.set_canonical(id, &nodes[place].authenticator, true)?;
        }
    }
    Ok(())
}

/// Whether one of the Welcomes that wait may lead on from a removal that is known.
pub(crate) fn is_awaited(tx: &Tx<'_>, row: &GroupRow) -> Result<bool> {
    Ok(removal_before(tx, row, u64::MAX)?.is_some())
}
