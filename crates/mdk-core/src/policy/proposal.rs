//! The table of proposals (protocol/commits.md D4): the accounts that may make each.

use std::collections::BTreeMap;

use mdk_wire::v2::components::AdminPolicy;
use mdk_wire::v2::{component_id, decode_known};

use crate::model::outcome::Rejection;
use crate::policy::invariants::check_place;
use crate::policy::views::{GroupView, LeafView, ProofState, ProposalKind, ProposalView};
use crate::policy::{encoding, forbidden, signature, undecodable, unsupported};

#[cfg(test)]
pub(super) const RULES: &[(&str, &str)] = &[
    ("D4-1a", "a proposal comes from a member's leaf"),
    ("D4-1b", "Add, Remove, Update, GroupContextExtensions and AppDataUpdate come from an admin"),
    ("D4-1c", "the lifecycle is changed only by a proposal inside its commit"),
    ("D4-1d", "PSK, ReInit, ExternalInit, AppEphemeral and custom proposals are never valid"),
    ("2.7-1", "an admin steps down before leaving: no SelfRemove of an admin"),
    ("D4-5d", "0x0001, 0x8003 and 0x800c are never removed"),
    ("D4-5f", "the update of a known component decodes"),
    ("D4-7a", "an added leaf's credential is a basic one with an x-only key"),
    ("D4-7b", "an added leaf carries a valid account identity proof"),
    ("D4-7d", "an Update or path leaf keeps the account"),
    ("D4-7e", "an Update or path leaf carries a valid account identity proof"),
];

/// Judges a standalone proposal against the state of its own epoch.
pub(crate) fn judge_proposal(parent: &GroupView, proposal: &ProposalView) -> Result<(), Rejection> {
    let admins = parent.admins();
    check_sender(parent, admins.as_ref(), proposal.sender, proposal.by_reference, &proposal.kind)?;
    // rule: 2.7-1
    if matches!(proposal.kind, ProposalKind::SelfRemove)
        && is_admin(parent, admins.as_ref(), proposal.sender)
    {
        return Err(forbidden("2.7-1", "an admin must step down before leaving"));
    }
    check_content(parent, proposal.sender, &proposal.kind)
}

/// Whether the leaf belongs to an admin: a key in 0x8003 with at least one leaf (2.6).
pub(super) fn is_admin(
    parent: &GroupView,
    admins: Option<&AdminPolicy>,
    leaf: Option<u32>,
) -> bool {
    let account = leaf.and_then(|leaf| parent.leaves.get(&leaf)).and_then(|leaf| leaf.account);
    admins.zip(account).is_some_and(|(admins, account)| admins.contains(&account))
}

/// The table itself, except for SelfRemove of an admin, which has its own place in both callers.
pub(super) fn check_sender(
    parent: &GroupView,
    admins: Option<&AdminPolicy>,
    sender: Option<u32>,
    by_reference: bool,
    kind: &ProposalKind,
) -> Result<(), Rejection> {
    // rule: D4-1a
    if !sender.is_some_and(|leaf| parent.leaves.contains_key(&leaf)) {
        return Err(forbidden("D4-1a", "the sender of a proposal is not a member"));
    }
    match kind {
        ProposalKind::SelfRemove => return Ok(()),
        // rule: D4-1d
        ProposalKind::Psk
        | ProposalKind::ReInit
        | ProposalKind::ExternalInit
        | ProposalKind::AppEphemeral
        | ProposalKind::Custom => {
            return Err(unsupported("D4-1d", "this type of proposal is never valid"));
        }
        ProposalKind::Add(_)
        | ProposalKind::Remove(_)
        | ProposalKind::Update(_)
        | ProposalKind::AppData { .. }
        | ProposalKind::GroupContextExtensions { .. } => {}
    }
    // rule: D4-1b
    if !is_admin(parent, admins, sender) {
        return Err(forbidden("D4-1b", "only an admin may propose this"));
    }
    // rule: D4-1c
    if by_reference
        && matches!(kind, ProposalKind::AppData { component: component_id::LIFECYCLE, .. })
    {
        return Err(forbidden("D4-1c", "the lifecycle is changed by value only"));
    }
    Ok(())
}

/// Checks a proposal without the commit that will use it.
fn check_content(
    parent: &GroupView,
    sender: Option<u32>,
    kind: &ProposalKind,
) -> Result<(), Rejection> {
    match kind {
        ProposalKind::AppData { component, update } => check_op(*component, update.as_deref()),
        ProposalKind::GroupContextExtensions { dictionary } => {
            check_dictionary_untouched(parent, dictionary.as_ref())
        }
        ProposalKind::Add(leaf) => check_new_leaf(leaf),
        ProposalKind::Update(leaf) => {
            let old = sender.and_then(|leaf| parent.leaves.get(&leaf));
            check_replaced_leaf(old.map(|leaf| &**leaf), leaf)
        }
        _ => Ok(()),
    }
}

/// One operation on one component, by itself.
pub(super) fn check_op(component: u16, update: Option<&[u8]>) -> Result<(), Rejection> {
    let Some(data) = update else {
        // rule: D4-5d
        return match component {
            component_id::APP_COMPONENTS | component_id::ADMIN_POLICY | component_id::LIFECYCLE => {
                Err(encoding("D4-5d", "this component can not be removed"))
            }
            _ => Ok(()),
        };
    };
    check_place(component)?;
    // rule: D4-5f
    decode_known(component, data).transpose().map_err(undecodable("D4-5f")).map(|_| ())
}

/// OpenMLS compares only when AppDataUpdate is a required proposal; here it always counts.
pub(super) fn check_dictionary_untouched(
    parent: &GroupView,
    dictionary: Option<&BTreeMap<u16, Vec<u8>>>,
) -> Result<(), Rejection> {
    // rule: D4-5b
    let before = parent.has_dictionary.then_some(&parent.components);
    if dictionary == before {
        Ok(())
    } else {
        Err(encoding("D4-5b", "the dictionary is changed by GroupContextExtensions"))
    }
}

pub(super) fn check_new_leaf(leaf: &LeafView) -> Result<(), Rejection> {
    // rule: D4-7a
    if leaf.account.is_none() {
        return Err(encoding("D4-7a", "the credential of an added leaf is not an x-only key"));
    }
    // rule: D4-7b
    if leaf.proof != ProofState::Valid {
        return Err(signature("D4-7b", "an added leaf has no valid account identity proof"));
    }
    Ok(())
}

pub(super) fn check_replaced_leaf(old: Option<&LeafView>, new: &LeafView) -> Result<(), Rejection> {
    // rule: D4-7d
    if new.account.is_none() || new.account != old.and_then(|leaf| leaf.account) {
        return Err(forbidden("D4-7d", "a replaced leaf changes its account"));
    }
    // rule: D4-7e
    if new.proof != ProofState::Valid {
        return Err(signature("D4-7e", "a replaced leaf has no valid account identity proof"));
    }
    Ok(())
}
