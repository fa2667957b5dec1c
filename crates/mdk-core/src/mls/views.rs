//! MLS objects in the terms of the rules ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mdk_wire::PublicKey;
use mdk_wire::v2::components::ComponentList;
use mdk_wire::v2::{IdentityProof, component_id};
use openmls::group::{GroupContext, MlsGroup, QueuedProposal, StagedCommit};
use openmls::prelude::{
    AppDataUpdateOperation, ExtensionType, Extensions, LeafNode, LeafNodeIndex, Proposal,
    ProposalOrRefType, Sender,
};

use crate::mls::capabilities::account_of;
use crate::model::outcome::{RejectCode, Rejection};
use crate::policy::{
    CommitView, GroupView, LeafView, ProofState, ProposalKind, ProposalView, TRANSITIONAL_PROOF,
    check_invariants,
};

#[cfg(test)]
pub(crate) const RULES: &[(&str, &str)] = &[
    ("2.3-v1", "a proof is listed and there; one without the other is invalid"),
    ("2.3-v2", "the transitional proof extension 0xF2F1 makes a leaf invalid"),
    (
        "B5-v1",
        "leaves of a result: without removed ones, replaced ones replaced, added ones at the lowest free index",
    ),
    (
        "D4-8",
        "after the merge the leaves are those that were judged, and what holds in every epoch is looked at again",
    ),
];

/// Whether the identity proofs of leaves are verified: one Schnorr verification each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proofs {
    /// Verify.
    Verify,
    /// They were verified when the leaves entered the group.
    Trust,
}

/// A group whose leaves were judged when they entered.
pub(crate) fn view_of_group(group: &MlsGroup) -> GroupView {
    view_of(group, Proofs::Trust)
}

/// A group just made from a Welcome: every leaf's proof is verified.
///
/// It takes the made group because a `StagedWelcome` of OpenMLS 0.9 gives access to no leaf but the
/// sender's; the caller rolls back when the group is refused.
pub(crate) fn view_of_joined(group: &MlsGroup) -> GroupView {
    view_of(group, Proofs::Verify)
}

fn view_of(group: &MlsGroup, proofs: Proofs) -> GroupView {
    let leaves = group
        .treesync()
        .full_leaves()
        .map(|(index, leaf)| (index.u32(), Arc::new(leaf_view(leaf, proofs))))
        .collect();
    view_of_context(group.public_group().group_context(), leaves)
}

fn view_of_context(context: &GroupContext, leaves: BTreeMap<u32, Arc<LeafView>>) -> GroupView {
    let extensions = context.extensions();
    let dictionary = dictionary_of(extensions);
    let required = required_of(extensions);
    let (has_dictionary, has_required_capabilities) = (dictionary.is_some(), required.is_some());
    let [required_extensions, required_proposals, required_credentials] =
        required.unwrap_or_default();
    GroupView {
        leaves,
        components: dictionary.unwrap_or_default(),
        has_dictionary,
        has_required_capabilities,
        required_extensions,
        required_proposals,
        required_credentials,
        context_extensions: extensions.iter().map(|e| u16::from(e.extension_type())).collect(),
    }
}

/// Entries of the dictionary among GroupContext extensions.
pub(crate) fn dictionary_of(
    extensions: &Extensions<GroupContext>,
) -> Option<BTreeMap<u16, Vec<u8>>> {
    let dictionary = extensions.app_data_dictionary()?.dictionary();
    Some(dictionary.entries().map(|entry| (entry.id(), entry.data().to_vec())).collect())
}

/// Required extensions, proposals and credentials.
pub(crate) fn required_of(extensions: &Extensions<GroupContext>) -> Option<[BTreeSet<u16>; 3]> {
    let required = extensions.required_capabilities()?;
    Some([
        required.extension_types().iter().map(|id| u16::from(*id)).collect(),
        required.proposal_types().iter().map(|id| u16::from(*id)).collect(),
        required.credential_types().iter().map(|id| u16::from(*id)).collect(),
    ])
}

