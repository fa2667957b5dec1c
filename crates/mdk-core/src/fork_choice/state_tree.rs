//! The tree of retained states, and which of its tips is to be followed. Pure: rows in, a choice out.

use std::collections::{BTreeSet, HashMap};

use mdk_store::{NodeRow, States, WitnessRow};
use mdk_wire::PublicKey;
use mdk_wire::budget::member::MAX_OF_ONE;

use crate::fork_choice::branch_order;
use crate::fork_choice::branch_order::{Branch, POLICY, Policy};
use crate::model::state_id::{Auth, removed_by};

/// The retained states of a group by their parents.
pub(crate) struct Tree<'a> {
    pub(crate) nodes: &'a [NodeRow],
    by_auth: HashMap<Auth, usize>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(nodes: &'a [NodeRow]) -> Self {
        let by_auth = nodes.iter().enumerate().map(|(i, n)| (n.authenticator, i)).collect();
        Self { nodes, by_auth }
    }

    pub(crate) fn find(&self, auth: &Auth) -> Option<usize> {
        self.by_auth.get(auth).copied()
    }

    fn parent(&self, node: usize) -> Option<usize> {
        self.find(self.nodes[node].parent.as_ref()?)
    }

    /// A state and everything below it, the state first.
    pub(crate) fn path(&self, node: usize) -> Vec<usize> {
        let mut path = vec![node];
        let mut at = node;
        while let Some(parent) = self.parent(at) {
            // Epochs fall strictly, even in a damaged row.
            if self.nodes[parent].epoch >= self.nodes[at].epoch {
                break;
            }
            path.push(parent);
            at = parent;
        }
        path
    }

    /// Epoch of the deepest state on the followed branch that a state descends from (itself, if it is followed).
    ///
    /// Two states that we were invited to have no parent that we know. Nobody is invited twice on one branch, so they
    /// are of two, which parted before the lower of them. (rule: B4-17)
    pub(crate) fn anchor(&self, node: usize) -> Option<u64> {
        let path = self.path(node);
        if let Some(&followed) = path.iter().find(|i| self.nodes[**i].canonical) {
            return Some(self.nodes[followed].epoch);
        }
        let invited = |node: &&NodeRow| node.parent.is_none();
        let lowest = path.last().map(|i| &self.nodes[*i]).filter(invited)?;
        let followed = self.nodes.iter().filter(|node| node.canonical).find(invited)?;
        Some(followed.epoch.min(lowest.epoch).saturating_sub(1))
    }

    /// States that no other one builds on.
    pub(crate) fn leaves(&self) -> Vec<usize> {
        let parents: BTreeSet<usize> =
            (0..self.nodes.len()).filter_map(|node| self.parent(node)).collect();
        (0..self.nodes.len()).filter(|node| !parents.contains(node)).collect()
    }

    /// The tips that may win when the choice began in epoch `base`: the followed one, and those that left it not
    /// too long ago and whose states are all there.
    pub(crate) fn eligible(&self, base: u64, policy: &Policy) -> Vec<usize> {
        let mut tips = self.leaves();
        tips.retain(|&tip| {
            !self.is_former(tip)
                && (self.nodes[tip].canonical
                    || self
                        .anchor(tip)
                        .is_some_and(|epoch| branch_order::eligible(epoch, base, policy)))
        });
        tips
    }

    /// Whether a tip is where we were taken out after an invitation to an earlier epoch than another one's. Such a tip
    /// is the membership before the other one as well as a branch beside it, and nothing could tell them apart where we
    /// are out. A member who was invited after all is not taken out by it. (rule: B4-17)
    fn is_former(&self, tip: usize) -> bool {
        let node = &self.nodes[tip];
        let out = node.commit.is_some_and(|commit| node.authenticator == removed_by(&commit));
        let lowest = self.path(tip).last().map(|i| &self.nodes[*i]);
        out && lowest.is_some_and(|lowest| {
            lowest.parent.is_none()
                && self.nodes.iter().any(|n| n.parent.is_none() && n.epoch > lowest.epoch)
        })
    }

    /// A tip as the order sees it.
    pub(crate) fn branch(
        &self,
        tip: usize,
        fork_epoch: u64,
        witnesses: &[WitnessRow],
    ) -> Branch<PublicKey> {
        let node = &self.nodes[tip];
        let states: BTreeSet<Auth> =
            self.path(tip).into_iter().map(|i| self.nodes[i].authenticator).collect();
        Branch {
            fork_epoch,
            tip_epoch: node.epoch,
            privileged: node.privileged,
            committer: node.committer.map(|k| k.as_bytes().to_vec()).unwrap_or_default(),
            digest: node.commit.map(|c| c.as_bytes().to_vec()).unwrap_or_default(),
            witnesses: witnesses
                .iter()
                .filter(|w| states.contains(&w.authenticator))
                .map(|w| (w.epoch, w.sender))
                .collect(),
        }
    }

    // rule: E3-5 of what one account made of one state the lowest digests count, whatever came first and was said there
    /// States beyond the share that an account has of the children of a state, with all that builds on them.
    ///
    /// A member who keeps to the protocol makes one commit of a state. Some states of a flood have to go, and every
    /// member lets go of the same ones. The order of arrival and the messages there do not decide: a member who has let
    /// go of a state before it was spoken in could not hear it.
    pub(crate) fn surplus(&self) -> BTreeSet<usize> {
        let mut makers: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, node) in self.nodes.iter().enumerate() {
            if node.commit.is_some() {
                makers.entry((node.parent, node.committer)).or_default().push(place);
            }
        }
        makers.retain(|_, made| made.len() > MAX_OF_ONE);
        let mut first = BTreeSet::new();
        for mut made in makers.into_values() {
            made.sort_by_key(|place| self.nodes[*place].commit);
            first.extend(made.split_off(MAX_OF_ONE));
        }
        if first.is_empty() {
            return first;
        }
        let beyond = |place: &usize| self.path(*place).iter().any(|below| first.contains(below));
        (0..self.nodes.len()).filter(beyond).collect()
    }

    // rule: E3-6 of too many rivals of all members together those go first of which one account has the most
    /// The tip to let go of when there are too many states beside the followed branch: the farthest one of the account
    /// that has the most states. A member who floods the group pushes out its own states, and not another's that may
    /// still grow.
    pub(crate) fn excess(&self) -> Option<usize> {
        let mut counts: HashMap<Option<PublicKey>, usize> = HashMap::new();
        for node in self.nodes.iter().filter(|n| !n.canonical) {
            *counts.entry(node.committer).or_default() += 1;
        }
        let tips = self.leaves().into_iter().filter(|tip| !self.nodes[*tip].canonical);
        tips.max_by_key(|tip| {
            let node = &self.nodes[*tip];
            (counts.get(&node.committer), node.committer, node.epoch, node.commit)
        })
    }

    /// Tips that are not followed, the best one first.
    pub(crate) fn rivals(&self, witnesses: &[WitnessRow]) -> Vec<usize> {
        let tips = self.leaves();
        let paths: Vec<_> = tips.iter().map(|tip| self.path(*tip)).collect();
        let roots = paths.iter().filter_map(|path| path.last()).map(|root| self.nodes[*root].epoch);
        let fork_epoch = roots.min().unwrap_or(0);
        let mut rivals: Vec<(usize, Branch<PublicKey>)> = tips
            .into_iter()
            .filter(|tip| !self.nodes[*tip].canonical)
            .map(|tip| (tip, self.branch(tip, fork_epoch, witnesses)))
            .collect();
        rivals.sort_by(|(_, a), (_, b)| branch_order::compare(b, a, &POLICY).0);
        rivals.into_iter().map(|(tip, _)| tip).collect()
    }
}

