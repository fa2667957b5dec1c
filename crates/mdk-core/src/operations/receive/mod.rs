//! The group of an event, and the epoch key that opens it (protocol/events.md D1).

pub(crate) mod apply_commit;
pub(crate) mod apply_proposal;
pub(crate) mod candidate;
pub(crate) mod classify;
pub(crate) mod deliver;
pub(crate) mod locate_parent;
pub(crate) mod open_message;
pub(crate) mod own_commit_returns;
pub(crate) mod peek;
pub(crate) mod push_gossip;
pub(crate) mod refuse;
pub(crate) mod refused_commit;
pub(crate) mod retry_handshakes;

use mdk_store::{GroupRow, GroupStatus, Tx};
use mdk_wire::{ContentId, Event, GroupId, GroupMessage};

use crate::fork_choice::settling::undecided;
use crate::mls::decode;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::model::{membership, outcome};
use crate::state_store::buffered_events;
use crate::state_store::records::Records;

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

/// The verdict on a commit once the pass of its call is over: the verdict of waiting becomes one of taking effect.
pub(crate) fn settled_verdict(
    tx: &Tx<'_>,
    id: &GroupId,
    commit: &mdk_wire::ContentId,
    verdict: Verdict,
) -> Result<Verdict> {
    let Verdict::Deferred(outcome::DeferredReason::Rival) = verdict else {
        return Ok(verdict);
    };
    let taken = tx.states(id)?.iter().any(|n| n.canonical && n.commit == Some(*commit));
    Ok(if taken { Verdict::Applied } else { verdict })
}

/// Reads the envelope of a group's message; `None` if the event is known.
pub(crate) fn read_envelope(tx: &Tx<'_>, event: Event) -> Result<Option<Sealed>, Halt> {
    // rule: D1-1
    if tx.seen(event.id().as_bytes())?.is_some() {
        return Ok(None);
    }
    // rule: D1-4 (the envelope is judged before anything is looked up by it)
    let message = GroupMessage::parse(event)?;
    // rule: D1-2 an event of an unknown group is refused and not remembered
    // rule: B4-13 what came before the Welcome can come again after it
    let claims = tx.route_claims(&message.group)?;
    let known = !claims.is_empty();
    Ok(Some(Sealed { message, claims, known, live: None, between: None }))
}

/// Opens it by a key of one of the groups that claim its route, or notes that the group may take it later.
pub(crate) fn open_in(
    records: &mut Records<'_>,
    id: &GroupId,
    sealed: &mut Sealed,
) -> Result<Option<Opened>, Halt> {
    let row = records.groups().current_row(id)?;
    let message = &sealed.message;
    // Routing ids are public, so another group may claim one of ours: the keys tell.
    if let Some((bytes, opener)) = records.event_keys().open(&row, message)? {
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

/// Keeps an event that no key opens in the group that may take it later, or refuses it if there is none.
pub(crate) fn keep_closed(records: &mut Records<'_>, sealed: Sealed) -> Result<Verdict, Halt> {
    let reason = match (sealed.live.or(sealed.between), sealed.known) {
        (Some(row), _) => {
            return records.buffered().hold(
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

/// Takes in the content of a group's message.
pub(crate) fn receive(
    work: &mut Work<'_>,
    opened: Opened,
    sealed: &Sealed,
) -> Result<Verdict, Halt> {
    if opened.row.status.is_stuck() || opened.row.status == GroupStatus::Founding {
        return refuse::hold_opened(&mut work.records, &opened, DeferredReason::PublishInProgress);
    }
    let handshake = decode::is_handshake(&opened.bytes);
    // rule: 2.4-12 only application messages expire
    if handshake && sealed.message.expiration.is_some() {
        let reason = "a handshake message with an expiration";
        return Err(Rejection::new(RejectCode::TransportRejected, "2.4-12", reason).into());
    }
    let id = opened.row.id.clone();
    let own = if handshake {
        own_commit_returns::own_commit(&mut work.records, work.crypto, &opened)?
    } else {
        None
    };
    let verdict = match own {
        Some(verdict) => verdict,
        // rule: D1-9
        None if work.records.tx.seen(opened.content_id.as_bytes())?.is_some()
            || handshake && buffered_events::waits_there(work.records.tx, &opened)? =>
        {
            return Ok(Verdict::Duplicate);
        }
        None if work.records.groups().publishing(&opened.row)? => {
            return refuse::hold_opened(
                &mut work.records,
                &opened,
                DeferredReason::PublishInProgress,
            );
        }
        None => classify::classify(work, opened)?,
    };
    work.records.effects.follow(FollowUp::CloseIfDue(id));
    Ok(verdict)
}
