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
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::model::{membership, outcome};
use crate::state_store::buffered_events;

/// The group that a message is for.
enum Found {
    /// A key of that group opens it.
    Opened(Box<Opened>),
    /// None does yet: it waits there.
    Closed(Box<GroupRow>),
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

    pub(crate) fn process_group_message(&mut self, event: Event) -> Result<Verdict, Halt> {
        // rule: D1-1
        if self.tx.seen(event.id().as_bytes())?.is_some() {
            return Ok(Verdict::Duplicate);
        }
        // rule: D1-4 (the envelope is judged before anything is looked up by it)
        let message = GroupMessage::parse(event)?;
        let opened = match self.find_group(&message)? {
            Found::Opened(opened) => *opened,
            Found::Closed(row) => {
                return self.buffered().hold(&row, &message.event, DeferredReason::Undecryptable);
            }
        };
        if matches!(opened.row.status, GroupStatus::Founding | GroupStatus::Unrecoverable) {
            return self.hold_opened(&opened, DeferredReason::PublishInProgress);
        }
        let handshake = decode::is_handshake(&opened.bytes);
        // rule: 2.4-12 only application messages expire
        if handshake && message.expiration.is_some() {
            let reason = "a handshake message with an expiration";
            return Err(Rejection::new(RejectCode::TransportRejected, "2.4-12", reason).into());
        }
        let (id, content_id) = (opened.row.id.clone(), opened.content_id);
        let own = if handshake { self.own_commit(&opened)? } else { None };
        let verdict = match own {
            Some(verdict) => verdict,
            // rule: D1-9
            None if self.tx.seen(content_id.as_bytes())?.is_some()
                || handshake && buffered_events::waits_there(self.tx, &opened)? =>
            {
                return Ok(Verdict::Duplicate);
            }
            None if self.groups().publishing(&opened.row)? => {
                return self.hold_opened(&opened, DeferredReason::PublishInProgress);
            }
            None => self.classify(opened)?,
        };
        self.close_due(&id)?;
        Ok(self.settled_verdict(&id, &content_id, verdict)?)
    }

    /// The group that a message is for, and what is in it, if a key of that group opens it.
    fn find_group(&mut self, message: &GroupMessage) -> Result<Found, Halt> {
        // rule: D1-2 an event of an unknown group is refused and not remembered
        // rule: B4-13 what came before the Welcome can come again after it
        let claims = self.tx.route_claims(&message.group)?;
        let known = !claims.is_empty();
        let (mut live, mut between) = (None, None);
        for id in claims {
            // What came after the end of a pass is no part of it.
            self.close_due(&id)?;
            let row = self.groups().current_row(&id)?;
            // Routing ids are public, so another group may claim one of ours: the keys tell.
            if let Some((bytes, opener)) = self.event_keys().open(&row, message)? {
                return Ok(Found::Opened(Box::new(Opened {
                    event_id: message.event.id(),
                    sent_at: message.event.created_at(),
                    event: Some(message.event.clone()),
                    row,
                    content_id: ContentId::of(&bytes),
                    bytes,
                    opener,
                })));
            }
            if !membership::is_over(row.status) {
                live.get_or_insert(row);
            } else if row.status != GroupStatus::Disbanded && undecided(&row.pass) {
                // rule: D6-7 while another branch may win, who is out waits for what belongs to it
                between.get_or_insert(row);
            }
        }
        match live.or(between) {
            Some(row) => Ok(Found::Closed(Box::new(row))),
            // rule: D1-3
            None if known => {
                let reason = "no longer in this group";
                Err(Rejection::new(RejectCode::UnknownGroup, "D1-3", reason).into())
            }
            None => {
                let reason = "no group with this routing id";
                Err(Rejection::new(RejectCode::UnknownGroup, "D1-2", reason).into())
            }
        }
    }
}
