//! What differs between generations of the protocol (a group belongs to one for ever).
//!
//! A [`Profile`] owns the shape of leaves, KeyPackages and groups, the reading and writing of a group's settings
//! (the neutral [`Settings`]), and the translation of MLS objects into the terms of the rules
//! ([`crate::policy`]). There is one so far.

pub(crate) mod v2;

use std::collections::{BTreeMap, BTreeSet};

use mdk_wire::v2::IdentityProof;
use mdk_wire::{NostrGroupId, PublicKey, WireError};
use openmls::group::{
    AppDataUpdates, GroupContext, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    QueuedProposal, StagedCommit,
};
use openmls::prelude::{
    AppDataUpdateProposal, Capabilities, Ciphersuite, Credential, Extensions, KeyPackage, LeafNode,
    Sender,
};

use crate::config::Config;
use crate::error;
use crate::outcome::Rejection;
use crate::policy::{CommitView, GroupView, ProposalView};
pub(crate) use v2::V2;

pub(crate) use mdk_wire::v2::components::{Endpoint, Lifecycle};

/// One generation of the protocol.
pub(crate) trait Profile {
    /// Stored with each group.
    const ID: u8;
    /// The one ciphersuite.
    const CIPHERSUITE: Ciphersuite;

    /// What our leaves say they can do.
    fn leaf_capabilities() -> Capabilities;
    /// What our leaves carry; `proof` binds them to the account.
    fn leaf_extensions(proof: &IdentityProof) -> Result<Extensions<LeafNode>, WireError>;
    /// What our KeyPackages carry.
    fn key_package_extensions(last_resort: bool) -> Extensions<KeyPackage>;
    /// The GroupContext of a new group.
    fn group_context_extensions(settings: &Settings)
    -> Result<Extensions<GroupContext>, WireError>;
    /// The extensions of a GroupContext that requires more.
    fn context_requiring(
        context: &GroupContext,
        extensions: &BTreeSet<u16>,
        proposals: &BTreeSet<u16>,
    ) -> error::Result<Extensions<GroupContext>>;
    /// How OpenMLS is to run a group that is joined.
    fn join_config(config: &Config) -> MlsGroupJoinConfig;
    /// How OpenMLS is to run a group that is founded.
    fn create_config(
        config: &Config,
        leaf: Extensions<LeafNode>,
        context: Extensions<GroupContext>,
    ) -> error::Result<MlsGroupCreateConfig>;

    /// The account a credential stands for.
    fn account_of(credential: &Credential) -> Option<PublicKey>;
    /// The settings in a GroupContext.
    fn settings(context: &GroupContext) -> Result<Settings, Rejection>;
    /// Which settings differ, by the names of `GroupUpdated`.
    fn diff(before: &Settings, after: &Settings) -> BTreeSet<&'static str>;
    /// What the AppDataUpdate proposals of one commit make of the dictionary.
    fn component_updates<'a>(
        proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
    ) -> Result<Option<AppDataUpdates>, Rejection>;

    /// A group whose leaves were judged when they entered.
    fn view_of_group(group: &MlsGroup) -> GroupView;
    /// A group just made from a Welcome.
    fn view_of_joined(group: &MlsGroup) -> GroupView;
    /// A staged commit and the state it leads to.
    fn view_of_staged(
        parent: &GroupView,
        group: &MlsGroup,
        committer: &Sender,
        staged: &StagedCommit,
    ) -> Result<(CommitView, GroupView), Rejection>;
    /// A state after the commit was merged that was to lead to `judged`.
    fn view_of_merged(group: &MlsGroup, judged: &GroupView) -> Result<GroupView, Rejection>;
    /// Our own commit that waits to be published.
    fn view_of_pending(parent: &GroupView, group: &MlsGroup) -> Option<(CommitView, GroupView)>;
    /// One proposal.
    fn proposal_view(proposal: &QueuedProposal) -> ProposalView;
}

/// A group's settings, whatever form they have on the wire.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Sorted by bytes.
    pub(crate) admins: Vec<PublicKey>,
    /// Released peers join groups without routing, so it may be missing; nothing can be sent there.
    pub(crate) nostr_group_id: Option<NostrGroupId>,
    /// Sorted by bytes.
    pub(crate) relays: Vec<String>,
    /// Seconds; 0 keeps messages for ever.
    pub(crate) retention: u64,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) has_image: bool,
    /// Where files of a group that is yet to be founded go, if its founder says so; what a group says is in `components`.
    pub(crate) media: Vec<Endpoint>,
    /// The entries these were read from, raw; empty for a group that is yet to be founded.
    pub(crate) components: BTreeMap<u16, Vec<u8>>,
    /// Required extensions, proposals and credentials.
    pub(crate) required: [BTreeSet<u16>; 3],
}

impl Settings {
    /// What a new group starts with. `admins` and `relays` need not be sorted.
    pub(crate) fn founding(
        name: String,
        description: String,
        admins: impl IntoIterator<Item = PublicKey>,
        nostr_group_id: NostrGroupId,
        relays: impl IntoIterator<Item = String>,
        retention: u64,
    ) -> Self {
        let admins: BTreeSet<PublicKey> = admins.into_iter().collect();
        let relays: BTreeSet<String> = relays.into_iter().collect();
        Self {
            name,
            description,
            admins: admins.into_iter().collect(),
            nostr_group_id: Some(nostr_group_id),
            relays: relays.into_iter().collect(),
            retention,
            lifecycle: Lifecycle::Active,
            has_image: false,
            media: Vec::new(),
            components: BTreeMap::new(),
            required: Default::default(),
        }
    }
}
