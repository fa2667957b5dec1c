//! The scenario format's names for what this engine calls otherwise.

use mdk_core::{DeferredReason, Error, RejectCode, Rejection, Verdict};

/// Features that every group of this engine requires, by the names of their components.
const ALWAYS_REQUIRED: [&str; 10] = [
    "self-remove",
    "app-data-dictionary",
    "app-data-update",
    "app-components",
    "admin-policy",
    "profile",
    "nostr-routing",
    "account-identity-proof",
    "identity-proof",
    "lifecycle",
];
/// Features of groups that no founding of this engine can require, only a later commit.
const LATER_REQUIRED: [&str; 5] = [
    "blossom-image",
    "avatar-url",
    "encrypted-media",
    "agent-text-stream",
    "agent-text-stream-quic",
];

/// How a founding can require a feature.
pub enum Feature {
    Always,
    /// By a time after which messages disappear.
    Retention,
    Later,
}

/// Reads `message-retention`, `message_retention`, and the component's own name, `marmot.group.message-retention.v1`.
pub fn feature(name: &str) -> Option<Feature> {
    let name = name.replace(['_', '.'], "-");
    let mut name = name.strip_prefix("marmot-").unwrap_or(&name);
    for version in ["-v1", "-v2"] {
        name = name.strip_suffix(version).unwrap_or(name);
    }
    for of in ["group-", "member-", "transport-"] {
        name = name.strip_prefix(of).unwrap_or(name);
    }
    match name {
        "message-retention" => Some(Feature::Retention),
        name if ALWAYS_REQUIRED.contains(&name) => Some(Feature::Always),
        name if LATER_REQUIRED.contains(&name) => Some(Feature::Later),
        _ => None,
    }
}

/// Every name that a refusal can have.
pub fn of(operation: &str, error: &Error, empty_list: bool) -> Vec<&'static str> {
    let policy = operation == "update_admin_policy";
    match error {
        Error::NotAdmin => vec!["not_group_admin"],
        Error::LastAdmin if empty_list => vec!["admin_policy"],
        Error::LastAdmin => vec!["admin_policy", "invalid_admin_policy"],
        Error::InvalidInput { .. } if empty_list => vec!["admin_policy", "invalid_admin_policy"],
        Error::InvalidInput { .. } | Error::NotAllowed(_) if policy => {
            vec!["invalid_admin_policy", "admin_policy"]
        }
        Error::NotAllowed(_) if operation == "leave" => {
            vec!["leave_already_requested", "invalid_transition", "admin_policy"]
        }
        Error::CommitPending | Error::Settling { .. } | Error::CommitLost => {
            vec!["invalid_transition"]
        }
        Error::NotMember(_) => vec!["invalid_transition", "unknown_group"],
        Error::GroupNotFound => vec!["unknown_group"],
        _ => Vec::new(),
    }
}

/// Names of what became of a Welcome or a group event, where the format calls that a refusal.
pub fn of_verdict(welcome: bool, verdict: &Verdict) -> Vec<&'static str> {
    match verdict {
        Verdict::Rejected(rejection) => of_rejection(welcome, rejection),
        // B4 refuses both, in steps 1 and 4. A Welcome to a group that it is in this engine keeps besides (B4-15).
        Verdict::Duplicate if welcome => vec!["welcome_already_processed"],
        Verdict::Deferred(reason) if welcome && *reason != DeferredReason::ResourceRefused => {
            vec!["welcome_already_processed"]
        }
        _ => Vec::new(),
    }
}

fn of_rejection(welcome: bool, rejection: &Rejection) -> Vec<&'static str> {
    match rejection.code {
        RejectCode::UnknownGroup => vec!["unknown_group"],
        RejectCode::AlreadyApplied => vec!["welcome_already_processed"],
        _ if welcome => vec!["invalid_welcome"],
        _ => Vec::new(),
    }
}
