//! Commits (protocol/commits.md D4): eight steps, in the document's order.

use std::collections::{BTreeMap, BTreeSet};

use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{AdminPolicy, Lifecycle};

use crate::model::outcome::Rejection;
use crate::policy::invariants::{Requirements, check_invariants, decode_admins};
use crate::policy::proposal::{
    check_dictionary_untouched, check_new_leaf, check_op, check_replaced_leaf, check_sender,
    is_admin,
};
use crate::policy::views::{CommitClass, CommitView, GroupView, LeafView, ProposalKind};
use crate::policy::{encoding, forbidden, undecodable};

#[cfg(test)]
pub(super) const RULES: &[(&str, &str)] = &[
    ("D4-2", "a non-admin commits only a self-update, or nothing but SelfRemove by reference"),
    ("D4-3a", "a commit carries no SelfRemove of an account that is an admin"),
    ("D4-3b", "the committer's own leaf stays"),
    ("D4-4", "every admin of the result has a leaf, also when 0x8003 did not change"),
    ("2.6-1", "removing an account's last leaf drops its admin key in the same commit"),
    ("D4-5a", "at most one operation per component in a commit, by value and by reference"),
    ("D4-5b", "GroupContextExtensions leaves the dictionary as it is"),
    ("D4-5c", "the resulting dictionary is the old one with the operations applied"),
    ("D4-5e", "no component is removed while the resulting list requires it"),
    ("D4-6a", "a disbanded group takes no commit"),
    ("D4-6b", "only an active lifecycle becomes disbanded"),
    ("D4-6c", "the lifecycle is not set to what it is"),
    (
        "D4-6d",
        "disbanding: by value, lifecycle 01, the committer sole admin, Remove of every other leaf, no more",
    ),
    ("D4-6e", "enabling the lifecycle: exactly 0x0001 and 0x800c=00, by value"),
    ("D4-7c", "an added leaf supports everything that the result requires"),
];

type Ops<'a> = BTreeMap<u16, Option<&'a [u8]>>;

/// Judges a commit against the state it builds on and the state it leads to.
///
/// `result` holds the leaves as protocol/welcomes.md B5 lists them: the parent's without those removed, the
/// replaced ones replaced, the added ones added.
pub(crate) fn judge_commit(
    parent: &GroupView,
    commit: &CommitView,
    result: &GroupView,
) -> Result<CommitClass, Rejection> {
    let admins = parent.admins();
    let admins = admins.as_ref();
    // 1
    for proposal in &commit.proposals {
        let sender = if proposal.by_reference { proposal.sender } else { Some(commit.committer) };
        check_sender(parent, admins, sender, proposal.by_reference, &proposal.kind)?;
    }
    // 2, rule: D4-2
    let mut class = classify(commit);
    if class.privileged && !is_admin(parent, admins, Some(commit.committer)) {
        return Err(forbidden("D4-2", "only an admin may commit this"));
    }
    // 3
    check_leaving(parent, admins, commit)?;
    // 4
    check_coupling(parent, admins, result)?;
    // 5
    let ops = operations(commit)?;
    check_components(parent, commit, &ops, result)?;
    // 6
    class.disband = check_lifecycle(parent, commit, &ops)?;
    // 7
    check_leaves(parent, commit, result)?;
    // 8
    check_invariants(result)?;
    Ok(class)
}

fn classify(commit: &CommitView) -> CommitClass {
    let self_update = commit.proposals.is_empty() && commit.has_path;
    let self_remove_only = !commit.proposals.is_empty()
        && commit
            .proposals
            .iter()
            .all(|p| p.by_reference && matches!(p.kind, ProposalKind::SelfRemove));
    let privileged = !self_update && !self_remove_only;
    CommitClass { privileged, self_update, self_remove_only, disband: false }
}

fn check_leaving(
    parent: &GroupView,
    admins: Option<&AdminPolicy>,
    commit: &CommitView,
) -> Result<(), Rejection> {
    for proposal in &commit.proposals {
        let leaving = match proposal.kind {
            ProposalKind::SelfRemove if proposal.by_reference => proposal.sender,
            ProposalKind::SelfRemove => Some(commit.committer),
            ProposalKind::Remove(leaf) => Some(leaf),
            _ => continue,
        };
        // rule: D4-3b
        if leaving == Some(commit.committer) {
            return Err(forbidden("D4-3b", "the committer's own leaf would go"));
        }
        // rule: D4-3a
        if matches!(proposal.kind, ProposalKind::SelfRemove) && is_admin(parent, admins, leaving) {
            return Err(forbidden("D4-3a", "SelfRemove of an admin"));
        }
    }
    Ok(())
}

fn check_coupling(
    parent: &GroupView,
    admins: Option<&AdminPolicy>,
    result: &GroupView,
) -> Result<(), Rejection> {
    let after = decode_admins(result)?;
    let accounts = result.accounts();
    let Some(lost) = after.admins.iter().find(|admin| !accounts.contains(admin)) else {
        return Ok(());
    };
    let was_admin = admins.is_some_and(|admins| admins.contains(lost));
    // rule: 2.6-1
    if was_admin && parent.accounts().contains(lost) {
        return Err(encoding("2.6-1", "an account is removed but stays an admin"));
    }
    // rule: D4-4
    Err(encoding("D4-4", "an admin has no leaf"))
}

