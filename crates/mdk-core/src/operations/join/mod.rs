//! Joining from a Welcome (protocol/welcomes.md B3, B4).
//!
//! The MLS join happens when the Welcome arrives, so that no epoch is missed while the user thinks about it.

pub(crate) mod competing_invite;
mod enter_group;
pub(crate) mod evidence;
pub(crate) mod invitation;
pub(crate) mod inviters;
pub(crate) mod other_branch;
pub(crate) mod retry_welcomes;

use mdk_store::{GroupRow, GroupStatus, NodeRow, Seen};
use mdk_wire::{Event, EventId, GroupId, WelcomeRumor, gift_wrap, kind, welcome};
use openmls::group::StagedWelcome;

use crate::mls::capabilities;
use crate::mls::identity::Identity;
use crate::mls::welcome::{
    encoding, own_reference, vouched, vouched_before, welcome_error, welcome_of,
};
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::halt::{Halt, reject};
use crate::model::invites::{Earlier, Offer};
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::operations::join::invitation::{Invitation, Joined};
use crate::policy::invite::{Evidence, InviteVerdict, KNOWN, Maker, Unplaced, judge_invite};
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;
use crate::state_store::{candidates, pending_welcomes};

/// A gift wrap: verified, unwrapped, judged, joined; or refused without a trace.
pub(crate) fn process_gift_wrap(work: &mut Work<'_>, event: &Event) -> Result<Verdict, Halt> {
    // rule: B4-1 an event, and a Welcome, counts once
    if work.records.tx.seen(event.id().as_bytes())?.is_some() {
        return Ok(Verdict::Duplicate);
    }
    let rumor = unwrap_welcome(work.records.call, work.identity, event)?;
    // (by the part that nobody can change in it)
    let content_id = welcome::content_id(&rumor.mls_message).map_err(encoding)?;
    if work.records.tx.seen(content_id.as_bytes())?.is_some() {
        return Ok(Verdict::Duplicate);
    }
    if !inviters::may_invite(work, &rumor.sender)? {
        // (one that was held stays so)
        work.records.input.kept_raw = true;
        return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
    }
    let joined = join(work, event.id(), &rumor)?;
    if let Joined::Wait(id) = joined {
        return let_wait(work, &id, event, &rumor);
    }
    work.records.tx.mark_seen(event.id().as_bytes(), Seen::Done)?;
    work.records.tx.mark_seen(content_id.as_bytes(), Seen::Done)?;
    work.records.tx.unhold(&event.id())?;
    match joined {
        Joined::Invited(row, before) => tell_invited(&mut work.records, &row, before, event),
        Joined::Rival(node) => take_in_rival(&mut work.records, *node, event),
        Joined::Wait(_) => Ok(Verdict::Deferred(DeferredReason::FutureEpoch)),
    }
}

/// The Welcome in a gift wrap to us.
fn unwrap_welcome(
    call: Call<'_>,
    identity: &Identity,
    event: &Event,
) -> Result<WelcomeRumor, Halt> {
    // rule: B3-1
    let named = |t: &&Vec<String>| t.first().is_some_and(|name| name == "p");
    let mut recipients = event.tags().iter().filter(named);
    let me = call.me().to_hex();
    let addressed = recipients.next().is_some_and(|t| t.get(1).is_some_and(|key| *key == me));
    if !addressed || recipients.next().is_some() {
        return Err(reject(
            RejectCode::WrongRecipient,
            "B3-1",
            "the gift wrap is not addressed to us",
        ));
    }
    let unwrapped = gift_wrap::unwrap(event, &identity.keys)?;
    // rule: B3-8 the rumor is of kind 444.
    if unwrapped.rumor.kind != kind::WELCOME {
        return Err(reject(RejectCode::TransportRejected, "B3-8", "the rumor is not a Welcome"));
    }
    // B3-5 to B3-7 are the reader's. A fault inside the encryption is no fault of the transport.
    Ok(welcome::parse(unwrapped).map_err(|broken| Rejection {
        code: RejectCode::InvalidEncoding,
        ..Rejection::from(broken)
    })?)
}

