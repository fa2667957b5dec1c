//! Branches that we know only by the word of an account that our own branch has put out. Pure.

use std::collections::BTreeSet;

use mdk_store::WitnessRow;
use mdk_wire::PublicKey;

use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::model::state_id::Auth;

// rule: B4-38 nobody is led by the word alone of one whom its branch has put out: somebody else was heard there
/// Tips of branches that begin with a Welcome whose maker is no admin on ours (any more), and on which no other member
/// was heard who was there when we came in.
///
/// Such a branch may be the one that all others follow (B4-37). It may also be a copy that its maker made for us alone,
/// as long as he liked, to read our messages. He could not make messages or commits that others have signed there.
///
/// `admins` are those of our branch; `known` gives who was there when we came in, and is asked only if there is such a branch.
pub(crate) fn of_one_word(
    tree: &Tree<'_>,
    witnesses: &[WitnessRow],
    me: PublicKey,
    admins: &[PublicKey],
    known: impl FnOnce() -> Result<Vec<PublicKey>>,
) -> Result<BTreeSet<usize>> {
    let nodes = tree.nodes;
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
    let known = known()?;
    tips.retain(|(_, path, maker)| {
        let counts = |who: &PublicKey| who != maker && *who != me && known.contains(who);
        let states: BTreeSet<Auth> = path.iter().map(|i| nodes[*i].authenticator).collect();
        let said = witnesses.iter().any(|w| states.contains(&w.authenticator) && counts(&w.sender));
        let committed = path.iter().rev().skip(1).filter_map(|i| nodes[*i].committer);
        !said && !committed.into_iter().any(|who| counts(&who))
    });
    Ok(tips.into_iter().map(|(tip, ..)| tip).collect())
}

#[cfg(test)]
mod tests {
    use mdk_store::NodeRow;

    use super::*;
    use crate::fork_choice::state_tree::tests::{account, node, said};

    // shows: B4-38
    /// A branch begins with a Welcome of an account that is no admin here. It counts when another member was heard
    /// there who was there when we came in. Its maker, our account and a stranger to that state cannot vouch for it.
    #[test]
    fn a_branch_needs_another_voice() {
        let nodes = [
            NodeRow { parent: None, ..node(1, 10, 0, true) },
            NodeRow { parent: None, ..node(2, 10, 0, false) },
            node(3, 11, 2, false),
        ];
        let tree = Tree::new(&nodes);
        let me = account(9);
        let tips = |witnesses: &[WitnessRow], admins: &[PublicKey], known: &[PublicKey]| {
            of_one_word(&tree, witnesses, me, admins, || Ok(known.to_vec())).expect("pure")
        };
        let known = [account(2), account(5), me];
        assert_eq!(tips(&[], &[], &known), BTreeSet::from([2]));
        assert_eq!(tips(&[], &[account(2)], &known), BTreeSet::new());
        for (voice, counts) in [(5, true), (2, false), (9, false), (6, false)] {
            let heard = tips(&[said(3, 11, voice)], &[], &known);
            assert_eq!(heard.is_empty(), counts, "{voice}");
        }
        // A committer there is heard as well.
        assert_eq!(tips(&[], &[], &[account(3)]), BTreeSet::new());
    }

    /// The members of that state are not asked for without such a branch.
    #[test]
    fn what_costs_is_asked_only_when_it_decides() {
        let nodes = [node(1, 10, 0, true), node(2, 11, 1, false)];
        let asked = || -> Result<Vec<PublicKey>> { unreachable!("it decides nothing") };
        let tips = of_one_word(&Tree::new(&nodes), &[], account(9), &[], asked).expect("pure");
        assert!(tips.is_empty());
    }
}
