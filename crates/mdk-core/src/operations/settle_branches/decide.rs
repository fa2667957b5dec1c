//! The choice among the branches of a group.

use mdk_store::NodeRow;
use mdk_wire::{GroupId, PublicKey};

use crate::fork_choice::branches_by_removed_accounts::of_the_put_out;
use crate::fork_choice::state_tree::Tree;
use crate::fork_choice::untrusted_branches::of_one_word;
use crate::mls::rebuild_state::Copies;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::operations::settle_branches::switch;
use crate::state_store::removals_of_us;
use crate::state_store::retained_states::fork_history;

/// Compares the branches and goes to the winner.
pub(crate) fn decide(work: &mut Work<'_>, id: &GroupId, base: u64) -> Result<()> {
    removals_of_us::lead_on(work.records.tx, id)?;
    let nodes = work.records.tx.nodes(id)?;
    let tree = Tree::new(&nodes);
    let history = nodes.iter().filter(|n| !n.canonical).map(|n| n.history).min();
    let witnesses =
        work.records.tx.witnesses(id, history.unwrap_or(0).min(fork_history(&nodes)))?;
    // A state that cannot be made again leads nowhere, either.
    let admins = work.records.groups().current_row(id)?.admins;
    let known = || known_from_the_first(work.copies(), id, &nodes);
    let mut lost = of_one_word(&tree, &witnesses, work.records.me(), &admins, known)?;
    lost.extend(of_the_put_out(&tree, &witnesses, base, |node| work.copies().look_of(id, node))?);
    while let Some(choice) = tree.choose(base, &witnesses, &lost) {
        let winner = choice.winner;
        tracing::debug!(
            rule = ?choice.rule,
            fork = choice.fork_epoch,
            tip = nodes[winner].epoch,
            quorum = choice.quorum,
            score = choice.score as u64,
            "branches were compared"
        );
        if nodes[winner].canonical {
            break;
        }
        let rivals = tree.path(winner).into_iter().take_while(|node| !nodes[*node].canonical);
        let path: Vec<usize> = rivals.collect();
        if work.copies().wake_path(id, &nodes, &path)? {
            switch::switch(work, id, &nodes, &path)?;
            break;
        }
        lost.insert(winner);
    }
    work.records.branch_messages().sort_messages(id)
}

/// The members of the group where we came in on the followed branch, as far as that state can still be read.
fn known_from_the_first(
    copies: Copies<'_>,
    id: &GroupId,
    nodes: &[NodeRow],
) -> Result<Vec<PublicKey>> {
    let began = nodes.iter().find(|n| n.canonical && n.parent.is_none() && !n.removed);
    let known = began.map(|began| copies.look_of(id, began)).transpose()?.flatten();
    Ok(known.map(|(_, accounts)| accounts).unwrap_or_default())
}
