//! Invites, and the events to ask relays for.

use mdk_wire::{Event, EventId, GroupId, NostrGroupId};

use crate::engine::Engine;
use crate::engine::follow_ups::Due;
use crate::model::error::Result;
use crate::model::values::{GroupInfo, Interest, Invite};
use crate::operations::{answer_invite, decline_invite, subscriptions};
use crate::state_store::declined_invites::is_declined;
use crate::state_store::history;

/// Invites, and the consequences of being a member.
impl Engine {
    /// Invites that wait for an answer, oldest first.
    pub fn invites(&mut self) -> Result<Vec<Invite>> {
        self.look(|ctx| answer_invite::invites(&mut ctx.work.records))
    }

    /// Accepts an invite. The result of another invite to the same group is put away.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`]; [`Error::CommitPending`], [`Error::NotAllowed`].
    pub fn accept(&mut self, invite: &EventId) -> Result<GroupInfo> {
        self.act(|ctx| {
            let mut waiting = Vec::new();
            if ctx.work.records.tx.group_by_welcome(invite)?.is_none() {
                let (event, beside) = answer_invite::turn_to(&mut ctx.work.records, invite)?;
                let verdict = ctx.attempt(event, Due::All)?;
                answer_invite::turned_to(ctx.work.records.tx, invite, verdict)?;
                waiting = beside;
            }
            let group = answer_invite::accept(&mut ctx.work, invite, waiting)?;
            ctx.work_off(Due::All)?;
            history::info(ctx.work.records.groups(), ctx.work.records.me(), &group)
        })
    }

    /// Declines an invite and deletes the data that came with it.
    ///
    /// # Errors
    /// [`Error::InviteNotFound`].
    pub fn decline(&mut self, invite: &EventId) -> Result<()> {
        self.act(|ctx| decline_invite::decline_waiting(&mut ctx.work, invite, false).map(|_| ()))
    }

    /// As [`Engine::decline`], and tells the group by leaving it. Returns the request to be published to the group's
    /// relays; `None` if an admin cannot leave, nobody else is there, or the invite waits beside a membership. The
    /// request counts in the epoch that we have come to: if another commit has come since, the members see our leaf
    /// until an admin removes it. So a caller who can read the events since then calls [`Engine::decline_and_follow`].
    ///
    /// # Errors
    /// As [`Engine::decline`].
    pub fn decline_and_leave(&mut self, invite: &EventId) -> Result<Option<Event>> {
        self.act(|ctx| decline_invite::decline_waiting(&mut ctx.work, invite, true))
    }

    /// Declines an invite: neither it nor its group is seen any more, from here on. It is followed in silence where
    /// [`Engine::follow_declined`] says so, until [`Engine::farewell_to`] was called for it. An invite to a group that we were in before is declined as by
    /// [`Engine::decline_and_leave`].
    ///
    /// # Errors
    /// [`Error::InviteNotFound`].
    pub fn decline_and_follow(&mut self, invite: &EventId) -> Result<()> {
        self.act(|ctx| decline_invite::decline_and_follow(&mut ctx.work, invite))
    }

    /// Says whether a group whose invite was declined is listened to from now on: [`Engine::interests`] has its relays then,
    /// which nothing else needs and which may never answer. Kept in memory; at first none is.
    pub fn follow_declined(&mut self, group: &GroupId, follow: bool) {
        match follow {
            true => self.hints.followed.insert(group.clone()),
            false => self.hints.followed.remove(group),
        };
    }

    /// Groups for which [`Engine::farewell_to`] is still to be called, and their routing ids.
    pub fn farewells(&mut self) -> Result<Vec<(GroupId, NostrGroupId)>> {
        self.look(|ctx| decline_invite::farewells(ctx.work.records.tx))
    }

    /// Tells a group whose invite was declined, by leaving it, as soon as all is processed that its relays have under
    /// the routing id `route`; then all of it is deleted. An admin cannot leave: nothing is told then. Returns false if
    /// the group has another routing id by now; events of relays under that one come first.
    ///
    /// # Errors
    /// [`Error::Settling`]: commits compete; call again then. [`Error::Store`].
    pub fn farewell_to(&mut self, group: &GroupId, route: &NostrGroupId) -> Result<bool> {
        self.act(|ctx| {
            if is_declined(ctx.work.records.tx, group)? {
                ctx.close_due(group)?;
            }
            decline_invite::farewell_to(&mut ctx.work, group, route)
        })
    }

    /// Filters to subscribe to, and their relays.
    pub fn interests(&mut self) -> Result<Vec<Interest>> {
        self.look(|ctx| subscriptions::interests(ctx.work.records.tx, ctx.work.records.call))
    }
}
