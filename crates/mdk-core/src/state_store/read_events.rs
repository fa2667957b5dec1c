//! The user's view of a row of the event log.

use std::collections::BTreeSet;

use mdk_store::{EventRow, MessageRow, MessageStatus, Tx};
use mdk_wire::{ContentId, EventId, GroupId, PublicKey};

use crate::model::error::{Error, Result};
use crate::model::invites::Key;
use crate::model::membership;
use crate::model::values::{EngineEvent, EventBody, Reaction};
use crate::state_store::declined_invites::is_declined;
use crate::state_store::log_entry::{SETTINGS, Stored};
use crate::state_store::log_rows::decode;
use crate::state_store::{competing_invites, history};

/// Reads a row of the log; `None` when its subject is gone (the group was deleted).
pub(crate) fn read(tx: &Tx<'_>, me: PublicKey, row: &EventRow) -> Result<Option<EngineEvent>> {
    // The rest of the newest event of a deleted group.
    if row.body.is_empty() {
        return Ok(None);
    }
    // Events of a group whose invite was declined are not told.
    if let Some(group) = &row.group
        && is_declined(tx, group)?
    {
        return Ok(None);
    }
    let body = materialize(tx, me, row.group.as_ref(), &decode(row)?)?;
    Ok(body.map(|body| EngineEvent { cursor: row.seq, group_id: row.group.clone(), body }))
}

/// Returns the event of a log entry as of now: with the known facts of messages, invites and groups, and nothing of
/// those that are gone.
pub(crate) fn materialize(
    tx: &Tx<'_>,
    me: PublicKey,
    group: Option<&GroupId>,
    stored: &Stored,
) -> Result<Option<EventBody>> {
    Ok(Some(match stored {
        Stored::MessageReceived { seq } | Stored::MessageEdited { seq } => {
            let row = tx.message_by_seq(*seq)?;
            let Some(row) = row.filter(|row| membership::is_shown(row.status)) else {
                return Ok(None);
            };
            if matches!(stored, Stored::MessageEdited { .. }) {
                EventBody::MessageEdited { message: history::view(tx, row)? }
            } else {
                EventBody::MessageReceived { message: history::as_said(row) }
            }
        }
        Stored::Reacted { seq } => {
            let row = tx.message_by_seq(*seq)?.filter(|row| {
                membership::is_shown(row.status) && row.status != MessageStatus::Deleted
            });
            let Some(MessageRow { target: Some(message_id), sender, content, .. }) = row else {
                return Ok(None);
            };
            EventBody::ReactionAdded { reaction: Reaction { message_id, sender, emoji: content } }
        }
        Stored::Invited { welcome } | Stored::Reinvited { welcome, .. } => {
            let row = tx.group_by_welcome(&EventId::from_bytes(*welcome))?;
            let Some(invite) = row.as_ref().and_then(history::invite) else { return Ok(None) };
            EventBody::Invited { invite }
        }
        Stored::Beside(said) => {
            let invite =
                group.map(|id| competing_invites::told(tx, id, said)).transpose()?.flatten();
            let Some(invite) = invite else { return Ok(None) };
            EventBody::Invited { invite }
        }
        Stored::Joined => {
            let Some(row) = group.map(|g| tx.group(g)).transpose()?.flatten() else {
                return Ok(None);
            };
            EventBody::Joined { group: history::group_info(tx, me, &row)? }
        }
        entry => return as_it_was(entry),
    }))
}

/// Returns the event of an entry by itself; `None` of one that tells nothing, or only together with a row.
fn as_it_was(stored: &Stored) -> Result<Option<EventBody>> {
    Ok(Some(match stored {
        Stored::MessageReceived { .. }
        | Stored::MessageEdited { .. }
        | Stored::Reacted { .. }
        | Stored::Invited { .. }
        | Stored::Reinvited { .. }
        | Stored::Beside(_)
        | Stored::Earlier(_)
        | Stored::Joined => return Ok(None),
        Stored::MessageDeleted { id } => {
            EventBody::MessageDeleted { message_id: EventId::from_bytes(*id) }
        }
        Stored::ReactionAdded { target, sender, emoji } => {
            EventBody::ReactionAdded { reaction: reaction(target, sender, emoji)? }
        }
        Stored::ReactionRemoved { target, sender, emoji } => {
            EventBody::ReactionRemoved { reaction: reaction(target, sender, emoji)? }
        }
        Stored::Removed { by, left, commit } => EventBody::Removed {
            by: account(by.as_ref())?,
            left: *left,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::MembersChanged { added, removed, left, by, commit } => EventBody::MembersChanged {
            added: accounts(added)?,
            removed: accounts(removed)?,
            left: accounts(left)?,
            by: account(by.as_ref())?,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::GroupUpdated { changed, by, commit } => EventBody::GroupUpdated {
            changed: changed
                .iter()
                .filter_map(|&i| SETTINGS.get(usize::from(i)).copied())
                .collect(),
            by: account(by.as_ref())?,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::EpochChanged { old, new, commit } => EventBody::EpochChanged {
            old: *old,
            new: *new,
            commit: commit.map(ContentId::from_bytes),
        },
        Stored::MessagesInvalidated { ids } => EventBody::MessagesInvalidated {
            message_ids: ids.iter().copied().map(EventId::from_bytes).collect(),
        },
        Stored::ChangeWithdrawn { commit } => {
            EventBody::ChangeWithdrawn { commit: ContentId::from_bytes(*commit) }
        }
        Stored::HistoryGap { count, first, last } => {
            EventBody::HistoryGap { count: *count, first: *first, last: *last }
        }
        Stored::RemovalUndone { account: who, demoted, by, at } => EventBody::RemovalUndone {
            account: public_key(who)?,
            demoted: *demoted,
            by: account(by.as_ref())?,
            at: *at,
        },
        Stored::HistoryTrimmed { sender } => {
            EventBody::HistoryTrimmed { sender: public_key(sender)? }
        }
        Stored::CannotFollow { epoch } => EventBody::CannotFollow { epoch: *epoch },
        Stored::Unrecoverable { reason } => EventBody::Unrecoverable { reason: reason.clone() },
        Stored::Disbanded { by } => EventBody::Disbanded { by: account(by.as_ref())? },
        Stored::DeliveryChanged { id, delivery, errors } => EventBody::DeliveryChanged {
            message_id: EventId::from_bytes(*id),
            delivery: history::delivery(*delivery),
            errors: errors.clone(),
        },
        Stored::InviteDeliveryChanged { account, delivery, errors } => {
            EventBody::InviteDeliveryChanged {
                account: public_key(account)?,
                delivery: history::delivery(*delivery),
                errors: errors.clone(),
            }
        }
    }))
}

fn public_key(key: &Key) -> Result<PublicKey> {
    PublicKey::from_bytes(*key).map_err(|_| Error::Unrecoverable("event log"))
}

pub(crate) fn account(key: Option<&Key>) -> Result<Option<PublicKey>> {
    key.map(public_key).transpose()
}

fn accounts(keys: &[Key]) -> Result<BTreeSet<PublicKey>> {
    keys.iter()
        .map(|key| PublicKey::from_bytes(*key))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Unrecoverable("event log"))
}

fn reaction(target: &Key, sender: &Key, emoji: &str) -> Result<Reaction> {
    Ok(Reaction {
        message_id: EventId::from_bytes(*target),
        sender: public_key(sender)?,
        emoji: emoji.to_owned(),
    })
}
