//! One case per rule: the input that breaks exactly this rule, and its accepted neighbour.
#![allow(clippy::unwrap_used)]

mod invariants;
mod invite;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mdk_wire::v2::component_id as id;
use mdk_wire::v2::components::{AdminPolicy, ComponentList, Lifecycle, Profile, Routing};
use mdk_wire::{Keys, NostrGroupId, PublicKey, Secret};

use super::*;
use crate::mls::capabilities;
use crate::model::outcome::RejectCode;

/// Both sides of one rule.
struct Case {
    rule: &'static str,
    code: RejectCode,
    /// `true` asks for the input that breaks the rule, `false` for its neighbour.
    run: fn(bool) -> Result<(), Rejection>,
}

const fn case(
    rule: &'static str,
    code: RejectCode,
    run: fn(bool) -> Result<(), Rejection>,
) -> Case {
    Case { rule, code, run }
}

#[test]
fn every_rule_has_one_case() {
    let cases: Vec<&Case> = rules::CASES.iter().chain(invariants::CASES).collect();
    let mut tested: Vec<&str> = cases.iter().map(|case| case.rule).collect();
    let mut listed: Vec<&str> = RULES.iter().copied().flatten().map(|rule| rule.0).collect();
    tested.sort_unstable();
    listed.sort_unstable();
    assert_eq!(tested, listed);
    for case in cases {
        let refused = (case.run)(true).expect_err(case.rule);
        assert_eq!((refused.rule, refused.code), (case.rule, case.code), "{}", refused.reason);
        let accepted = (case.run)(false);
        assert!(accepted.is_ok(), "neighbour of {}: {accepted:?}", case.rule);
    }
}

/// Accounts with small, valid secrets: distinct and stable.
fn account(n: u8) -> PublicKey {
    Keys::from_secret(Secret::new([n; 32])).unwrap().public_key()
}

fn leaf(n: u8) -> LeafView {
    LeafView {
        account: Some(account(n)),
        extensions: [0x0006, 0xF2D1].into(),
        proposals: [0x0008, 0x000A].into(),
        credentials: [0x0001].into(),
        components: capabilities::supported_components().iter().copied().collect(),
        proof: ProofState::Valid,
    }
}

fn admins(accounts: &[u8]) -> Vec<u8> {
    AdminPolicy::new(accounts.iter().map(|n| account(*n))).encode().unwrap()
}

fn list(ids: &[u16]) -> Vec<u8> {
    ids.iter().copied().collect::<ComponentList>().encode().unwrap()
}

const REQUIRED: [u16; 5] =
    [id::PROFILE, id::ADMIN_POLICY, id::ROUTING, id::IDENTITY_PROOF, id::LIFECYCLE];

/// Leaves 0 and 1 are admins 1 and 2, leaf 2 is account 3, leaves 3 and 4 are account 4.
fn group() -> GroupView {
    let routing = Routing::new(NostrGroupId::from_bytes([7; 32]), ["wss://a.example".to_owned()]);
    let components = BTreeMap::from([
        (id::APP_COMPONENTS, list(&REQUIRED)),
        (id::PROFILE, Profile::default().encode().unwrap()),
        (id::ADMIN_POLICY, admins(&[1, 2])),
        (id::ROUTING, routing.encode().unwrap()),
        (id::LIFECYCLE, Lifecycle::Active.encode().unwrap()),
    ]);
    let accounts = [1, 2, 3, 4, 4];
    let leaves = (0..).zip(accounts).map(|(index, n)| (index, Arc::new(leaf(n)))).collect();
    GroupView {
        leaves,
        components,
        has_dictionary: true,
        has_required_capabilities: true,
        required_extensions: [0x0006].into(),
        required_proposals: [0x0008, 0x000A].into(),
        required_credentials: BTreeSet::new(),
        context_extensions: [0x0003, 0x0006].into(),
    }
}

const ADMIN: u32 = 0;
const OTHER_ADMIN: u32 = 1;
const MEMBER: u32 = 2;

fn by_value(kind: ProposalKind) -> ProposalView {
    ProposalView { sender: None, by_reference: false, kind }
}

fn by_reference(sender: u32, kind: ProposalKind) -> ProposalView {
    ProposalView { sender: Some(sender), by_reference: true, kind }
}

fn set(component: u16, data: Vec<u8>) -> ProposalKind {
    ProposalKind::AppData { component, update: Some(data) }
}

fn unset(component: u16) -> ProposalKind {
    ProposalKind::AppData { component, update: None }
}

fn rename(name: &str) -> ProposalKind {
    let profile = Profile { name: name.to_owned(), description: String::new() };
    set(id::PROFILE, profile.encode().unwrap())
}

fn add(n: u8) -> ProposalKind {
    ProposalKind::Add(Arc::new(leaf(n)))
}

fn commit(committer: u32, proposals: Vec<ProposalView>) -> CommitView {
    CommitView { committer, has_path: false, path_leaf: None, proposals }
}

fn with_path(committer: u32, path: LeafView, proposals: Vec<ProposalView>) -> CommitView {
    CommitView { committer, has_path: true, path_leaf: Some(Arc::new(path)), proposals }
}

/// The state that MLS makes of the commit.
fn apply(parent: &GroupView, commit: &CommitView) -> GroupView {
    let mut result = parent.clone();
    for proposal in &commit.proposals {
        match &proposal.kind {
            ProposalKind::Remove(leaf) => {
                result.leaves.remove(leaf);
            }
            ProposalKind::SelfRemove => {
                result.leaves.remove(&proposal.sender.unwrap());
            }
            ProposalKind::Add(leaf) => {
                let next = result.leaves.keys().last().map_or(0, |last| last + 1);
                result.leaves.insert(next, Arc::clone(leaf));
            }
            ProposalKind::Update(leaf) => {
                result.leaves.insert(proposal.sender.unwrap(), Arc::clone(leaf));
            }
            ProposalKind::AppData { component, update: Some(data) } => {
                result.components.insert(*component, data.clone());
            }
            ProposalKind::AppData { component, update: None } => {
                result.components.remove(component);
            }
            _ => {}
        }
    }
    if let Some(leaf) = &commit.path_leaf {
        result.leaves.insert(commit.committer, Arc::clone(leaf));
    }
    result
}

fn judge(parent: &GroupView, commit: &CommitView) -> Result<CommitClass, Rejection> {
    judge_commit(parent, commit, &apply(parent, commit))
}

/// Judges a commit without path on the usual group.
fn verdict(committer: u32, proposals: Vec<ProposalView>) -> Result<(), Rejection> {
    judge(&group(), &commit(committer, proposals)).map(|_| ())
}

fn standalone(sender: u32, kind: ProposalKind) -> Result<(), Rejection> {
    judge_proposal(&group(), &by_reference(sender, kind))
}
