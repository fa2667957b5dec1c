//! Branches that whoever came first to another one can never choose, and that nobody but those whom it put out has made.

use std::collections::BTreeSet;

use mdk_store::{NodeRow, WitnessRow};
use mdk_wire::{GroupId, PublicKey};

use super::branch::{Auth, Tree};
use super::order::POLICY;
use crate::ctx::Ctx;
use crate::error::Result;

impl Ctx<'_, '_> {
    // rule: D8-6 who gets a removal that is out of reach, and at once what the removed one made instead, stays with the removal
    /// Tips that do not count beside another one: that one has left them by more commits than any choice goes back, and all
    /// that was done and said on them since was so by accounts that it removed or demoted.
    ///
    /// Whoever came first to the longer one has settled it, and the protocol forbids to leave it then. Who gets both in one
    /// pass may take them in either order: this is the order in which the removal came first, and the removed one can make
    /// no other. Where two branches have put each other's makers out the order of branches decides, as it always does.
    pub(super) fn of_the_put_out(
        &self,
        id: &GroupId,
        nodes: &[NodeRow],
        witnesses: &[WitnessRow],
        base: u64,
    ) -> Result<BTreeSet<usize>> {
        let tree = Tree::new(nodes);
        let tips = tree.eligible(base, &POLICY);
        let mut beaten: Vec<(usize, usize)> = Vec::new();
        for &tip in &tips {
            let path = tree.path(tip);
            for &rival in tips.iter().filter(|rival| **rival != tip) {
                let shared: BTreeSet<usize> = tree.path(rival).into_iter().collect();
                let Some(&fork) = path.iter().find(|place| shared.contains(place)) else {
                    continue;
                };
                let far = nodes[tip].epoch - nodes[fork].epoch > POLICY.max_rewind_commits;
                let Some(heard) = heard_on(nodes, &tree, rival, fork, witnesses) else { continue };
                if far && self.puts_out(id, &nodes[fork], &nodes[tip], &heard)? {
                    beaten.push((tip, rival));
                }
            }
        }
        let mutual = |(tip, rival): &(usize, usize)| beaten.contains(&(*rival, *tip));
        Ok(beaten.iter().filter(|pair| !mutual(pair)).map(|(_, rival)| *rival).collect())
    }

    /// Whether all of these were members, or admins, in the first of two states and are not in the second.
    fn puts_out(
        &self,
        id: &GroupId,
        from: &NodeRow,
        to: &NodeRow,
        who: &BTreeSet<PublicKey>,
    ) -> Result<bool> {
        let (Some((was, members)), Some((is, left))) =
            (self.look_of(id, from)?, self.look_of(id, to)?)
        else {
            return Ok(false);
        };
        let gone = |who: &PublicKey| {
            members.contains(who) && !left.contains(who)
                || was.admins.contains(who) && !is.admins.contains(who)
        };
        Ok(who.iter().all(gone))
    }
}

/// Who has committed or spoken on a branch since a state of it; `None` if that is not known of a commit.
fn heard_on(
    nodes: &[NodeRow],
    tree: &Tree<'_>,
    tip: usize,
    since: usize,
    witnesses: &[WitnessRow],
) -> Option<BTreeSet<PublicKey>> {
    let path = tree.path(tip);
    let path: Vec<&NodeRow> =
        path.iter().take_while(|place| **place != since).map(|place| &nodes[*place]).collect();
    let states: BTreeSet<Auth> = path.iter().map(|node| node.authenticator).collect();
    let spoke = witnesses.iter().filter(|w| states.contains(&w.authenticator)).map(|w| w.sender);
    let committed: Option<Vec<PublicKey>> = path.iter().map(|node| node.committer).collect();
    Some(committed?.into_iter().chain(spoke).collect())
}