/// One leaf.
pub(crate) fn leaf_view(leaf: &LeafNode, proofs: Proofs) -> LeafView {
    let account = account_of(leaf.credential());
    let signature_key = leaf.signature_key().as_slice();
    let dictionary = leaf.extensions().app_data_dictionary().map(|e| e.dictionary());
    let entry = |id: u16| dictionary.and_then(|dictionary| dictionary.get(&id));
    let components: BTreeSet<u16> = entry(component_id::APP_COMPONENTS)
        .and_then(|data| ComponentList::decode(data).ok())
        .map(|list| list.0.into_iter().collect())
        .unwrap_or_default();
    let transitional = leaf.extensions().contains(ExtensionType::Unknown(TRANSITIONAL_PROOF));
    let listed = components.contains(&component_id::IDENTITY_PROOF);
    let proof = match (listed, entry(component_id::IDENTITY_PROOF)) {
        // rule: 2.3-v2
        _ if transitional => ProofState::Invalid,
        // rule: 2.3-v1
        (false, None) => ProofState::Missing,
        (true, Some(_)) if proofs == Proofs::Trust => ProofState::Valid,
        (true, Some(data)) => check_proof(data, account, signature_key),
        _ => ProofState::Invalid,
    };
    let capabilities = leaf.capabilities();
    LeafView {
        account,
        extensions: capabilities.extensions().iter().map(|id| u16::from(*id)).collect(),
        proposals: capabilities.proposals().iter().map(|id| u16::from(*id)).collect(),
        credentials: capabilities.credentials().iter().map(|id| u16::from(*id)).collect(),
        components,
        proof,
    }
}

fn check_proof(data: &[u8], account: Option<PublicKey>, signature_key: &[u8]) -> ProofState {
    let verified = account.is_some_and(|account| {
        IdentityProof::decode(data).is_ok_and(|proof| proof.verify(&account, signature_key).is_ok())
    });
    if verified { ProofState::Valid } else { ProofState::Invalid }
}

/// One proposal. New leaves are proven here.
pub(crate) fn proposal_view(proposal: &QueuedProposal) -> ProposalView {
    let kind = match proposal.proposal() {
        Proposal::Add(add) => {
            ProposalKind::Add(Arc::new(leaf_view(add.key_package().leaf_node(), Proofs::Verify)))
        }
        Proposal::Update(update) => {
            ProposalKind::Update(Arc::new(leaf_view(update.leaf_node(), Proofs::Verify)))
        }
        Proposal::Remove(remove) => ProposalKind::Remove(remove.removed().u32()),
        Proposal::SelfRemove => ProposalKind::SelfRemove,
        Proposal::AppDataUpdate(op) => ProposalKind::AppData {
            component: op.component_id(),
            update: match op.operation() {
                AppDataUpdateOperation::Update(data) => Some(data.as_slice().to_vec()),
                AppDataUpdateOperation::Remove => None,
            },
        },
        Proposal::GroupContextExtensions(change) => {
            ProposalKind::GroupContextExtensions { dictionary: dictionary_of(change.extensions()) }
        }
        Proposal::PreSharedKey(_) => ProposalKind::Psk,
        Proposal::ReInit(_) => ProposalKind::ReInit,
        Proposal::ExternalInit(_) => ProposalKind::ExternalInit,
        Proposal::AppEphemeral(_) => ProposalKind::AppEphemeral,
        Proposal::Custom(_) => ProposalKind::Custom,
    };
    ProposalView {
        sender: member(proposal.sender()),
        by_reference: proposal.proposal_or_ref_type() == ProposalOrRefType::Reference,
        kind,
    }
}

fn member(sender: &Sender) -> Option<u32> {
    match sender {
        Sender::Member(index) => Some(index.u32()),
        _ => None,
    }
}

