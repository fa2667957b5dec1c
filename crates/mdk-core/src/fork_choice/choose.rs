//! The best of several branches: a contest at each place where they part. Pure.

use std::collections::{BTreeMap, BTreeSet};

use mdk_store::WitnessRow;

use crate::fork_choice::branch_order;
use crate::fork_choice::branch_order::{POLICY, Rule};
use crate::fork_choice::state_tree::Tree;

/// The choice, and its reasons.
pub(crate) struct Choice {
    /// The tip to follow.
    pub(crate) winner: usize,
    /// The rule that decided.
    pub(crate) rule: Rule,
    /// Last epoch that the compared branches share.
    pub(crate) fork_epoch: u64,
    /// Whether the winner has a quorum of witnesses.
    pub(crate) quorum: bool,
    /// Its witness score.
    pub(crate) score: usize,
}

impl Tree<'_> {
    /// The choice among the eligible tips, without `lost` ones and those beyond their makers' shares; `None` when there is
    /// but one and it is followed already.
    pub(crate) fn choose(
        &self,
        base: u64,
        witnesses: &[WitnessRow],
        lost: &BTreeSet<usize>,
    ) -> Option<Choice> {
        let mut tips = self.eligible(base, &POLICY);
        tips.retain(|tip| !lost.contains(tip));
        let surplus = self.surplus();
        if tips.iter().any(|tip| !surplus.contains(tip)) {
            tips.retain(|tip| !surplus.contains(tip));
        }
        let choice = self.compare(&tips, witnesses)?;
        (tips.len() > 1 || !self.nodes[choice.winner].canonical).then_some(choice)
    }

    /// The best of some states by the order of branches, `None` of none.
    pub(crate) fn best(&self, among: &[usize], witnesses: &[WitnessRow]) -> Option<usize> {
        self.compare(among, witnesses).map(|choice| choice.winner)
    }

    /// The last epoch that some states share, by their paths from the oldest state on, all of which are the same before
    /// `shared`. Paths that share no state begin at states that we were invited to: they have parted before the lowest
    /// of those (rule: B4-17).
    fn parted(&self, paths: &[Vec<usize>], shared: usize) -> u64 {
        let epoch = |place: Option<&usize>| place.map(|place| self.nodes[*place].epoch);
        match shared.checked_sub(1).and_then(|last| epoch(paths.first()?.get(last))) {
            Some(epoch) => epoch,
            None => {
                let roots = paths.iter().filter_map(|path| epoch(path.first()));
                roots.min().unwrap_or(0).saturating_sub(1)
            }
        }
    }

    // rule: E4-6 branches are compared from where they part: of those that part later the better one stands for them
    /// The best of some states, which part after `shared` states of their paths.
    ///
    /// A branch is compared by the part that it has not in common with the other one. To count all of them from where
    /// the first one parted would let a branch that has lost long ago decide between two others: the part that these
    /// two have in common would count for each. Not every member knows that branch, or still has it.
    fn contest(
        &self,
        paths: &[Vec<usize>],
        mut shared: usize,
        witnesses: &[WitnessRow],
    ) -> Option<Choice> {
        let first = paths.first()?;
        if paths.len() == 1 {
            let winner = *first.last()?;
            let fork_epoch = self.nodes[winner].epoch;
            return Some(Choice { winner, rule: Rule::Alone, fork_epoch, quorum: false, score: 0 });
        }
        while first
            .get(shared)
            .is_some_and(|place| paths.iter().all(|p| p.get(shared) == Some(place)))
        {
            shared += 1;
        }
        let mut parts: BTreeMap<Option<usize>, Vec<Vec<usize>>> = BTreeMap::new();
        for path in paths {
            parts.entry(path.get(shared).copied()).or_default().push(path.clone());
        }
        let best: Vec<Choice> = parts
            .into_values()
            .filter_map(|paths| self.contest(&paths, shared + 1, witnesses))
            .collect();
        let fork_epoch = self.parted(paths, shared);
        let branches: Vec<_> =
            best.iter().map(|best| self.branch(best.winner, fork_epoch, witnesses)).collect();
        let (place, rule) = branch_order::choose(&branches, &POLICY)?;
        let (quorum, score) = branch_order::witnessed(&branches[place], &POLICY);
        let best = best.into_iter().nth(place)?;
        // The reported reason is the one by which the winner has won at last.
        Some(match best.rule {
            Rule::Alone => Choice { winner: best.winner, rule, fork_epoch, quorum, score },
            _ => best,
        })
    }

    /// The best of some states by the order of branches, and why; `None` of none.
    pub(crate) fn compare(&self, among: &[usize], witnesses: &[WitnessRow]) -> Option<Choice> {
        let from_the_oldest = |place: &usize| {
            let mut path = self.path(*place);
            path.reverse();
            path
        };
        let paths: Vec<Vec<usize>> = among.iter().map(from_the_oldest).collect();
        self.contest(&paths, 0, witnesses)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mdk_store::NodeRow;

    use crate::fork_choice::state_tree::tests::node;

    use super::*;
    use crate::fork_choice::state_tree::tests::said;

    // shows: E4-6
    /// Messages since two branches parted count between them. An earlier branch that lost changes nothing, retained or
    /// not, and neither does the epoch in which the choice began.
    #[test]
    fn branches_are_compared_from_where_they_part() {
        let mut nodes = vec![
            node(1, 10, 0, true),
            node(2, 11, 1, true),
            node(3, 12, 2, true),
            node(4, 13, 3, true),
            node(5, 13, 3, false),
            node(6, 14, 5, false),
        ];
        let witnesses = [said(2, 11, 1), said(2, 11, 2), said(4, 13, 1), said(4, 13, 2)];
        // Between two tips: one commit and a quorum of its own against two silent commits.
        let chosen = |nodes: &[NodeRow], base| {
            let choice =
                Tree::new(nodes).choose(base, &witnesses, &BTreeSet::new()).expect("some tips");
            (choice.winner, choice.rule, choice.fork_epoch)
        };
        assert_eq!(chosen(&nodes, 13), (3, Rule::Quorum, 12));
        // The quorum in epoch 11 speaks against the old loser, and for neither of the two that follow it.
        nodes.push(node(7, 11, 1, false));
        for base in [13, 16] {
            assert_eq!(chosen(&nodes, base), (3, Rule::Quorum, 12));
        }
        // The better one of two takes part in the older comparison, and may lose there.
        nodes.extend([node(8, 12, 7, false), node(9, 13, 8, false), node(10, 14, 9, false)]);
        nodes.push(node(11, 15, 10, false));
        assert_eq!(chosen(&nodes, 13), (10, Rule::EffectiveDepth, 10));
    }
}
