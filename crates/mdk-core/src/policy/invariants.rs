//! The invariants of every epoch (protocol/welcomes.md B5), and a joiner's checks besides (B4).
//!
//! `judge_welcome` looks at the group that a Welcome has made. What becomes of the invite beside what we know of the
//! group is `judge_invite` in `invite.rs`.

use std::collections::BTreeSet;

use mdk_wire::v2::components::{
    AdminPolicy, AgentStream, ComponentList, ROLE_FANOUT, ROLE_RECEIVE, ROLE_SEND,
    allowed_in_group_context, check_application_owned,
};
use mdk_wire::v2::{component_id, decode_known};

use crate::model::outcome::Rejection;
use crate::policy::views::{GroupView, LeafView, ProofState};
use crate::policy::{encoding, forbidden, signature, undecodable, unsupported};

#[cfg(test)]
pub(super) const RULES: &[(&str, &str)] = &[
    ("B4-7", "in a Welcome every leaf has a valid credential and account identity proof"),
    ("B4-9", "the signer of a Welcome is an admin of the joined group"),
    ("B5-1a", "RequiredCapabilities is present"),
    ("B5-1b", "extension 0x0006 is required"),
    ("B5-1c", "proposal 0x0008 is required"),
    ("B5-2a", "the dictionary is present"),
    ("B5-2b", "the group requires 0x8009"),
    ("B5-2c", "the group requires 0x8003"),
    ("B5-3a", "0x8009 has no entry in the GroupContext"),
    ("B5-3b", "0x8008 is neither there nor required"),
    ("B5-3c", "0x0002 and 0x0004 have no entry in the GroupContext (as released peers have it)"),
    ("B5-4a", "the admin list is there and canonical: sorted, unique, not empty"),
    ("B5-4b", "every admin has a leaf"),
    ("B5-5a", "every known component decodes exactly"),
    ("B5-5b", "every required component is known"),
    ("B5-5c", "every required component except 0x8009 has state"),
    ("B5-5d", "application-owned components keep their limits"),
    ("B5-6a", "every leaf supports the required extensions, proposals and credentials"),
    ("B5-6b", "every leaf lists every required component"),
    ("B5-6c", "every leaf has the roles that 0x8006 requires"),
    ("B5-7", "no part of another generation of the protocol: 0xF2EE, 0xF2F1"),
];

/// GroupContext extension of the first generation.
const V1_GROUP_DATA: u16 = 0xF2EE;
/// Identity proof of the transitional generation.
pub(crate) const TRANSITIONAL_PROOF: u16 = 0xF2F1;
const APP_DATA_DICTIONARY: u16 = 0x0006;
const APP_DATA_UPDATE: u16 = 0x0008;
/// RFC 9420 17.3 and 17.4: types of the base protocol need no capability.
const LAST_DEFAULT_EXTENSION: u16 = 0x0005;
const LAST_DEFAULT_PROPOSAL: u16 = 0x0007;
/// Role bit and the extension type that announces it.
const ROLES: [(u8, u16); 3] = [(ROLE_RECEIVE, 0xF2D1), (ROLE_SEND, 0xF2D2), (ROLE_FANOUT, 0xF2D4)];

/// Checks a joined group: the leaves' identities, the invariants, and that `signer` may invite.
///
/// OpenMLS shows no leaf extensions before the group is made, so this runs on the made group, inside the
/// transaction that is rolled back on a refusal.
pub(crate) fn judge_welcome(group: &GroupView, signer: u32) -> Result<(), Rejection> {
    // rule: B4-7
    for leaf in group.leaves.values() {
        if leaf.account.is_none() || leaf.proof != ProofState::Valid {
            return Err(signature("B4-7", "a leaf has no valid account identity proof"));
        }
    }
    check_invariants(group)?;
    // rule: B4-9
    let admins = group.admins();
    let signer = group.leaves.get(&signer).and_then(|leaf| leaf.account);
    match admins.zip(signer) {
        Some((admins, signer)) if admins.contains(&signer) => Ok(()),
        _ => Err(forbidden("B4-9", "the signer of the Welcome is not an admin")),
    }
}

/// Checks the invariants of every epoch: founded, joined, staged, merged ones, and the one that another branch leads
/// to.
///
/// The proofs of leaves are not looked at: they are checked where a leaf enters (D4-7, B4-7).
pub(crate) fn check_invariants(group: &GroupView) -> Result<(), Rejection> {
    check_generation(group)?;
    check_required_capabilities(group)?;
    check_required_components(group)?;
    for &component in group.components.keys() {
        check_place(component)?;
    }
    check_admins(group)?;
    check_state(group)?;
    let requirements = Requirements::of(group);
    group.leaves.values().try_for_each(|leaf| requirements.check("B5-6", leaf))
}

fn check_generation(group: &GroupView) -> Result<(), Rejection> {
    // rule: B5-7
    let foreign = [V1_GROUP_DATA, TRANSITIONAL_PROOF]
        .iter()
        .any(|id| group.context_extensions.contains(id) || group.required_extensions.contains(id));
    if foreign { Err(encoding("B5-7", "an extension of another generation")) } else { Ok(()) }
}

fn check_required_capabilities(group: &GroupView) -> Result<(), Rejection> {
    // rule: B5-1a
    if !group.has_required_capabilities {
        return Err(encoding("B5-1a", "RequiredCapabilities is missing"));
    }
    // rule: B5-1b
    if !group.required_extensions.contains(&APP_DATA_DICTIONARY) {
        return Err(encoding("B5-1b", "extension 0x0006 is not required"));
    }
    // rule: B5-1c
    if !group.required_proposals.contains(&APP_DATA_UPDATE) {
        return Err(encoding("B5-1c", "proposal 0x0008 is not required"));
    }
    Ok(())
}

