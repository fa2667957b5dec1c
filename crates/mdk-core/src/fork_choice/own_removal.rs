//! Removals of us on branches, and the invitations that lead on from them. Pure.

use mdk_store::{GroupRow, NodeRow, WitnessRow};

use crate::fork_choice::branch_order;
use crate::fork_choice::settling::base_for_rival;
use crate::fork_choice::state_tree::Tree;
use crate::model::limits::PATIENCE;
use crate::model::state_id::{Auth, removed_by};

/// Whether a state is where we were taken out.
pub(crate) fn removes(node: &NodeRow) -> bool {
    node.commit.is_some_and(|commit| node.authenticator == removed_by(&commit))
}

// rule: B4-18 a Welcome that can only come from beyond a removal that we have not followed leads on from it
/// The removal of us, on a branch that is not followed, after which a Welcome to `epoch` must have been made, and the
/// epoch in which that branch left the followed one: nobody who is in a group is invited to it.
///
/// Nothing else of that branch can be seen than the removal, so it would be scored too low (H2).
pub(crate) fn removal_before(
    tree: &Tree<'_>,
    witnesses: &[WitnessRow],
    row: &GroupRow,
    epoch: u64,
) -> Option<(Auth, u64)> {
    let nodes = tree.nodes;
    let fork = |place: usize| {
        let near =
            |fork: &u64| branch_order::eligible(*fork, base_for_rival(row), &branch_order::POLICY);
        tree.anchor(place).filter(near)
    };
    let mut removals: Vec<usize> = (0..nodes.len()).collect();
    removals.retain(|place| {
        let node = &nodes[*place];
        removes(node) && !node.canonical && node.epoch < epoch && fork(*place).is_some()
    });
    let place = tree.best(&removals, witnesses)?;
    Some((nodes[place].authenticator, fork(place)?))
}

/// A state that we were invited to: the first that we have of a membership.
pub(crate) fn is_invitation(node: &NodeRow) -> bool {
    node.parent.is_none() && !node.removed
}

// rule: B4-23 a removal that comes when what leads on from it was taken up already is put before that
/// States that we were invited to, each with the removal of us that it must have been made after. A member who had
/// waited for that removal in vain (B4-22) took such a state for another branch from before our membership began.
/// Messages in the state did not count there.
pub(crate) fn led_on(tree: &Tree<'_>, witnesses: &[WitnessRow]) -> Vec<(usize, usize)> {
    let nodes = tree.nodes;
    let removal_of = |later: &NodeRow| {
        let mut removals: Vec<usize> = (0..nodes.len()).collect();
        removals.retain(|place| {
            let path = tree.path(*place);
            let first = path.last().map(|first| &nodes[*first]);
            let before = first.filter(|first| is_invitation(first)).is_some_and(|first| {
                first.made_at.saturating_add(PATIENCE * 1000) <= later.made_at
            });
            removes(&nodes[*place]) && nodes[*place].epoch < later.epoch && before
        });
        tree.best(&removals, witnesses)
    };
    let invitations = nodes.iter().enumerate().filter(|(_, node)| is_invitation(node));
    invitations.filter_map(|(later, node)| Some((later, removal_of(node)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork_choice::state_tree::tests::node;

    /// A state in which a commit of that name takes us out.
    fn removal(name: u8, epoch: u64, parent: u8) -> NodeRow {
        let node = node(name, epoch, parent, false);
        let commit = node.commit.expect("a commit led there");
        NodeRow { authenticator: removed_by(&commit), removed: true, ..node }
    }

    // shows: B4-23
    /// An invitation is put behind a removal only if the removal's branch began long before it, and in an earlier epoch.
    #[test]
    fn an_invitation_leads_on_from_a_removal_before_it() {
        let invited = |made_at| NodeRow { parent: None, made_at, ..node(4, 13, 0, false) };
        let mut nodes = vec![
            NodeRow { parent: None, ..node(1, 10, 0, true) },
            removal(3, 11, 1),
            invited(PATIENCE * 1000),
        ];
        assert_eq!(led_on(&Tree::new(&nodes), &[]), [(2, 1)]);
        nodes[2] = invited(PATIENCE * 1000 - 1);
        assert!(led_on(&Tree::new(&nodes), &[]).is_empty());
        nodes[2] = NodeRow { epoch: 11, ..invited(PATIENCE * 1000) };
        assert!(led_on(&Tree::new(&nodes), &[]).is_empty());
    }
}