/// The epochs between a removal and the invitation after it on the branch that is followed, of which we have no state.
pub(crate) fn away(states: &States) -> Option<std::ops::Range<u64>> {
    let back = states.iter().filter(|n| n.canonical && !n.removed);
    let removals: Vec<&NodeRow> = states.iter().filter(|n| n.canonical && n.removed).collect();
    let out = |auth| removals.iter().find(|n| n.authenticator == auth);
    back.filter_map(|n| Some(out(n.parent?)?.epoch..n.epoch)).max_by_key(|away| away.end)
}

#[cfg(test)]
pub(crate) mod tests {
    use mdk_wire::{ContentId, GroupId, NostrGroupId, Secret, SecretVec};

    use super::*;
    use crate::fork_choice::branch_order::Rule;

    pub(crate) fn account(n: u8) -> PublicKey {
        let mut found = (0..=u8::MAX).filter_map(|x| PublicKey::from_bytes([x; 32]).ok());
        found.nth(usize::from(n)).expect("enough points")
    }

    /// States are named by one byte; the committer is of the same number.
    pub(crate) fn node(name: u8, epoch: u64, parent: u8, canonical: bool) -> NodeRow {
        NodeRow {
            group: GroupId::from_bytes(&[1; 16]).expect("16 bytes"),
            authenticator: [name; 32],
            epoch,
            parent: Some([parent; 32]),
            commit: Some(ContentId::from_bytes([name; 32])),
            committer: Some(account(name)),
            privileged: true,
            canonical,
            removed: false,
            history: 0,
            made_at: 0,
            sent_at: 0,
            event_key: Secret::new([name; 32]),
            nostr_group_id: NostrGroupId::from_bytes([0; 32]),
            relays: Vec::new(),
            retention: 0,
            state: SecretVec::new(Vec::new()),
        }
    }