fn let_wait(
    work: &mut Work<'_>,
    id: &GroupId,
    event: &Event,
    rumor: &WelcomeRumor,
) -> Result<Verdict, Halt> {
    if !competing_invite::may_wait(work, id, event.id(), rumor)? {
        return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
    }
    let verdict = retry_welcomes::hold_welcome(&mut work.records, id, event)?;
    if verdict == Verdict::Deferred(DeferredReason::FutureEpoch) {
        competing_invite::ask_beside(work, id, event.id(), rumor)?;
    }
    Ok(verdict)
}

fn take_in_rival(records: &mut Records<'_>, node: NodeRow, event: &Event) -> Result<Verdict, Halt> {
    let (id, epoch) = (node.group.clone(), node.epoch);
    // Messages on that branch are for us from that epoch on. The time of joining stays: messages from before the first
    // Welcome of either branch cannot be told from lost ones.
    records.edit_row(&id, |row| {
        row.join_epoch = row.join_epoch.min(epoch);
        row.pass.floor = row.pass.floor.min(epoch);
    })?;
    let verdict = candidates::add_rival(records, node)?;
    pending_welcomes::keep_until_answered(records.groups(), records.now(), &id, event)?;
    records.effects.follow(FollowUp::CloseIfDue(id));
    Ok(verdict)
}

fn tell_invited(
    records: &mut Records<'_>,
    row: &GroupRow,
    before: Option<Box<Earlier>>,
    event: &Event,
) -> Result<Verdict, Halt> {
    let welcome = *event.id().as_bytes();
    let invited = if row.status == GroupStatus::Reinvited {
        Stored::Reinvited { welcome, after: records.tx.newest_of(&row.id)? }
    } else {
        Stored::Invited { welcome }
    };
    records.log().emit(&row.id, &welcome, &invited)?;
    if let Some(before) = before {
        records.log().emit(&row.id, &welcome, &Stored::Earlier(before))?;
    }
    records.tx.drop_kept(&row.id)?;
    pending_welcomes::keep_until_answered(records.groups(), records.now(), &row.id, event)?;
    // rule: B4-13 what had waited for another branch may be of the new membership
    records.effects.follow(FollowUp::RetryBuffered(row.id.clone()));
    Ok(Verdict::Applied)
}

// rule: 2.6-8
/// B4 steps 2 to 12. The caller's savepoint makes a refusal leave the KeyPackage as it was.
fn join(work: &mut Work<'_>, invite: EventId, rumor: &WelcomeRumor) -> Result<Joined, Halt> {
    let mls_welcome = welcome_of(&rumor.mls_message)?;
    // rule: B4-3 it is for a KeyPackage of ours whose private part we have
    let reference = own_reference(work.records.tx, &rumor.mls_message)?;
    let bundle = work.records.tx.mls_key_package_bytes(&reference)?.ok_or(reject(
        RejectCode::WrongRecipient,
        "B4-3",
        "no private KeyPackage for it",
    ))?;

    let provider = work.provider();
    let config = capabilities::join_config(work.records.call.config);
    let mut builder = StagedWelcome::build_from_welcome(&provider, &config, mls_welcome)
        .map_err(|e| welcome_error(&e))?;
    // (the id, yet unverified, may refuse but never admit)
    let info = builder.processed_welcome().unverified_group_info();
    let (claimed, epoch) = (info.group_id().as_slice().to_vec(), info.epoch().as_u64());
    let id = GroupId::from_bytes(&claimed).map_err(|_| {
        reject(RejectCode::InvalidEncoding, "B4-4", "group id of unacceptable length")
    })?;
    let offer = Offer { invite, epoch, made: rumor.created_at };
    let invitation = Invitation { id, offer, rumor, reference, bundle };

    let (known, mut seen, verdict) = judge(&mut work.records, &invitation)?;
    match verdict {
        InviteVerdict::Show => {}
        InviteVerdict::Replace => {
            enter_group::clear_ended(&mut work.records, &invitation.id, known.as_ref())?
        }
        InviteVerdict::Open => builder = builder.replace_old_group(),
        verdict => return stay(work, &invitation, known.as_ref(), verdict),
    }
    // rule: B4-6 the group opens and verifies; lifetimes of others' leaves (RFC 9420: recommended) are no condition
    let staged = builder.skip_lifetime_validation().build().map_err(|e| welcome_error(&e))?;
    if verdict == InviteVerdict::Open
        && let Some(row) = &known
    {
        seen.maker = Some(maker(work, row, &staged)?);
        match judge_invite(Some(row), &invitation.offer, &seen) {
            InviteVerdict::LeadAway(behind) => {
                enter_group::follow_away(&mut work.records, row, behind, &invitation)?
            }
            verdict => return stay(work, &invitation, Some(row), verdict),
        }
    }
    enter_group::enter_invited(work, &invitation, known, staged)
}