fn check_required_components(group: &GroupView) -> Result<(), Rejection> {
    // rule: B5-2a
    if !group.has_dictionary {
        return Err(encoding("B5-2a", "the dictionary is missing"));
    }
    let required = match group.components.get(&component_id::APP_COMPONENTS) {
        Some(data) => ComponentList::decode(data).map_err(undecodable("B5-5a"))?,
        None => ComponentList::default(),
    };
    // rule: B5-2b. A group that does not ask for proofs binds no identity; released peers call it a bad signature.
    if !required.contains(component_id::IDENTITY_PROOF) {
        return Err(signature("B5-2b", "the identity proof is not required"));
    }
    // rule: B5-2c
    if !required.contains(component_id::ADMIN_POLICY) {
        return Err(encoding("B5-2c", "the admin policy is not required"));
    }
    // rule: B5-3b
    if required.contains(component_id::MEDIA_V1) {
        return Err(encoding("B5-3b", "the frozen component 0x8008 is required"));
    }
    for &component in &required.0 {
        // rule: B5-5b. Released peers say invalid_encoding; the document names the category used here.
        if decode_known(component, &[]).is_none() {
            return Err(unsupported("B5-5b", "an unknown component is required"));
        }
        // rule: B5-5c
        if component != component_id::IDENTITY_PROOF && !group.components.contains_key(&component) {
            // A missing admin policy is told by B5-4a, which names the missing part.
            if component != component_id::ADMIN_POLICY {
                return Err(encoding("B5-5c", "a required component has no state"));
            }
        }
    }
    Ok(())
}

/// Whether a component may stand in the GroupContext at all.
pub(super) fn check_place(component: u16) -> Result<(), Rejection> {
    match component {
        // rule: B5-3a
        component_id::IDENTITY_PROOF => {
            Err(encoding("B5-3a", "an identity proof in the GroupContext"))
        }
        // rule: B5-3b
        component_id::MEDIA_V1 => Err(encoding("B5-3b", "the frozen component 0x8008")),
        // rule: B5-3c
        id if !allowed_in_group_context(id) => {
            Err(encoding("B5-3c", "a component that does not belong into the GroupContext"))
        }
        _ => Ok(()),
    }
}

pub(super) fn decode_admins(group: &GroupView) -> Result<AdminPolicy, Rejection> {
    // rule: B5-4a
    let data = group
        .components
        .get(&component_id::ADMIN_POLICY)
        .ok_or(encoding("B5-4a", "the admin policy is missing"))?;
    AdminPolicy::decode(data).map_err(undecodable("B5-4a"))
}

fn check_admins(group: &GroupView) -> Result<(), Rejection> {
    let admins = decode_admins(group)?;
    let accounts = group.accounts();
    // rule: B5-4b
    if admins.admins.iter().all(|admin| accounts.contains(admin)) {
        Ok(())
    } else {
        Err(encoding("B5-4b", "an admin has no leaf"))
    }
}

fn check_state(group: &GroupView) -> Result<(), Rejection> {
    // rule: B5-5a. Unknown ids are opaque.
    for (&component, data) in &group.components {
        decode_known(component, data).transpose().map_err(undecodable("B5-5a"))?;
    }
    // rule: B5-5d
    check_application_owned(group.components.iter().map(|(id, data)| (*id, data.as_slice())))
        .map_err(|_| encoding("B5-5d", "application-owned components exceed their limits"))
}

/// The requirements of a group on each leaf.
pub(crate) struct Requirements<'a> {
    group: &'a GroupView,
    components: BTreeSet<u16>,
    roles: u8,
}

impl<'a> Requirements<'a> {
    pub(crate) fn of(group: &'a GroupView) -> Self {
        let mut components: BTreeSet<u16> = group.required().0.into_iter().collect();
        // A leaf that has a list understands the list; released peers do not insist that it names itself.
        components.remove(&component_id::APP_COMPONENTS);
        let roles = group
            .components
            .get(&component_id::AGENT_STREAM)
            .and_then(|data| AgentStream::decode(data).ok())
            .map_or(0, |policy| policy.required_roles);
        Self { group, components, roles }
    }

    /// Whether `leaf` has it all. `rule` is `B5-6` (told apart as B5-6a to B5-6c), or the id of another table.
    pub(crate) fn check(&self, rule: &'static str, leaf: &LeafView) -> Result<(), Rejection> {
        let pick = |own: &'static str| if rule == "B5-6" { own } else { rule };
        // rule: B5-6a
        let group = self.group;
        let capable = group
            .required_extensions
            .iter()
            .all(|id| *id <= LAST_DEFAULT_EXTENSION || leaf.extensions.contains(id))
            && group
                .required_proposals
                .iter()
                .all(|id| *id <= LAST_DEFAULT_PROPOSAL || leaf.proposals.contains(id))
            && group.required_credentials.is_subset(&leaf.credentials);
        if !capable {
            return Err(unsupported(pick("B5-6a"), "a leaf lacks a required capability"));
        }
        // rule: B5-6b
        if !self.components.is_subset(&leaf.components) {
            return Err(unsupported(pick("B5-6b"), "a leaf lacks a required component"));
        }
        // rule: B5-6c
        let lacks = |(bit, id): &(u8, u16)| self.roles & bit != 0 && !leaf.extensions.contains(id);
        if ROLES.iter().any(lacks) {
            return Err(unsupported(pick("B5-6c"), "a leaf lacks a required stream role"));
        }
        Ok(())
    }
}
