//! What an earlier process left to publish.

use mdk_store::GroupStatus;

use crate::ctx::Ctx;
use crate::model::error::Result;
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event::stored_event;
use crate::state_store::outbox::Letter;

impl<'a> Ctx<'a> {
    /// What an earlier process left to publish is handed out again, byte for byte.
    pub(crate) fn resume(&mut self) -> Result<()> {
        for commit in self.pending()? {
            let Some(event) = commit.event else { continue };
            self.outbox().post(&Letter {
                purpose: OutboxPurpose::Commit { pending: commit.id },
                group: Some(&commit.group_id),
                event: &event,
                relays: &commit.relays,
            })?;
            // What the user made is the user's to publish, where there is no outbox.
            if commit.automatic {
                self.effects.publish.push(event);
            }
        }
        for welcome in self.tx.sendable_welcomes()? {
            if let Some(commit) = self.tx.pending(welcome.pending)? {
                let event = self.wrap_again(&commit, &welcome)?;
                self.outbox().post_welcome(&commit, &event, welcome.recipient)?;
                self.effects.publish.push(event);
            }
        }
        for row in self.tx.groups()? {
            if row.status != GroupStatus::Leaving {
                continue;
            }
            if let Some(leave) = self.tx.leave(&row.id)? {
                let event = stored_event(&leave.event_json)?;
                self.outbox().post(&Letter {
                    purpose: OutboxPurpose::Proposal,
                    group: Some(&row.id),
                    event: &event,
                    relays: &row.relays,
                })?;
                self.effects.publish.push(event);
            }
        }
        Ok(())
    }
}
