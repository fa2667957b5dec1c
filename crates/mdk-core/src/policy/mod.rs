//! The rights to change a group: state and commit in, verdict out. Pure, without OpenMLS types and without I/O.
//!
//! A rule's id (`D4-2`, `B5-6a`, `2.6-1`) stands in [`Rejection::rule`](crate::Rejection), in the lists
//! named `RULES`, and at one case of the tests. It is defined in docs/internals/protocol; a letter
//! numbers the checks of one rule.

mod commit;
mod invariants;
pub(crate) mod invite;
mod proposal;
#[cfg(test)]
mod tests;
mod views;

use mdk_wire::WireError;

use crate::model::outcome::{RejectCode, Rejection};

pub(crate) use commit::{duplicate_op, judge_commit};
pub(crate) use invariants::{Requirements, TRANSITIONAL_PROOF, check_invariants, judge_welcome};
pub(crate) use proposal::judge_proposal;
pub(crate) use views::{
    CommitClass, CommitView, GroupView, LeafView, ProofState, ProposalKind, ProposalView,
};

/// Rules of every module here, for the coverage table.
#[cfg(test)]
pub(crate) const RULES: &[&[(&str, &str)]] = &[proposal::RULES, commit::RULES, invariants::RULES];

const fn encoding(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::InvalidEncoding, rule, reason)
}

const fn signature(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::InvalidSignature, rule, reason)
}

const fn forbidden(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::AuthorizationFailed, rule, reason)
}

const fn unsupported(rule: &'static str, reason: &'static str) -> Rejection {
    Rejection::new(RejectCode::UnsupportedRequiredFeature, rule, reason)
}

/// A component that does not decode; the exact fault stays with the codec's own rules (2.2).
fn undecodable(rule: &'static str) -> impl FnOnce(WireError) -> Rejection {
    move |_| encoding(rule, "a component does not decode")
}
