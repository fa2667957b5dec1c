//! Branches made by put-out accounts alone, beside a branch that put them out. A member who came first to the latter
//! can never choose them. Pure.

use std::collections::BTreeSet;

use mdk_store::{NodeRow, WitnessRow};
use mdk_wire::PublicKey;

use crate::fork_choice::branch_order::POLICY;
use crate::fork_choice::state_tree::Tree;
use crate::model::error::Result;
use crate::model::settings::Settings;
use crate::model::state_id::Auth;

// rule: D8-6 who gets a removal that is out of reach, and at once what the removed one made instead, stays with the removal
/// Tips that do not count beside another one. That other tip has left them by more commits than any choice goes back.
/// All commits and messages on them since are by accounts that it removed or demoted.
///
/// A member who came first to the longer one has settled it, and the protocol forbids to leave it then. A member who
/// gets both in one pass may take them in either order. This is the order in which the removal came first, and the
/// removed one can make no other. If two branches have put each other's makers out, the order of branches decides, as
/// it always does.
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
    let mut beaten: Vec<(usize, usize)> = Vec::new();
    for &tip in &tips {
        let path = tree.path(tip);
        for &rival in tips.iter().filter(|rival| **rival != tip) {
            let shared: BTreeSet<usize> = tree.path(rival).into_iter().collect();
            let Some(&fork) = path.iter().find(|place| shared.contains(place)) else { continue };
            if nodes[tip].epoch - nodes[fork].epoch <= POLICY.max_rewind_commits {
                continue;
            }
            let Some(heard) = heard_on(tree, rival, fork, witnesses) else { continue };
            if let (Some(from), Some(to)) = (look(&nodes[fork])?, look(&nodes[tip])?)
                && heard.iter().all(|who| is_put_out(who, &from, &to))
            {
                beaten.push((tip, rival));
            }
        }
    }
    let mutual = |(tip, rival): &(usize, usize)| beaten.contains(&(*rival, *tip));
    Ok(beaten.iter().filter(|pair| !mutual(pair)).map(|(_, rival)| *rival).collect())
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

/// The accounts that have committed or spoken on a branch since a state of it; `None` if that is not known of a commit.
fn heard_on(
    tree: &Tree<'_>,
    tip: usize,
    since: usize,
    witnesses: &[WitnessRow],
) -> Option<BTreeSet<PublicKey>> {
    let nodes = tree.nodes;
    let path = tree.path(tip);
    let path: Vec<&NodeRow> =
        path.iter().take_while(|place| **place != since).map(|place| &nodes[*place]).collect();
    let states: BTreeSet<Auth> = path.iter().map(|node| node.authenticator).collect();
    let spoke = witnesses.iter().filter(|w| states.contains(&w.authenticator)).map(|w| w.sender);
    let committed: Option<Vec<PublicKey>> = path.iter().map(|node| node.committer).collect();
    Some(committed?.into_iter().chain(spoke).collect())
}
