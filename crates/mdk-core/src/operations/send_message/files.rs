//! The files that a message names.

use mdk_wire::kind as nostr_kind;
use mdk_wire::v2::{Attachment, limits};

use crate::model::error::{Error, Result};

/// The tags of the attachments that a new message carries.
pub(crate) fn tags(kind: u16, attachments: &[Attachment]) -> Result<Vec<Vec<String>>> {
    if !attachments.is_empty() && kind != nostr_kind::CHAT {
        return Err(Error::input("attachments", "only a message of kind 9 has attachments"));
    }
    if attachments.len() > limits::ATTACHMENTS {
        return Err(Error::too_large("attachments", limits::ATTACHMENTS, attachments.len()));
    }
    let tag = |attachment: &Attachment| {
        attachment.to_tag().map_err(|error| match error.measured() {
            _ if attachment.locators.is_empty() => {
                let problem = "an attachment without a locator: upload its data first";
                Error::empty("attachments", problem)
            }
            Some((limit, actual)) => Error::InvalidInput {
                field: "attachments",
                problem: "an attachment with a field that is too large",
                limit: Some(limit as u64),
                actual: Some(actual as u64),
            },
            None => Error::input("attachments", "an attachment with a field that is not allowed"),
        })
    };
    attachments.iter().map(tag).collect()
}
