//! Events that an earlier process left to publish.
//!
//! `mls/own_commit.rs` reads the commit that was pending; `receive/own_commit_returns.rs` takes one that a relay had after all.

use mdk_store::GroupStatus;

use crate::mls::identity::Identity;
use crate::mls::{outgoing_welcomes, own_commit};
use crate::model::error::Result;
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event::stored_event;
use crate::state_store::outbox::Letter;
use crate::state_store::records::Records;

/// Hands out again, byte for byte, the events that an earlier process left to publish.
pub(crate) fn resume(records: &mut Records<'_>, identity: &Identity) -> Result<()> {
    for commit in own_commit::pending(records.tx, identity)? {
        let Some(event) = commit.event else { continue };
        records.outbox().post(&Letter {
            purpose: OutboxPurpose::Commit { pending: commit.id },
            group: Some(&commit.group_id),
            event: &event,
            relays: &commit.relays,
        })?;
        // Without an outbox, the user publishes the commits that he made.
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
