//! Events and outcomes of the engine as the frozen dataclasses of `mdk.events` and `mdk.outcomes`.

use mdk_core::{EngineEvent, EventBody, Outcome, Verdict};
use pyo3::prelude::*;
use pyo3::types::IntoPyDict as _;

use crate::views::{ToPy, build, set, time};

impl<'py> ToPy<'py> for EngineEvent {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (group, at) = (self.group_id, self.cursor.to_string());
        match self.body {
            EventBody::MessageReceived { message } => {
                build!(py, "mdk.events", "MessageReceived", group, at, message)
            }
            EventBody::MessageEdited { message } => {
                build!(py, "mdk.events", "MessageEdited", group, at, message)
            }
            EventBody::MessageDeleted { message_id } => {
                build!(py, "mdk.events", "MessageDeleted", group, at, message_id)
            }
            EventBody::ReactionAdded { reaction } => {
                build!(py, "mdk.events", "ReactionAdded", group, at, reaction)
            }
            EventBody::ReactionRemoved { reaction } => {
                build!(py, "mdk.events", "ReactionRemoved", group, at, reaction)
            }
            EventBody::Invited { invite } => {
                build!(py, "mdk.events", "Invited", group, at, invite)
            }
            EventBody::Joined { group: joined } => {
                build!(py, "mdk.events", "Joined", group, at, joined)
            }
            EventBody::Removed { by, left, commit } => {
                build!(py, "mdk.events", "Removed", group, at, by, left, commit)
            }
            EventBody::MembersChanged { added, removed, left, by, commit } => {
                let (added, removed, left) = (set(py, added)?, set(py, removed)?, set(py, left)?);
                build!(
                    py,
                    "mdk.events",
                    "MembersChanged",
                    group,
                    at,
                    added,
                    removed,
                    left,
                    by,
                    commit
                )
            }
            EventBody::GroupUpdated { changed, by, commit } => {
                build!(py, "mdk.events", "GroupUpdated", group, at, set(py, changed)?, by, commit)
            }
            EventBody::EpochChanged { old, new, commit } => {
                build!(py, "mdk.events", "EpochChanged", group, at, old, new, commit)
            }
            EventBody::MessagesInvalidated { message_ids } => {
                build!(py, "mdk.events", "MessagesInvalidated", group, at, message_ids)
            }
            EventBody::ChangeWithdrawn { commit } => {
                build!(py, "mdk.events", "ChangeWithdrawn", group, at, commit)
            }
            EventBody::RemovalUndone { account, demoted, by, at: when } => {
                let when = time(py, when)?;
                build!(py, "mdk.events", "RemovalUndone", group, at, account, demoted, by, when)
            }
            EventBody::HistoryGap { count, first, last } => {
                let (first, last) = (time(py, first)?, time(py, last)?);
                build!(py, "mdk.events", "HistoryGap", group, at, count, first, last)
            }
            EventBody::HistoryTrimmed { sender } => {
                build!(py, "mdk.events", "HistoryTrimmed", group, at, sender)
            }
            EventBody::CannotFollow { epoch } => {
                build!(py, "mdk.events", "CannotFollow", group, at, epoch)
            }
            EventBody::Unrecoverable { reason } => {
                build!(py, "mdk.events", "Unrecoverable", group, at, reason)
            }
            EventBody::Disbanded { by } => {
                build!(py, "mdk.events", "Disbanded", group, at, by)
            }
            EventBody::DeliveryChanged { message_id, delivery, errors } => {
                let errors = errors.into_iter().into_py_dict(py)?.into_any();
                build!(py, "mdk.events", "DeliveryChanged", group, at, message_id, delivery, errors)
            }
            EventBody::InviteDeliveryChanged { account, delivery, errors } => {
                let errors = errors.into_iter().into_py_dict(py)?.into_any();
                build!(
                    py,
                    "mdk.events",
                    "InviteDeliveryChanged",
                    group,
                    at,
                    account,
                    delivery,
                    errors
                )
            }
            // The enum may grow; a test compares its variants with this file.
            _ => build!(py, "mdk.events", "Event", group, at),
        }
    }
}

impl<'py> ToPy<'py> for Outcome {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (events, reply) = (self.events, self.reply);
        match self.verdict {
            Verdict::Applied => build!(py, "mdk.outcomes", "Applied", events, reply),
            Verdict::Duplicate => build!(py, "mdk.outcomes", "Duplicate", events, reply),
            Verdict::Deferred(reason) => {
                build!(py, "mdk.outcomes", "Deferred", events, reply, reason.as_str())
            }
            Verdict::Rejected(why) => {
                let (code, reason, rule) = (why.code.as_str(), why.reason, why.rule);
                build!(py, "mdk.outcomes", "Rejected", events, reply, code, reason, rule)
            }
        }
    }
}
