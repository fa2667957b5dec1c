//! What a file expects.
#![allow(clippy::enum_variant_names)]

use std::collections::BTreeMap;

use serde::Deserialize;

use super::format::Step;

/// What must have come about at the end.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Expected {
    ClientState {
        client: String,
        epoch: Option<u64>,
        member_count: Option<usize>,
        name: Option<String>,
        group_name: Option<String>,
        description: Option<String>,
        received_payloads: Option<Vec<String>>,
        added_members: Option<Vec<String>>,
        removed_members: Option<Vec<String>>,
    },
    GroupProfile {
        client: String,
        name: Option<String>,
        description: Option<String>,
    },
    AdminPolicy {
        client: String,
        admins: Vec<String>,
    },
    ClientsConverged {
        clients: Vec<String>,
        epoch: Option<u64>,
        member_count: Option<usize>,
    },
    ClientsExactlyEquivalent {
        clients: Vec<String>,
    },
    #[serde(alias = "clients_not_exactly_equivalent", alias = "clients_exactly_not_equivalent")]
    ClientsNotEquivalent {
        clients: Vec<String>,
    },
    ClientsBidirectionallyDecryptable {
        clients: Vec<String>,
    },
    ConvergenceDecision {
        client: Option<String>,
        selected_tip_epoch: u64,
        decisive_rule: Option<String>,
        witness_quorum_met: Option<bool>,
        min_app_witness_score: Option<usize>,
    },
    ClientEpochChanges {
        client: String,
        #[serde(alias = "epoch_changes", alias = "transitions")]
        changes: Vec<Change>,
    },
    PendingResolution {
        step_index: usize,
        client: String,
        pending: String,
        resolution: Resolution,
    },
    ExpectedError {
        step_index: usize,
        client: String,
        operation: String,
        error: String,
    },
    ApplicationPayloadMultiset {
        client: String,
        #[serde(alias = "received_payloads")]
        payloads: Vec<String>,
    },
    NoPendingWork {
        clients: Vec<String>,
    },
    #[serde(alias = "no_pending_work_except_retained_join_commits")]
    NoPendingWorkExceptRetainedJoinCommit {
        clients: Vec<String>,
    },
}

/// An epoch change: `[1, 2]` or `{"from": 1, "to": 2}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Change {
    Pair(u64, u64),
    Named {
        #[serde(alias = "from_epoch", alias = "old", alias = "old_epoch")]
        from: u64,
        #[serde(alias = "to_epoch", alias = "new", alias = "new_epoch")]
        to: u64,
    },
}

impl Change {
    pub fn pair(self) -> (u64, u64) {
        match self {
            Self::Pair(from, to) | Self::Named { from, to } => (from, to),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    Confirmed,
    RolledBack,
}

/// A whole sequence of observations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    #[allow(dead_code)]
    pub name: String,
    #[serde(default)]
    pub pending_resolutions: Vec<TraceResolution>,
    pub observations: Vec<TraceObservation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceResolution {
    pub step_index: usize,
    pub client: String,
    pub pending: String,
    pub resolution: Resolution,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceObservation {
    pub client: String,
    pub epoch: u64,
    pub member_count: usize,
    pub group_name: Option<String>,
    #[serde(alias = "group_description")]
    pub description: Option<String>,
    #[serde(default)]
    pub event_counts: BTreeMap<String, usize>,
    pub received_payloads: Option<Vec<String>>,
    pub added_members: Option<Vec<String>>,
    pub removed_members: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Assertion {
    Exactly { predicate: Predicate },
    Eventually { predicate: Predicate, max_iterations: u32 },
    Within { predicate: Predicate, timeout_ms: u64, poll_interval_ms: u64 },
    Never { predicate: Predicate, duration_ms: u64, poll_interval_ms: u64 },
    Resource { metric: String, comparison: Comparison, value: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    Equal,
    LessThanOrEqual,
    GreaterThanOrEqual,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Predicate {
    ClientState { client: String, epoch: Option<u64>, member_count: Option<usize> },
    PayloadCount { client: String, payload: String, count: usize },
    ClientsExactlyEquivalent { clients: Vec<String> },
    NoPendingWork { clients: Vec<String> },
}

impl Step {
    /// Whether it says what must have come about, as an outcome does.
    pub fn judges(&self) -> bool {
        match self {
            Self::InGroup { action, .. } => action.judges(),
            Self::Assert { .. } | Self::ExpectUpdateAdminPolicyError { .. } => true,
            _ => false,
        }
    }
}
