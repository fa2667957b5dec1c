//! Branches that put-out accounts have led on, beside a branch that put them out. A member who came first to the latter
//! can never choose them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use mdk_store::{NodeRow, WitnessRow};
use mdk_wire::PublicKey;

use crate::fork_choice::branch_order::POLICY;
use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::model::settings::Settings;
use crate::model::state_id::Auth;

// rule: D8-6 who gets a removal that is out of reach, and at once what the removed one made instead, stays with the removal
/// Tips that do not count beside another one. That other tip has left them by more commits than any choice goes back.
/// It has put out those who made them, and nobody else has led them as far.
///
/// A member who came first to the longer one has settled it, and the protocol forbids to leave it then. A member who
/// gets both in one pass may take them in either order. This is the order in which the removal came first, and the
/// removed one can make no other. If two branches have put each other's makers out, the one on which somebody else was
/// heard counts. If that tells them not apart, the order of branches decides, as it always does.
///
/// `look` reads the members of a state. It is asked only for branches that left another one so far behind.
pub(crate) fn of_the_put_out(
    tree: &Tree<'_>,
    witnesses: &[WitnessRow],
    base: u64,
    look: impl Fn(&NodeRow) -> Result<Option<(Settings, Vec<PublicKey>)>>,
) -> Result<BTreeSet<usize>> {
    let nodes = tree.nodes;
    let tips = tree.eligible(base, &POLICY);
    let mut signs: BTreeMap<(usize, usize), Sign> = BTreeMap::new();
    for &tip in &tips {
        let path = tree.path(tip);
        for &rival in tips.iter().filter(|rival| **rival != tip) {
            let shared: BTreeSet<usize> = tree.path(rival).into_iter().collect();
            let Some(&fork) = path.iter().find(|place| shared.contains(place)) else { continue };
            if nodes[tip].epoch - nodes[fork].epoch <= POLICY.max_rewind_commits {
                continue;
            }
            let (Some(from), Some(to)) = (look(&nodes[fork])?, look(&nodes[tip])?) else {
                continue;
            };
            let is_out = |who: &PublicKey| is_put_out(who, &from, &to);
            if let Some(sign) = sign_against(tree, rival, fork, witnesses, is_out) {
                signs.insert((tip, rival), sign);
            }
        }
    }
    let stronger = |((tip, rival), sign): &(&(usize, usize), &Sign)| {
        signs.get(&(*rival, *tip)).is_none_or(|back| *sign > back)
    };
    Ok(signs.iter().filter(stronger).map(|((_, rival), _)| *rival).collect())
}

/// A sign against a branch beside one that has put makers of it out, the weaker sign first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// Others were heard on it, who may still leave it.
    OthersMayLeave,
    /// Nobody else was heard on it.
    NobodyElse,
}

/// Whether somebody was a member, or an admin, in the first of two states and is not in the second.
fn is_put_out(
    who: &PublicKey,
    (was, members): &(Settings, Vec<PublicKey>),
    (is, left): &(Settings, Vec<PublicKey>),
) -> bool {
    members.contains(who) && !left.contains(who)
        || was.admins.contains(who) && !is.admins.contains(who)
}

