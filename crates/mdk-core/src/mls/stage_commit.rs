//! A commit of ours, staged and judged as everybody else's.

use std::collections::BTreeSet;
use std::sync::Arc;

use mdk_wire::PublicKey;
use openmls::group::GroupContext;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    AppDataUpdateProposal, Extensions, LeafNodeIndex, MlsMessageBodyOut, Proposal,
};
use openmls_traits::OpenMlsProvider as _;

use crate::mls::key_packages::check::ValidKeyPackage;
use crate::mls::loaded_groups::{Judged, LoadedGroup};
use crate::mls::work::Work;
use crate::mls::{capabilities, parallel, settings, views};
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::outcome::{RejectCode, Rejection};
use crate::policy;
use crate::policy::{CommitView, GroupView, ProposalKind};

// rule: 2.6-3 everything but a self-update and the answer to a leave needs an admin
pub(crate) fn require_admin(call: Call<'_>, group: &LoadedGroup) -> Result<()> {
    if group.row.admins.contains(&call.me()) { Ok(()) } else { Err(Error::NotAdmin) }
}

/// The planned content of a commit of ours.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) adds: Vec<ValidKeyPackage>,
    pub(crate) removes: Vec<u32>,
    /// Component id and its full replacement, or `None` to remove it; one entry per component.
    pub(crate) components: Vec<(u16, Option<Vec<u8>>)>,
    /// The GroupContext's extensions, if its required capabilities change; the dictionary in them is the old one.
    pub(crate) context: Option<Extensions<GroupContext>>,
    /// Proposals in the OpenMLS store are committed by reference.
    pub(crate) by_reference: bool,
    /// Made by the engine itself: never blocks the group.
    pub(crate) automatic: bool,
    /// It ends the group.
    pub(crate) disbands: bool,
}

/// MLS output of a staged commit.
pub(crate) struct Staged {
    pub(crate) commit: Vec<u8>,
    pub(crate) welcome: Option<Vec<u8>>,
}

/// From so many members on the path of a commit is worth threads.
const MANY_MEMBERS: usize = 24;

/// Builds and stages the commit in OpenMLS, then judges it as a peer would (C1 steps 3 to 6).
pub(crate) fn stage_mls(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    plan: &Plan,
) -> Result<(Staged, Arc<GroupView>)> {
    let provider = work.provider();
    let large = group.mls.members().nth(MANY_MEMBERS - 1).is_some();
    let components = plan.components.iter().map(|(id, data)| {
        Proposal::AppDataUpdate(Box::new(match data {
            Some(data) => AppDataUpdateProposal::update(*id, data.clone()),
            None => AppDataUpdateProposal::remove(*id),
        }))
    });
    let mut builder = group
        .mls
        .commit_builder()
        .consume_proposal_store(plan.by_reference)
        .force_self_update(true)
        .propose_adds(plan.adds.iter().map(|kp| kp.key_package.clone()))
        .propose_removals(plan.removes.iter().map(|leaf| LeafNodeIndex::new(*leaf)));
    // rule: C1-2 the context before the components: the other order is invalid
    if let Some(context) = &plan.context {
        builder = builder
            .propose_group_context_extensions(context.clone())
            .map_err(Error::bug("proposing a GroupContext"))?;
    }
    let mut builder = builder
        .add_proposals(components)
        .load_psks(provider.storage())
        .map_err(Error::bug("loading PSKs"))?
        .create_group_info(false);
    let updates =
        settings::component_updates(builder.app_data_update_proposals()).map_err(own_fault)?;
    builder.with_app_data_dictionary_updates(updates);
    let (crypto, signer) = (work.crypto, &work.identity.signer);
    let build = || builder.build(crypto, crypto, signer, |_| true);
    let built = if large { parallel::on_all_cores(build) } else { build() };
    let bundle = built
        .map_err(|_| Error::NotAllowed("MLS refuses this commit"))?
        .stage_commit(&provider)
        .map_err(Error::bug("staging a commit"))?;
    if plan.by_reference {
        // The staged commit has its own copy. Left in the store, the proposals would stop every message.
        group.mls.clear_pending_proposals(provider.storage())?;
    }
    let commit =
        bundle.commit().tls_serialize_detached().map_err(Error::bug("serialising a commit"))?;
    let welcome = bundle
        .to_welcome_msg()
        .map(|w| w.tls_serialize_detached().map_err(Error::bug("serialising a Welcome")))
        .transpose()?;
    debug_assert!(matches!(bundle.commit().body(), MlsMessageBodyOut::PublicMessage(_)));
    let judged = judge_own(group)?;
    let result = judged.result.clone();
    group.judged = Some(judged);
    Ok((Staged { commit, welcome }, result))
}

/// The self-check: the validators of inbound commits, on our own.
pub(crate) fn judge_own(group: &mut LoadedGroup) -> Result<Judged> {
    let parent = group.view();
    let (commit, result) =
        views::view_of_pending(&parent, &group.mls).ok_or(Error::Internal("no pending commit"))?;
    let class = policy::judge_commit(&parent, &commit, &result).map_err(own_fault)?;
    Ok(Judged { commit, class, result: Arc::new(result) })
}

/// Accounts whose leaves a commit removes by their own wish.
pub(crate) fn self_removed(commit: &CommitView, group: &LoadedGroup) -> BTreeSet<PublicKey> {
    commit
        .proposals
        .iter()
        .filter(|p| matches!(p.kind, ProposalKind::SelfRemove))
        .filter_map(|p| p.sender)
        .filter_map(|leaf| group.mls.member(LeafNodeIndex::new(leaf)))
        .filter_map(capabilities::account_of)
        .collect()
}

/// A rule that our own commit would break is the caller's to mend.
fn own_fault(rejection: Rejection) -> Error {
    match (rejection.code, rejection.rule) {
        (RejectCode::AuthorizationFailed, _) => Error::NotAllowed(rejection.reason),
        (RejectCode::UnsupportedRequiredFeature, rule) => {
            Error::IncompatibleMember { reason: rejection.reason, rule, who: Vec::new() }
        }
        _ => Error::NotAllowed(rejection.reason),
    }
}
