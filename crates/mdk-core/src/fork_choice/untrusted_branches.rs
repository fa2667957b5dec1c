//! Branches that we know of by nothing but the word of somebody whom our own has put out.

use std::collections::BTreeSet;

use mdk_store::{NodeRow, WitnessRow};
use mdk_wire::{GroupId, PublicKey};

use crate::ctx::Ctx;
use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::model::state_id::Auth;

impl Ctx<'_, '_> {
    // rule: B4-38 nobody is led by the word alone of one whom its branch has put out: somebody else was heard there
    /// Tips of branches that begin with a Welcome whose maker is no admin on ours (any more), and on which nobody else was
    /// heard who was there when we came in.
    ///
    /// Such a branch may be the one that all others follow (B4-37). It may also be a copy that its maker made for us alone, as
    /// long as he liked, to read what we say. What others have signed there, he could not make.
    pub(crate) fn of_one_word(
        &self,
        id: &GroupId,
        nodes: &[NodeRow],
        witnesses: &[WitnessRow],
    ) -> Result<BTreeSet<usize>> {
        let admins = self.current_row(id)?.admins;
        let tree = Tree::new(nodes);
        let mut tips = Vec::new();
        for tip in tree.leaves().into_iter().filter(|tip| !nodes[*tip].canonical) {
            let path = tree.path(tip);
            let root = path.last().map(|root| &nodes[*root]);
            let root = root.filter(|n| n.parent.is_none() && !n.canonical && !n.removed);
            if let Some(maker) = root.and_then(|root| root.committer)
                && !admins.contains(&maker)
            {
                tips.push((tip, path, maker));
            }
        }
        if tips.is_empty() {
            return Ok(BTreeSet::new());
        }
        let began = nodes.iter().find(|n| n.canonical && n.parent.is_none() && !n.removed);
        let known = began.map(|began| self.look_of(id, began)).transpose()?.flatten();
        let known: Vec<PublicKey> = known.map(|(_, accounts)| accounts).unwrap_or_default();
        let me = self.identity.account();
        tips.retain(|(_, path, maker)| {
            let counts = |who: &PublicKey| who != maker && *who != me && known.contains(who);
            let states: BTreeSet<Auth> = path.iter().map(|i| nodes[*i].authenticator).collect();
            let said =
                witnesses.iter().any(|w| states.contains(&w.authenticator) && counts(&w.sender));
            let committed = path.iter().rev().skip(1).filter_map(|i| nodes[*i].committer);
            !said && !committed.into_iter().any(|who| counts(&who))
        });
        Ok(tips.into_iter().map(|(tip, ..)| tip).collect())
    }
}
