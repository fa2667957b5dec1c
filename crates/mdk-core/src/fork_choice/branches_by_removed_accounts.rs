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

/// What speaks against a branch beside one that has put makers of it out, the weaker sign first.
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