/// Judges a Welcome by the row of its group, once an unanswered invitation is put away for it.
fn judge(
    records: &mut Records<'_>,
    invitation: &Invitation<'_>,
) -> Result<(Option<GroupRow>, Evidence, InviteVerdict)> {
    let Invitation { id, offer, .. } = invitation;
    let known = records.tx.group(id)?;
    let seen = evidence::evidence(records, id, known.as_ref(), offer)?;
    let verdict = judge_invite(known.as_ref(), offer, &seen);
    let (InviteVerdict::PutAway, Some(row)) = (&verdict, &known) else {
        return Ok((known, seen, verdict));
    };
    records.memberships().forget_unanswered(row.clone())?;
    let known = records.tx.group(id)?;
    let seen =
        Evidence { unanswered: false, ..evidence::evidence(records, id, known.as_ref(), offer)? };
    let verdict = judge_invite(known.as_ref(), offer, &seen);
    Ok((known, seen, verdict))
}

/// A Welcome by which nothing is joined.
fn stay(
    work: &mut Work<'_>,
    invitation: &Invitation<'_>,
    known: Option<&GroupRow>,
    verdict: InviteVerdict,
) -> Result<Joined, Halt> {
    if let InviteVerdict::Refuse(no) = verdict {
        return Err(no.into());
    }
    let row = known.ok_or(Error::Internal("nothing is known of the group"))?;
    // OpenMLS has dropped the bundle; the Welcome needs it when its time comes.
    work.records.tx.mls_put_key_package_bytes(&invitation.reference, invitation.bundle.expose())?;
    let (no, or) = match verdict {
        InviteVerdict::Compare { after, or } => {
            match other_branch::join_rival(
                work,
                row,
                &invitation.reference,
                invitation.rumor,
                after,
            ) {
                Err(Halt::Rejected(no)) if no.code == RejectCode::AlreadyApplied => (no, or),
                joined => return joined,
            }
        }
        InviteVerdict::Unplaced(or) => (KNOWN, or),
        _ => return Err(Error::Internal("a Welcome was judged twice").into()),
    };
    let waits = match or {
        Unplaced::Wait => true,
        Unplaced::Ask => {
            competing_invite::is_question(work, row, invitation.offer.invite, invitation.rumor)?
        }
        Unplaced::Refuse => false,
    };
    if waits { Ok(Joined::Wait(invitation.id.clone())) } else { Err(no.into()) }
}

/// The maker of a Welcome.
fn maker(work: &mut Work<'_>, row: &GroupRow, staged: &StagedWelcome) -> Result<Maker> {
    Ok(match vouched(work, row, staged)? {
        true => Maker::Admin,
        false if vouched_before(work.copies(), row, staged)? => Maker::FormerAdmin,
        false => Maker::Other,
    })
}