    pub(crate) fn said(name: u8, epoch: u64, sender: u8) -> WitnessRow {
        WitnessRow { epoch, authenticator: [name; 32], sender: account(sender) }
    }

    // shows: B4-17
    /// Branches that we came to by one invitation each are compared as if they met before both.
    #[test]
    fn two_states_that_we_were_invited_to() {
        let mut nodes = vec![
            NodeRow { parent: None, ..node(3, 10, 0, true) },
            node(4, 11, 3, true),
            NodeRow { parent: None, ..node(2, 10, 0, false) },
            node(1, 11, 2, false),
        ];
        assert_eq!(Tree::new(&nodes).anchor(3), Some(9));
        let choice = Tree::new(&nodes).choose(10, &[], &BTreeSet::new()).expect("two tips");
        assert_eq!((choice.winner, choice.rule, choice.fork_epoch), (3, Rule::Committer, 9));
        // Messages in the followed one's first epoch count.
        let said = [said(3, 10, 4)];
        let choice = Tree::new(&nodes).choose(10, &said, &BTreeSet::new()).expect("two tips");
        assert_eq!((choice.winner, choice.rule), (1, Rule::WitnessScore));
        // A state whose parent is forgotten is none that we were invited to.
        nodes[0].parent = Some([9; 32]);
        assert_eq!(Tree::new(&nodes).anchor(3), None);
    }

    /// A rival of epoch 11 by account 1, on state 9; a low digest is a low name.
    fn of_one(name: u8) -> NodeRow {
        NodeRow { committer: Some(account(1)), ..node(name, 11, 9, false) }
    }

    // shows: E3-5
    /// An account has its share of the children of a state, by their digests. A state beyond the share takes no part in
    /// the choice, with all that builds on it, though it is followed and was spoken in.
    #[test]
    fn an_account_has_a_share_of_the_children_of_a_state() {
        let share = u8::try_from(MAX_OF_ONE).expect("few");
        let mut nodes = vec![node(99, 10, 0, true), node(98, 11, 99, false)];
        let child = |name| NodeRow { parent: Some([99; 32]), ..of_one(name) };
        nodes.extend((2..=share).map(child));
        nodes.push(NodeRow { canonical: true, ..child(90) });
        nodes.push(node(91, 12, 90, true));
        assert!(Tree::new(&nodes).surplus().is_empty());
        let said = [said(90, 11, 5), said(90, 11, 6)];
        let none = BTreeSet::new();
        let choice = Tree::new(&nodes).choose(12, &said, &none).expect("tips");
        assert_eq!(nodes[choice.winner].authenticator, [91; 32]);
        nodes.push(child(1));
        let beyond: Vec<u8> =
            Tree::new(&nodes).surplus().iter().map(|i| nodes[*i].authenticator[0]).collect();
        assert_eq!(beyond, [90, 91]);
        let choice = Tree::new(&nodes).choose(12, &said, &none).expect("tips");
        assert_ne!(nodes[choice.winner].authenticator, [91; 32]);
    }

    // shows: E3-6
    /// The account with most of the states loses one of them, though all of them are better than another's.
    #[test]
    fn who_has_the_most_states_loses_the_last_of_them() {
        let mut nodes = vec![node(9, 10, 0, true), node(8, 11, 9, true), node(7, 11, 9, false)];
        nodes.extend((1..4).map(of_one));
        assert_eq!(Tree::new(&nodes).excess(), Some(5));
        // A state that something builds on is no tip.
        nodes.push(node(6, 12, 3, false));
        assert_eq!(Tree::new(&nodes).excess(), Some(4));
        nodes.truncate(2);
        assert_eq!(Tree::new(&nodes).excess(), None);
    }

    /// Nothing is chosen where there is nothing to choose, and a branch whose states are not all there is none.
    #[test]
    fn what_takes_no_part() {
        let mut nodes = vec![node(1, 10, 0, true), node(2, 11, 1, true)];
        assert!(Tree::new(&nodes).choose(11, &[], &BTreeSet::new()).is_none());
        nodes.push(node(3, 12, 9, false));
        assert!(Tree::new(&nodes).choose(11, &[], &BTreeSet::new()).is_none());
        assert_eq!(Tree::new(&nodes).anchor(2), None);
        assert_eq!(Tree::new(&nodes).anchor(1), Some(11));
        // A state on the tip has no rival but is not followed yet.
        nodes.push(node(4, 12, 2, false));
        let choice = Tree::new(&nodes).choose(11, &[], &BTreeSet::new()).expect("one tip");
        assert_eq!((choice.winner, choice.rule), (3, Rule::Alone));
        // A row that names itself as its parent ends the walk.
        nodes.push(node(5, 12, 5, false));
        assert_eq!(Tree::new(&nodes).path(4), [4]);
    }
}
