//! What an earlier process left to publish.

use mdk_store::GroupStatus;

use crate::mls::identity::Identity;
use crate::mls::{outgoing_welcomes, own_commit};
use crate::model::error::Result;
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event::stored_event;
use crate::state_store::outbox::Letter;
use crate::state_store::records::Records;

/// What an earlier process left to publish is handed out again, byte for byte.
pub(crate) fn resume(records: &mut Records<'_>, identity: &Identity) -> Result<()> {
    for commit in own_commit::pending(records.tx, identity)? {
        let Some(event) = commit.event else { continue };
        records.outbox().post(&Letter {
            purpose: OutboxPurpose::Commit { pending: commit.id },
            group: Some(&commit.group_id),
            event: &event,
            relays: &commit.relays,
        })?;
        // What the user made is the user's to publish, where there is no outbox.
        if commit.automatic {
            records.effects.publish.push(event);
        }
    }
    for welcome in records.tx.sendable_welcomes()? {
        if let Some(commit) = records.tx.pending(welcome.pending)? {
            let event = outgoing_welcomes::wrap_again(identity, &commit, &welcome)?;
            records.outbox().post_welcome(&commit, &event, welcome.recipient)?;
            records.effects.publish.push(event);
        }
    }
    for row in records.tx.groups()? {
        if row.status != GroupStatus::Leaving {
            continue;
        }
        if let Some(leave) = records.tx.leave(&row.id)? {
            let event = stored_event(&leave.event_json)?;
            records.outbox().post(&Letter {
                purpose: OutboxPurpose::Proposal,
                group: Some(&row.id),
                event: &event,
                relays: &row.relays,
            })?;
            records.effects.publish.push(event);
        }
    }
    Ok(())
}
