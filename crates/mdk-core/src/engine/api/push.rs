//! Push tokens, for the caller that asks notification servers to wake phones.

use mdk_wire::push::TokenRecord;
use mdk_wire::{Event, EventId, GroupId};

use crate::engine::Engine;
use crate::model::error::{Error, Result};
use crate::operations::tell_push_tokens::{self, groups_to_tell, tell_group};

/// The tokens that wake members' phones. Members tell them to each other; nothing here is shown to the user.
impl Engine {
    /// Answers members who asked for the tokens of all, and asks for them in groups that were joined, where that is due.
    /// Gives the events to publish; they are in the outbox too, if it is in use. A group in which nothing can be said now
    /// waits for the next call.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine.
    pub fn tell_push_tokens(&mut self) -> Result<Vec<Event>> {
        let due = self.look(|ctx| groups_to_tell(&ctx.work.records))?;
        let mut events = Vec::new();
        for group in due {
            match self.speak(&group, |ctx| tell_group(&mut ctx.work, &group)) {
                Ok(told) => events.extend(told),
                Err(fault @ Error::Store(_)) => return Err(fault),
                Err(_) => {}
            }
        }
        Ok(events)
    }

    /// The tokens to wake for a message of ours: those of all members but us. None if it is no chat message, or if it does
    /// not count any more.
    ///
    /// # Errors
    /// [`Error::Store`] and faults of this machine.
    pub fn push_targets(&mut self, group: &GroupId, message: &EventId) -> Result<Vec<TokenRecord>> {
        self.look(|ctx| tell_push_tokens::tokens_to_wake(&mut ctx.work, group, message))
    }

    /// The number of messages and entries about tokens that were dropped as not in order, since the engine was opened.
    #[must_use]
    pub fn push_dropped(&self) -> u64 {
        self.memory.for_client.push_dropped
    }
}
