//! The choice among the branches of a group.

use mdk_store::NodeRow;
use mdk_wire::{GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::fork_choice::branches_of_removed::of_the_put_out;
use crate::fork_choice::state_tree::Tree;
use crate::fork_choice::untrusted_branches::of_one_word;
use crate::model::error::Result;
use crate::state_store::removals_of_us;
use crate::state_store::retained_states::fork_history;

impl Ctx<'_> {
    /// Compares the branches and goes to the winner.
    pub(crate) fn decide(&mut self, id: &GroupId, base: u64) -> Result<()> {
        removals_of_us::lead_on(self.tx, id)?;
        let nodes = self.tx.nodes(id)?;
        let tree = Tree::new(&nodes);
        let history = nodes.iter().filter(|n| !n.canonical).map(|n| n.history).min();
        let witnesses = self.tx.witnesses(id, history.unwrap_or(0).min(fork_history(&nodes)))?;
        // A state that cannot be made again leads nowhere, either.
        let admins = self.groups().current_row(id)?.admins;
        let known = || self.known_from_the_first(id, &nodes);
        let mut lost = of_one_word(&tree, &witnesses, self.me(), &admins, known)?;
        lost.extend(of_the_put_out(&tree, &witnesses, base, |node| self.look_of(id, node))?);
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
            if self.wake_path(id, &nodes, &path)? {
                self.switch(id, &nodes, &path)?;
                break;
            }
            lost.insert(winner);
        }
        self.branch_messages().sort_messages(id)
    }

    /// Who was in the group where we came in on the branch that is followed, as far as that state can still be read.
    fn known_from_the_first(&self, id: &GroupId, nodes: &[NodeRow]) -> Result<Vec<PublicKey>> {
        let began = nodes.iter().find(|n| n.canonical && n.parent.is_none() && !n.removed);
        let known = began.map(|began| self.look_of(id, began)).transpose()?.flatten();
        Ok(known.map(|(_, accounts)| accounts).unwrap_or_default())
    }
}
