//! The choice among the branches of a group.

use mdk_store::NodeRow;
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::state_store::retained_states::fork_history;

impl Ctx<'_, '_> {
    /// Compares the branches and goes to the winner.
    pub(crate) fn decide(&mut self, id: &GroupId, base: u64) -> Result<()> {
        self.lead_on(id)?;
        let nodes = self.tx.nodes(id)?;
        let tree = Tree::new(&nodes);
        let history = nodes.iter().filter(|n| !n.canonical).map(|n| n.history).min();
        let witnesses = self.tx.witnesses(id, history.unwrap_or(0).min(fork_history(&nodes)))?;
        // A state that cannot be made again leads nowhere, either.
        let mut lost = self.of_one_word(id, &nodes, &witnesses)?;
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
        self.sort_messages(id)
    }

    /// Where a removal goes that came before the state that brought us back, that state is where we began.
    pub(crate) fn begin_anew(&self, id: &GroupId, floor: u64) -> Result<()> {
        let nodes = self.tx.nodes(id)?;
        let goes = |auth| {
            nodes.iter().any(|n| n.removed && n.epoch < floor && Some(n.authenticator) == auth)
        };
        for node in nodes.iter().filter(|n| n.epoch >= floor && goes(n.parent)) {
            self.tx.put_node(&NodeRow { parent: None, ..node.clone() })?;
        }
        Ok(())
    }
}
