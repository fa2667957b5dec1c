//! Which group, which epoch key (protocol/events.md D1).

pub(crate) mod application_message;
pub(crate) mod candidate;
pub(crate) mod classify;
pub(crate) mod commit;
pub(crate) mod deliver;
pub(crate) mod locate_parent;
pub(crate) mod not_yet;
pub(crate) mod own_commit_returns;
pub(crate) mod peek;
pub(crate) mod proposal;
pub(crate) mod waiting_handshakes;

use mdk_store::{GroupRow, GroupStatus};
use mdk_wire::{ContentId, Event, GroupId, GroupMessage};

use crate::ctx::Ctx;
use crate::fork_choice::settling::undecided;
use crate::mls::decode;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::model::{membership, outcome};
use crate::state_store::buffered_events;

/// A group's message, and where it may belong.
pub(crate) struct Sealed {
    message: GroupMessage,
    /// Groups that its route may lead to.
    claims: Vec<GroupId>,
    known: bool,
    /// The first of them that we are in, and the first that another branch may bring back.
    live: Option<GroupRow>,
    between: Option<GroupRow>,
}

impl Sealed {
    pub(crate) fn take_claims(&mut self) -> Vec<GroupId> {
        std::mem::take(&mut self.claims)
    }
}

impl Ctx<'_> {
    /// What a commit counts as once the pass of its call is over: the verdict of waiting becomes one of taking effect.
    pub(crate) fn settled_verdict(
        &self,
        id: &GroupId,
        commit: &mdk_wire::ContentId,
        verdict: Verdict,
    ) -> Result<Verdict> {
        let Verdict::Deferred(outcome::DeferredReason::Rival) = verdict else {
            return Ok(verdict);
        };
        let taken = self.tx.states(id)?.iter().any(|n| n.canonical && n.commit == Some(*commit));
        Ok(if taken { Verdict::Applied } else { verdict })
    }

    /// Reads the envelope of a group's message; `None` if the event is known.
    pub(crate) fn read_envelope(&self, event: Event) -> Result<Option<Sealed>, Halt> {
        // rule: D1-1
        if self.tx.seen(event.id().as_bytes())?.is_some() {
            return Ok(None);
        }
        // rule: D1-4 (the envelope is judged before anything is looked up by it)
        let message = GroupMessage::parse(event)?;
        // rule: D1-2 an event of an unknown group is refused and not remembered
        // rule: B4-13 what came before the Welcome can come again after it
        let claims = self.tx.route_claims(&message.group)?;
        let known = !claims.is_empty();
        Ok(Some(Sealed { message, claims, known, live: None, between: None }))
    }

    /// Opens it by a key of one of the groups that claim its route, or notes that the group may take it later.
    pub(crate) fn open_in(
        &mut self,
        id: &GroupId,
        sealed: &mut Sealed,
    ) -> Result<Option<Opened>, Halt> {
        let row = self.groups().current_row(id)?;
        let message = &sealed.message;
        // Routing ids are public, so another group may claim one of ours: the keys tell.
        if let Some((bytes, opener)) = self.event_keys().open(&row, message)? {
            return Ok(Some(Opened {
                event_id: message.event.id(),
                sent_at: message.event.created_at(),
                event: Some(message.event.clone()),
                row,
                content_id: ContentId::of(&bytes),
                bytes,
                opener,
            }));
        }
        if !membership::is_over(row.status) {
            sealed.live.get_or_insert(row);
        } else if row.status != GroupStatus::Disbanded && undecided(&row.pass) {
            // rule: D6-7 while another branch may win, who is out waits for what belongs to it
            sealed.between.get_or_insert(row);
        }
        Ok(None)
    }

    /// What no key opens waits in the group that may take it later.
    pub(crate) fn keep_closed(&mut self, sealed: Sealed) -> Result<Verdict, Halt> {
        let reason = match (sealed.live.or(sealed.between), sealed.known) {
            (Some(row), _) => {
                return self.buffered().hold(
                    &row,
                    &sealed.message.event,
                    DeferredReason::Undecryptable,
                );
            }
            // rule: D1-3
            (None, true) => ("D1-3", "no longer in this group"),
            (None, false) => ("D1-2", "no group with this routing id"),
        };
        Err(Rejection::new(RejectCode::UnknownGroup, reason.0, reason.1).into())
    }

    /// Takes in what a group's message says.
    pub(crate) fn receive(&mut self, opened: Opened, sealed: &Sealed) -> Result<Verdict, Halt> {
        if matches!(opened.row.status, GroupStatus::Founding | GroupStatus::Unrecoverable) {
            return self.hold_opened(&opened, DeferredReason::PublishInProgress);
        }
        let handshake = decode::is_handshake(&opened.bytes);
        // rule: 2.4-12 only application messages expire
        if handshake && sealed.message.expiration.is_some() {
            let reason = "a handshake message with an expiration";
            return Err(Rejection::new(RejectCode::TransportRejected, "2.4-12", reason).into());
        }
        let id = opened.row.id.clone();
        let own = if handshake { self.own_commit(&opened)? } else { None };
        let verdict = match own {
            Some(verdict) => verdict,
            // rule: D1-9
            None if self.tx.seen(opened.content_id.as_bytes())?.is_some()
                || handshake && buffered_events::waits_there(self.tx, &opened)? =>
            {
                return Ok(Verdict::Duplicate);
            }
            None if self.groups().publishing(&opened.row)? => {
                return self.hold_opened(&opened, DeferredReason::PublishInProgress);
            }
            None => self.classify(opened)?,
        };
        self.effects.follow(FollowUp::CloseIfDue(id));
        Ok(verdict)
    }
}
