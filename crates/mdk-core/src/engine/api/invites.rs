//! Invites, and what is to be asked for.

use mdk_wire::{Event, EventId};

use crate::engine::Engine;
use crate::model::error::Result;
use crate::model::values::{GroupInfo, Interest, Invite};

/// Invites, and what follows from being a member.
impl Engine {
    /// Invites that wait for an answer, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn invites(&mut self) -> Result<Vec<Invite>> {
        self.look(|ctx| ctx.invites())
    }

    /// Accepts an invite. What another invite to the same group has led to is put away.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`]; [`Error::CommitPending`], [`Error::NotAllowed`].
    pub fn accept(&mut self, invite: &EventId) -> Result<GroupInfo> {
        self.act(|ctx| ctx.accept(invite))
    }

    /// Declines an invite and deletes what came with it.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`].
    pub fn decline(&mut self, invite: &EventId) -> Result<()> {
        self.act(|ctx| ctx.decline(invite, false).map(|_| ()))
    }

    /// As [`Engine::decline`], and tells the group by leaving it. Gives the request to be published to the group's relays; none
    /// where an admin cannot leave, nobody else is there, or the invite waits beside a membership. It counts in the epoch of
    /// the invite alone: if another commit has come since, the members see our leaf until an admin removes it.
    ///
    /// # Errors
    /// As [`Engine::decline`].
    pub fn decline_and_leave(&mut self, invite: &EventId) -> Result<Option<Event>> {
        self.act(|ctx| ctx.decline(invite, true))
    }

    /// What to subscribe to, and where.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn interests(&mut self) -> Result<Vec<Interest>> {
        self.look(|ctx| ctx.interests())
    }
}
