//! Messages that waited so long that their epoch is gone.
//!
//! Members keep the keys of the last five epochs (protocol/branches.md E2-2). A message that was encrypted before them
//! cannot be read by anybody who has followed the group, so publishing it would be losing it. If no relay is known to
//! have it, it is encrypted again where the group is now: the same payload, and so the same inner id. "Retry
//! byte-identically" (protocol/messages.md C3) is for messages that may still be read. If a relay has taken the old
//! form after all, with its answer lost, a reader of it knows the id and shows it once (rule: 2.5-10). A member who has
//! come since can read the message: it is said now, not then.
//!
//! The same holds for a message that was encrypted in a membership that another one has replaced (B4-15, B4-16, B4-25).
//! Nobody else may ever have been in its state, and its epoch says nothing.

pub(crate) mod date;

use mdk_store::{MessageRow, MessageStatus, OutgoingEnd, OutgoingRow, Seen};
use mdk_wire::{GroupId, UnsignedEvent};

use crate::media::attachments;
use crate::mls::work::Work;
use crate::mls::{encrypt, own_commit};
use crate::model::error::Result;
use crate::model::membership;
use crate::model::outbox::OutboxPurpose;
use crate::model::values::Delivery;
use crate::state_store::deliveries::{give_up, waits};
use crate::state_store::outbox::Letter;
use crate::state_store::removals_of_others;
use crate::state_store::stale_outgoing::{Late, is_out_of_reach, message_of};

/// Whether the group can be written in now.
pub(crate) fn may_say_again(work: &mut Work<'_>, id: &GroupId) -> Result<bool> {
    if work.records.after_restore().require_renewed(id).is_err()
        || removals_of_others::require_uncontested(&mut work.records, id).is_err()
        || work.records.speaking().check_may_speak(id).is_err()
    {
        return Ok(false);
    }
    if membership::require_active(&work.records.groups().current_row(id)?).is_err() {
        return Ok(false);
    }
    let group = work.take_active(id)?;
    let may = own_commit::may_send(work.records.tx, &group).is_ok();
    work.put(group);
    Ok(may)
}

/// Encrypts a message of ours again, in the epoch of now, in place of the event that waits. False when its content
/// is gone, or it carries files.
pub(crate) fn say_again(
    work: &mut Work<'_>,
    waiting: &OutgoingRow,
    mut row: MessageRow,
) -> Result<bool> {
    // rule: 2.10-17 its files open with a secret of the epoch that they were encrypted in: said in another, they would
    // be closed to everybody
    if !attachments::attachments(row.kind, &row.tags).is_empty() {
        return Ok(false);
    }
    let payload = UnsignedEvent {
        pubkey: row.sender,
        created_at: row.created_at,
        kind: row.kind,
        tags: std::mem::take(&mut row.tags),
        content: std::mem::take(&mut row.content),
    };
    // The id stays, so that a member who has the message shows it once.
    if payload.id() != row.id {
        return Ok(false);
    }
    let mut group = work.take_active(&row.group)?;
    let kept = work.records.expiry().kept(&row.group, row.kind, row.target.as_ref())?;
    let sealed =
        encrypt::encrypt(work, &mut group, &payload.to_json_with(&row.id), row.created_at, kept)?;
    row.content_id = sealed.content_id;
    row.outer_id = sealed.event.id();
    row.epoch = group.row.epoch;
    row.authenticator = group.row.authenticator;
    row.expires_at = sealed.expires_at;
    let relays = group.row.relays.clone();
    work.put(group);
    work.records.tx.mark_seen(row.outer_id.as_bytes(), Seen::OwnEcho)?;
    // To the end of the history, where others see it, and where it counts for the state that it is now said in.
    work.records.tx.say_message_again(&row)?;
    work.records.tx.drop_outgoing(waiting.seq)?;
    let purpose = OutboxPurpose::Message { message_id: row.id };
    let letter = Letter { purpose, group: Some(&row.group), event: &sealed.event, relays: &relays };
    // (as old as the message was: commits without end put it off no longer, rule: OB-20)
    work.records.outbox().put_in(&letter, None, waiting.created_at)?;
    Ok(true)
}

/// Said in place of a relay's words.
const UNREADABLE: &str = "nobody in the group could read it any more";

// rule: OB-17 what nobody could read any more is encrypted again, or has failed; it is not published
/// Encrypts messages again that are too old, and the messages behind them, so that the order stays.
pub(crate) fn renew_stale(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    if membership::require_active(&work.records.groups().current_row(id)?).is_ok()
        && !may_say_again(work, id)?
    {
        return Ok(());
    }
    let row = work.records.groups().current_row(id)?;
    let active = membership::require_active(&row).is_ok();
    // While the invitation is not answered nobody knows whether there is somebody to say it to.
    if membership::is_invited(row.status) {
        return Ok(());
    }
    let mut behind = false;
    for mut waiting in work.records.tx.outgoing_of_group(id)? {
        if !waits(&waiting) {
            continue;
        }
        let Some(message) = message_of(work.records.tx, &waiting)? else { continue };
        let stale = is_out_of_reach(work.records.groups(), id, &message)?;
        behind |= stale;
        // It is of this state, and perhaps out: it would be read twice.
        let twice = message.authenticator == row.authenticator && waiting.attempts > 0;
        if !behind || twice {
            continue;
        }
        let whole = message.status == MessageStatus::Valid;
        if !(active && whole && say_again(work, &waiting, message)?) && stale {
            give_up(&mut waiting, UNREADABLE);
            waiting.end = Some(OutgoingEnd::Refused);
            work.records.outbox().finish(&mut waiting)?;
            work.records.deliveries().change_delivery(&waiting, Delivery::Failed)?;
        }
    }
    Ok(())
}

pub(crate) fn renew_late(work: &mut Work<'_>, late: &Late) -> Result<()> {
    late.stale.iter().try_for_each(|group| renew_stale(work, group))?;
    late.misdated.iter().try_for_each(|group| date::date_anew(&mut work.records, group))
}
