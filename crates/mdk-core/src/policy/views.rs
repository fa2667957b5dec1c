//! The input of the rules: one state of a group, one commit, one proposal.
//!
//! None of these types has `Debug`: they hold accounts, URLs and names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mdk_wire::PublicKey;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{AdminPolicy, ComponentList, Lifecycle};

/// One epoch of a group.
#[derive(Clone)]
pub(crate) struct GroupView {
    /// By leaf index. Shared between a state and its successor, so that only new leaves are built and proven.
    pub(crate) leaves: BTreeMap<u32, Arc<LeafView>>,
    /// Entries of the GroupContext dictionary, raw.
    pub(crate) components: BTreeMap<u16, Vec<u8>>,
    pub(crate) has_dictionary: bool,
    pub(crate) has_required_capabilities: bool,
    pub(crate) required_extensions: BTreeSet<u16>,
    pub(crate) required_proposals: BTreeSet<u16>,
    pub(crate) required_credentials: BTreeSet<u16>,
    /// Types of all GroupContext extensions.
    pub(crate) context_extensions: BTreeSet<u16>,
}

impl GroupView {
    /// The admin policy, if it is there and decodes.
    pub(crate) fn admins(&self) -> Option<AdminPolicy> {
        AdminPolicy::decode(self.components.get(&component_id::ADMIN_POLICY)?).ok()
    }

    /// Components that the group requires: the list 0x0001, empty when it is absent or does not decode.
    pub(crate) fn required(&self) -> ComponentList {
        self.components
            .get(&component_id::APP_COMPONENTS)
            .and_then(|data| ComponentList::decode(data).ok())
            .unwrap_or_default()
    }

    /// The lifecycle, if it is there and decodes.
    pub(crate) fn lifecycle(&self) -> Option<Lifecycle> {
        Lifecycle::decode(self.components.get(&component_id::LIFECYCLE)?).ok()
    }

    /// Accounts that have a leaf.
    pub(crate) fn accounts(&self) -> BTreeSet<PublicKey> {
        self.leaves.values().filter_map(|leaf| leaf.account).collect()
    }
}

/// One leaf.
#[derive(Clone)]
pub(crate) struct LeafView {
    /// `None` when the credential is not a basic one with an x-only key.
    pub(crate) account: Option<PublicKey>,
    pub(crate) extensions: BTreeSet<u16>,
    pub(crate) proposals: BTreeSet<u16>,
    pub(crate) credentials: BTreeSet<u16>,
    /// Its list 0x0001.
    pub(crate) components: BTreeSet<u16>,
    pub(crate) proof: ProofState,
}

/// The state of a leaf's account identity proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofState {
    /// Verified now, or when the leaf entered the group.
    Valid,
    /// It is not listed, and not there.
    Missing,
    /// Listed without data, data without listing, or it does not verify.
    Invalid,
}

/// One commit.
pub(crate) struct CommitView {
    /// Its leaf.
    pub(crate) committer: u32,
    pub(crate) has_path: bool,
    pub(crate) path_leaf: Option<Arc<LeafView>>,
    /// In the commit's order.
    pub(crate) proposals: Vec<ProposalView>,
}

/// One proposal.
pub(crate) struct ProposalView {
    /// Leaf of the sender; `None` when it is not a member.
    pub(crate) sender: Option<u32>,
    pub(crate) by_reference: bool,
    pub(crate) kind: ProposalKind,
}

/// The content of a proposal.
pub(crate) enum ProposalKind {
    Add(Arc<LeafView>),
    Remove(u32),
    Update(Arc<LeafView>),
    SelfRemove,
    /// `update` is the whole new state; `None` removes the component.
    AppData {
        component: u16,
        update: Option<Vec<u8>>,
    },
    /// `dictionary` is the one among the proposed extensions; `None` when there is none.
    GroupContextExtensions {
        dictionary: Option<BTreeMap<u16, Vec<u8>>>,
    },
    Psk,
    ReInit,
    ExternalInit,
    AppEphemeral,
    Custom,
}

/// The sort of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitClass {
    /// Only an admin may commit it; wins a race against an ordinary one (2.8).
    pub(crate) privileged: bool,
    /// A path and nothing else.
    pub(crate) self_update: bool,
    /// Nothing but SelfRemove by reference.
    pub(crate) self_remove_only: bool,
    /// Ends the group.
    pub(crate) disband: bool,
}