/// The sign against a branch since a state of it. There is none where nobody was put out who has committed there, where
/// another account has committed farther than a choice goes back, or where a committer is not known.
///
/// A member commits when nothing is left to choose, so whoever has committed so far cannot leave. A word binds nobody:
/// it may be said while the choice is open.
fn sign_against(
    tree: &Tree<'_>,
    tip: usize,
    since: usize,
    witnesses: &[WitnessRow],
    is_out: impl Fn(&PublicKey) -> bool,
) -> Option<Sign> {
    let nodes = tree.nodes;
    let path = tree.path(tip);
    let path: Vec<&NodeRow> =
        path.iter().take_while(|place| **place != since).map(|place| &nodes[*place]).collect();
    let reach = nodes[since].epoch.saturating_add(POLICY.max_rewind_commits);
    let made: Option<Vec<(u64, PublicKey)>> =
        path.iter().map(|node| Some((node.epoch, node.committer?))).collect();
    let (out, others): (Vec<_>, Vec<_>) = made?.into_iter().partition(|(_, who)| is_out(who));
    if out.is_empty() || others.iter().any(|(epoch, _)| *epoch > reach) {
        return None;
    }
    let states: BTreeSet<Auth> = path.iter().map(|node| node.authenticator).collect();
    let mut spoke = witnesses.iter().filter(|w| states.contains(&w.authenticator));
    let alone = others.is_empty() && spoke.all(|w| is_out(&w.sender));
    Some(if alone { Sign::NobodyElse } else { Sign::OthersMayLeave })
}

#[cfg(test)]
mod tests {
    use mdk_wire::NostrGroupId;

    use super::*;
    use crate::fork_choice::state_tree::tests::{account, node, said};

    /// Account 1 has removed account 2 and sealed that: states 11 to 16, one for each epoch. Account 2 has made states
    /// 21 to 28 beside them, but for those named here, which account 3 has made. `struck` says that account 2 has
    /// removed account 1.
    fn beaten(by_another: &[u8], struck: bool, words: &[WitnessRow]) -> BTreeSet<usize> {
        let mut nodes = vec![node(9, 10, 0, true)];
        let line = |from: u8, count: u8| (0..count).map(move |at| (from + at, at));
        let made = |(name, at): (u8, u8), by| {
            let parent = if at == 0 { 9 } else { name - 1 };
            let state = node(name, 11 + u64::from(at), parent, false);
            NodeRow { committer: Some(account(by)), ..state }
        };
        nodes.extend(line(11, 6).map(|state| made(state, 1)));
        let maker = |name| if by_another.contains(&name) { 3 } else { 2 };
        nodes.extend(line(21, 8).map(|state| made(state, maker(state.0))));
        let look = |node: &NodeRow| {
            let out = match node.authenticator[0] {
                11..=16 => Some(account(2)),
                21.. if struck => Some(account(1)),
                _ => None,
            };
            let members = (1..=3).map(account).filter(|who| Some(*who) != out).collect();
            let id = NostrGroupId::from_bytes([0; 32]);
            let settings = Settings::founding(String::new(), String::new(), [], id, [], 0);
            Ok(Some((settings, members)))
        };
        of_the_put_out(&Tree::new(&nodes), words, 10, look).expect("pure")
    }

    // shows: D8-6
    /// A branch of the removed account is beaten, whoever has spoken there. A commit of another account saves it, if it
    /// lies farther than a choice goes back.
    #[test]
    fn another_account_saves_a_branch_by_a_commit_that_it_cannot_leave() {
        let (his, none) = (BTreeSet::from([14]), BTreeSet::new());
        assert_eq!(beaten(&[], false, &[]), his);
        assert_eq!(beaten(&[], false, &[said(28, 18, 3)]), his);
        assert_eq!(beaten(&[25], false, &[]), his);
        assert_eq!(beaten(&[26], false, &[]), none);
        let all: Vec<u8> = (21..29).collect();
        assert_eq!(beaten(&all, false, &[]), none, "nobody was removed who has made it");
    }

    // shows: D8-6
    /// Two branches put each other's makers out. The one on which somebody else was heard beats the other.
    #[test]
    fn of_two_branches_that_put_each_other_out_the_one_with_another_voice_counts() {
        assert!(beaten(&[], true, &[]).is_empty());
        assert_eq!(beaten(&[], true, &[said(12, 12, 3)]), BTreeSet::from([14]));
        assert_eq!(beaten(&[], true, &[said(22, 12, 3)]), BTreeSet::from([6]));
        assert!(beaten(&[], true, &[said(12, 12, 3), said(22, 12, 3)]).is_empty());
    }
}
