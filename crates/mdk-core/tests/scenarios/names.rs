//! The scenario format's names for what this engine calls otherwise.

use mdk_core::{Error, RejectCode, Rejection};

/// Features that every group of this engine requires.
pub const ALWAYS_REQUIRED: [&str; 10] = [
    "self-remove",
    "app-data-dictionary",
    "app-data-update",
    "app-components",
    "admin-policy",
    "group-profile",
    "nostr-routing",
    "account-identity-proof",
    "identity-proof",
    "group-lifecycle",
];

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

/// Names of a Welcome's or a group event's rejection.
pub fn of_rejection(welcome: bool, rejection: &Rejection) -> Vec<&'static str> {
    match rejection.code {
        RejectCode::UnknownGroup => vec!["unknown_group"],
        RejectCode::AlreadyApplied => vec!["welcome_already_processed"],
        _ if welcome => vec!["invalid_welcome"],
        _ => Vec::new(),
    }
}
