//! The plan to follow another branch: the changes that are withdrawn, and the group's row there. Pure.

use mdk_store::{GroupRow, NodeRow, PendingRow};
use mdk_wire::{ContentId, PublicKey};

use crate::fork_choice::branch_order::{POLICY, eligible};

/// The changes when another branch is followed, as far as the retained states tell.
pub(crate) struct SwitchPlan<'n> {
    /// States of the followed branch that are left.
    pub(crate) left: Vec<&'n NodeRow>,
    /// Commits that led to them. The Welcome that we came by is no change that could be withdrawn.
    pub(crate) withdrawn: Vec<ContentId>,
    /// The group's row with the facts that the tree has of it.
    pub(crate) row: GroupRow,
    /// Whether our membership rests on another invitation there.
    pub(crate) another_invitation: bool,
}

impl SwitchPlan<'_> {
    // rule: D8-10 who leaves a branch that a commit of its own has put out of reach of this one is told that others may be there
    /// A commit of ours on the branch that is left. Members who have settled it cannot come to the new branch, which begins
    /// with `lowest`. `pending` is a commit of ours that may have been published.
    pub(crate) fn left_behind(
        &self,
        lowest: &NodeRow,
        pending: Option<&PendingRow>,
        me: PublicKey,
    ) -> Option<ContentId> {
        lowest.parent?;
        let beyond = |epoch: u64| !eligible(lowest.epoch.saturating_sub(1), epoch, &POLICY);
        let made = |node: &&&NodeRow| node.committer == Some(me) && beyond(node.epoch);
        match pending.filter(|own| beyond(own.source_epoch.saturating_add(1))) {
            Some(own) => Some(own.digest),
            None => self.left.iter().find(made)?.commit,
        }
    }
}

/// Plans to follow another branch. `path` are its states above the followed one, the tip first; without any there is no plan.
pub(crate) fn plan_switch<'n>(
    old: &GroupRow,
    nodes: &'n [NodeRow],
    path: &[usize],
    me: PublicKey,
) -> Option<SwitchPlan<'n>> {
    let (tip, lowest) = (&nodes[*path.first()?], &nodes[*path.last()?]);
    // rule: E5-6 the commits of the followed branch since then are withdrawn, our own ones too
    // (if it comes from another invitation than the followed branch: all of that branch, where it began earlier, too)
    let invited = lowest.parent.is_none();
    let left: Vec<&NodeRow> =
        nodes.iter().filter(|n| n.canonical && (invited || n.epoch >= lowest.epoch)).collect();
    debug_assert!(left.iter().all(|n| Some(n.authenticator) != lowest.parent));
    let mut row = old.clone();
    // rule: B4-17 another invitation than the one that was answered is what our membership rests on now
    let invites = |node: &NodeRow| {
        let out = |n: &NodeRow| n.removed && Some(n.authenticator) == node.parent;
        !node.removed && node.parent.is_none_or(|_| nodes.iter().any(out))
    };
    let rests_on = path.iter().map(|node| &nodes[*node]).find(|node| invites(node));
    if let Some(invited) = rests_on {
        row.welcomer = invited.committer;
        // (the leaf is that of a KeyPackage again, B4-12)
        row.self_updated_at = 0;
    }
    let ours = |node: &&NodeRow| node.parent.is_some() && node.committer == Some(me);
    // Every commit of ours gives our leaf fresh keys: they are those of before again, or as on this branch.
    if left.iter().any(ours) {
        row.self_updated_at = 0;
    }
    if let Some(own) = path.iter().map(|node| &nodes[*node]).find(ours) {
        row.self_updated_at = row.self_updated_at.max(own.sent_at);
    }
    row.epoch = tip.epoch;
    row.authenticator = tip.authenticator;
    row.pass.switches = row.pass.switches.saturating_add(1);
    row.pass.contested = match row.pass.contested {
        0 => lowest.epoch,
        other => other.min(lowest.epoch),
    };
    let withdrawn = left.iter().filter(|n| n.parent.is_some()).filter_map(|n| n.commit).collect();
    Some(SwitchPlan { left, withdrawn, row, another_invitation: rests_on.is_some() })
}