/// A staged commit and the state it leads to. Leaves that do not change are shared with `parent`, and only
/// new ones are proven.
///
/// # Errors
/// D4-1a: the committer is not a member (an external commit).
pub(crate) fn view_of_staged(
    parent: &GroupView,
    group: &MlsGroup,
    committer: &Sender,
    staged: &StagedCommit,
) -> Result<(CommitView, GroupView), Rejection> {
    // rule: D4-1a
    let committer = member(committer).ok_or(Rejection::new(
        RejectCode::AuthorizationFailed,
        "D4-1a",
        "the committer is not a member",
    ))?;
    let path_leaf = staged.update_path_leaf_node().map(|leaf| {
        let known = is_proven(parent, group, committer, leaf);
        Arc::new(leaf_view(leaf, if known { Proofs::Trust } else { Proofs::Verify }))
    });
    let proposals = staged.queued_proposals().map(proposal_view).collect();
    let has_path = path_leaf.is_some();
    let commit = CommitView { committer, has_path, path_leaf, proposals };
    let result = view_of_context(staged.group_context(), result_leaves(parent, &commit));
    Ok((commit, result))
}

/// Whether the leaf that `leaf` replaces was proven with the very same account, key and proof: a path renews the
/// encryption key and as a rule nothing else.
fn is_proven(parent: &GroupView, group: &MlsGroup, index: u32, leaf: &LeafNode) -> bool {
    let proof = |leaf: &LeafNode| {
        let dictionary = leaf.extensions().app_data_dictionary()?.dictionary();
        Some(dictionary.get(&component_id::IDENTITY_PROOF)?.to_vec())
    };
    parent.leaves.get(&index).is_some_and(|old| old.proof == ProofState::Valid)
        && group.treesync().full_leaves().any(|(old_index, old)| {
            old_index.u32() == index
                && old.credential() == leaf.credential()
                && old.signature_key() == leaf.signature_key()
                && proof(old) == proof(leaf)
        })
}

// rule: D4-8
/// The state after a commit was merged that was to lead to `judged`: with the same leaves, and the invariants of every
/// epoch.
///
/// # Errors
/// The library has made a state of the commit that differs from the judged one.
pub(crate) fn view_of_merged(group: &MlsGroup, judged: &GroupView) -> Result<GroupView, Rejection> {
    // (an account that was lifted to the curve once is compared by its bytes)
    let as_judged = |(index, leaf): (LeafNodeIndex, &LeafNode)| {
        let account = judged.leaves.get(&index.u32())?.account?;
        (leaf.credential().serialized_content() == account.as_bytes()).then_some(())
    };
    let leaves: Option<Vec<()>> = group.treesync().full_leaves().map(as_judged).collect();
    if leaves.is_none_or(|leaves| leaves.len() != judged.leaves.len()) {
        let other = "a leaf of the merged state is not the one that was judged";
        return Err(Rejection::new(RejectCode::AuthorizationFailed, "D4-8", other));
    }
    let view = view_of_context(group.public_group().group_context(), judged.leaves.clone());
    check_invariants(&view)?;
    Ok(view)
}

/// Our own commit that waits to be published, if there is one.
pub(crate) fn view_of_pending(
    parent: &GroupView,
    group: &MlsGroup,
) -> Option<(CommitView, GroupView)> {
    let own = Sender::Member(group.own_leaf_index());
    view_of_staged(parent, group, &own, group.pending_commit()?).ok()
}

/// rule: B5-v1. The index of an added leaf is what MLS assigns (RFC 9420 12.1.1: the leftmost blank); the
/// rules themselves need distinct keys only.
fn result_leaves(parent: &GroupView, commit: &CommitView) -> BTreeMap<u32, Arc<LeafView>> {
    let mut leaves = parent.leaves.clone();
    for proposal in &commit.proposals {
        match (&proposal.kind, proposal.sender) {
            (ProposalKind::Remove(leaf), _) => {
                leaves.remove(leaf);
            }
            (ProposalKind::SelfRemove, Some(leaf)) => {
                leaves.remove(&leaf);
            }
            (ProposalKind::Update(new), Some(leaf)) => {
                leaves.insert(leaf, Arc::clone(new));
            }
            _ => {}
        }
    }
    if let Some(new) = &commit.path_leaf {
        leaves.insert(commit.committer, Arc::clone(new));
    }
    let mut free = 0;
    for proposal in &commit.proposals {
        if let ProposalKind::Add(leaf) = &proposal.kind {
            while leaves.contains_key(&free) {
                free += 1;
            }
            leaves.insert(free, Arc::clone(leaf));
        }
    }
    leaves
}
