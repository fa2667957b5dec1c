//! A Welcome that is judged, and its result.

use mdk_store::{GroupRow, NodeRow};
use mdk_wire::{GroupId, KeyPackageRef, SecretVec, WelcomeRumor};

use crate::model::invites::{Earlier, Offer};

/// A Welcome that is judged.
pub(crate) struct Invitation<'a> {
    pub(crate) id: GroupId,
    pub(crate) offer: Offer,
    pub(crate) rumor: &'a WelcomeRumor,
    /// The KeyPackage of ours that it is for, and the private part of it.
    pub(crate) reference: KeyPackageRef,
    pub(crate) bundle: SecretVec,
}

/// The result of a Welcome.
pub(crate) enum Joined {
    /// A group that waits for the user's answer, and its earlier membership, unless that was an invitation without an
    /// answer.
    Invited(Box<GroupRow>, Option<Box<Earlier>>),
    /// Our membership in this group has not ended yet.
    Wait(GroupId),
    /// A state of a group that we are in already, on another branch.
    Rival(Box<NodeRow>),
}