/// All operations of the commit by component.
fn operations(commit: &CommitView) -> Result<Ops<'_>, Rejection> {
    let mut ops = Ops::new();
    for proposal in &commit.proposals {
        let ProposalKind::AppData { component, update } = &proposal.kind else { continue };
        // rule: D4-5a
        if ops.insert(*component, update.as_deref()).is_some() {
            return Err(duplicate_op());
        }
    }
    Ok(ops)
}

/// Also met by the profile: OpenMLS merges equal proposals before a view can count them.
pub(crate) const fn duplicate_op() -> Rejection {
    encoding("D4-5a", "two operations on one component")
}

fn check_components(
    parent: &GroupView,
    commit: &CommitView,
    ops: &Ops<'_>,
    result: &GroupView,
) -> Result<(), Rejection> {
    for proposal in &commit.proposals {
        if let ProposalKind::GroupContextExtensions { dictionary } = &proposal.kind {
            check_dictionary_untouched(parent, dictionary.as_ref())?;
        }
    }
    let required = result.required();
    let mut expected: BTreeMap<u16, &[u8]> =
        parent.components.iter().map(|(id, data)| (*id, data.as_slice())).collect();
    for (&component, &update) in ops {
        check_op(component, update)?;
        match update {
            Some(data) => {
                expected.insert(component, data);
            }
            // rule: D4-5e
            None if required.contains(component) => {
                return Err(encoding("D4-5e", "a removed component is still required"));
            }
            None => {
                expected.remove(&component);
            }
        }
    }
    // rule: D4-5c
    let same = expected.len() == result.components.len()
        && expected
            .iter()
            .zip(&result.components)
            .all(|(a, b)| (a.0, *a.1) == (b.0, b.1.as_slice()));
    if same {
        Ok(())
    } else {
        Err(encoding("D4-5c", "the dictionary does not follow from the operations"))
    }
}

/// Returns whether the commit disbands the group.
fn check_lifecycle(
    parent: &GroupView,
    commit: &CommitView,
    ops: &Ops<'_>,
) -> Result<bool, Rejection> {
    let before = parent.lifecycle();
    // rule: D4-6a
    if before == Some(Lifecycle::Disbanded) {
        return Err(forbidden("D4-6a", "the group is disbanded"));
    }
    let Some(Some(data)) = ops.get(&component_id::LIFECYCLE) else { return Ok(false) };
    let after = Lifecycle::decode(data).map_err(undecodable("D4-5f"))?;
    match (before, after) {
        (Some(_), Lifecycle::Disbanded) => {
            check_disband(parent, commit, ops)?;
            Ok(true)
        }
        // rule: D4-6c
        (Some(_), Lifecycle::Active) => Err(encoding("D4-6c", "the lifecycle is active already")),
        // rule: D4-6b
        (None, Lifecycle::Disbanded) => {
            Err(encoding("D4-6b", "a group without lifecycle can not be disbanded"))
        }
        (None, Lifecycle::Active) => check_enabling(commit, ops).map(|()| false),
    }
}

fn check_disband(parent: &GroupView, commit: &CommitView, ops: &Ops<'_>) -> Result<(), Rejection> {
    // rule: D4-6d
    const WRONG: Rejection = encoding("D4-6d", "not the exact shape of a disband");
    let mut removed = BTreeSet::new();
    for proposal in &commit.proposals {
        let fits = match proposal.kind {
            _ if proposal.by_reference => false,
            ProposalKind::Remove(leaf) => removed.insert(leaf),
            ProposalKind::AppData { component, .. } => {
                matches!(component, component_id::LIFECYCLE | component_id::ADMIN_POLICY)
            }
            _ => false,
        };
        if !fits {
            return Err(WRONG);
        }
    }
    let others = parent.leaves.keys().filter(|leaf| **leaf != commit.committer);
    let committer = parent.leaves.get(&commit.committer).and_then(|leaf| leaf.account);
    let sole = match ops.get(&component_id::ADMIN_POLICY) {
        Some(Some(data)) => AdminPolicy::decode(data).ok().map(|policy| policy.admins),
        _ => None,
    };
    let alone = committer.is_some() && sole == committer.map(|account| vec![account]);
    if alone && removed.iter().eq(others) { Ok(()) } else { Err(WRONG) }
}

fn check_enabling(commit: &CommitView, ops: &Ops<'_>) -> Result<(), Rejection> {
    // rule: D4-6e
    let exact = commit.proposals.len() == 2
        && commit.proposals.iter().all(|proposal| !proposal.by_reference)
        && ops.contains_key(&component_id::APP_COMPONENTS);
    if exact {
        Ok(())
    } else {
        Err(encoding("D4-6e", "not the exact shape of enabling the lifecycle"))
    }
}

fn check_leaves(
    parent: &GroupView,
    commit: &CommitView,
    result: &GroupView,
) -> Result<(), Rejection> {
    let requirements = Requirements::of(result);
    let leaf_of = |leaf: Option<u32>| -> Option<&LeafView> {
        leaf.and_then(|leaf| parent.leaves.get(&leaf)).map(|leaf| &**leaf)
    };
    for proposal in &commit.proposals {
        match &proposal.kind {
            ProposalKind::Add(leaf) => {
                check_new_leaf(leaf)?;
                // rule: D4-7c
                requirements.check("D4-7c", leaf)?;
            }
            ProposalKind::Update(leaf) => check_replaced_leaf(leaf_of(proposal.sender), leaf)?,
            _ => {}
        }
    }
    match &commit.path_leaf {
        Some(leaf) => check_replaced_leaf(leaf_of(Some(commit.committer)), leaf),
        None => Ok(()),
    }
}
