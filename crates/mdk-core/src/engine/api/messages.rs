//! Messages of ours.

use mdk_wire::{EventId, GroupId};

use crate::engine::Engine;
use crate::model::error::Result;
use crate::model::values::{NewMessage, Outgoing};
use crate::operations::send_message::target;
use crate::operations::{resend_message, send_message};

/// Messages of ours.
impl Engine {
    /// Encrypts a message.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::NotMember`], [`Error::CommitPending`], [`Error::InvalidInput`];
    /// [`Error::MediaStale`] for a file that was encrypted in another epoch. For a reaction, an edit or a deletion (kinds 7,
    /// 1009, 5) whose `e` tag names no message that it can be about: as [`Engine::react`], [`Engine::edit`] and
    /// [`Engine::delete`].
    pub fn create_message(&mut self, id: &GroupId, message: NewMessage) -> Result<Outgoing> {
        let outgoing = self.speak(id, |ctx| {
            target::check_target(ctx.work.records.tx, id, &message)?;
            send_message::create_message(&mut ctx.work, id, message)
        })?;
        self.memory.recent.forget(id, &outgoing.message.attachments);
        Ok(outgoing)
    }

    /// Reacts to a message.
    ///
    /// # Errors
    /// As [`Engine::create_message`], and [`Error::MessageNotFound`].
    pub fn react(&mut self, id: &GroupId, target: &EventId, emoji: &str) -> Result<Outgoing> {
        self.speak(id, |ctx| send_message::react(&mut ctx.work, id, target, emoji))
    }

    /// Edits a message of ours.
    ///
    /// # Errors
    /// As [`Engine::react`], and [`Error::NotAllowed`] for others' messages, deleted ones, and targets that are no
    /// message.
    pub fn edit(&mut self, id: &GroupId, target: &EventId, text: &str) -> Result<Outgoing> {
        self.speak(id, |ctx| send_message::edit(&mut ctx.work, id, target, text))
    }

    /// Deletes a message, reaction or edit of ours.
    ///
    /// # Errors
    /// As [`Engine::edit`]; [`Error::NotAllowed`] for a deletion, too.
    pub fn delete(&mut self, id: &GroupId, target: &EventId) -> Result<Outgoing> {
        self.speak(id, |ctx| send_message::delete(&mut ctx.work, id, target))
    }

    /// Encrypts a message, reaction, edit or deletion of ours once more, for when it may not have been published: another
    /// event with the same message id, so that it does no harm if it was. Nothing changes in the history.
    ///
    /// # Errors
    /// As [`Engine::edit`]; [`Error::NotAllowed`] too when it is deleted, lost with its branch or in the outbox;
    /// [`Error::MediaStale`] for one with files that was said in another epoch.
    pub fn resend(&mut self, id: &GroupId, message: &EventId) -> Result<Outgoing> {
        self.expire()?;
        self.act(|ctx| resend_message::resend(&mut ctx.work, id, message))
    }
}
