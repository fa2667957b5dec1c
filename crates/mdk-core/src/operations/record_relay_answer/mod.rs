//! The answers of relays, and their consequences.

pub(crate) mod echo;
pub(crate) mod noted;

use mdk_store::{
    CommitStatus, InputClass, InputState, OutgoingEnd, OutgoingPurpose, OutgoingRow, PendingRow,
    SendState, TargetRow, Tx,
};
use mdk_wire::GroupId;

use crate::mls::own_commit;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::follow_up::{FollowUp, Published};
use crate::model::outbox::{CommitEnd, CommitState, OutboxChange, RelayVerdict};
use crate::model::relay_urls;
use crate::model::values::Delivery;
use crate::operations::record_relay_answer::noted::{Noted, note};
use crate::state_store::key_package_plans;
use crate::state_store::outbox::{MAX_TARGETS, accepted, add_target, errors, refused};
use crate::state_store::records::Records;

/// The time for which no leave is answered again after every relay has refused our answer, in milliseconds.
const ANSWER_REFUSED_MILLIS: u64 = 600_000;

pub(crate) fn set_outbox_relays(tx: &Tx<'_>, seq: i64, relays: &[String]) -> Result<Noted> {
    let relays = &relay_urls::checked(relays, MAX_TARGETS)?;
    let Some(mut row) = open_row(tx, seq)? else { return Ok(Noted::Finished) };
    let mut targets: Vec<TargetRow> = Vec::with_capacity(relays.len());
    for relay in relays {
        match row.targets.iter().find(|known| known.relay == *relay) {
            Some(known) if targets.iter().all(|t| t.relay != *relay) => {
                targets.push(known.clone());
            }
            _ => add_target(&mut targets, relay),
        }
    }
    for known in row.targets {
        if known.state == SendState::Accepted && targets.iter().all(|t| t.relay != known.relay) {
            targets.push(known);
        }
    }
    row.targets = targets;
    Ok(Noted::Answered { row: Box::new(row), first: false })
}

fn open_row(tx: &Tx<'_>, seq: i64) -> Result<Option<OutgoingRow>> {
    Ok(tx.outgoing_at(seq)?.filter(|row| row.finished_at.is_none()))
}

pub(crate) fn outbox_result(
    tx: &Tx<'_>,
    seq: i64,
    relay: &str,
    verdict: RelayVerdict,
) -> Result<Noted> {
    // An answer may come late: the message was cancelled, or has expired.
    let Some(mut row) = open_row(tx, seq)? else {
        // rule: OB-16
        if let Some(row) = tx.outgoing_at(seq)?.filter(|_| verdict == RelayVerdict::Accepted) {
            return echo::outbox_echo(tx, &row.event_id, relay, &|known| known == relay);
        }
        return Ok(Noted::Finished);
    };
    let had = accepted(&row);
    if !note(&mut row, relay, verdict) {
        return Ok(Noted::Nothing);
    }
    let first = !had && accepted(&row);
    Ok(Noted::Answered { row: Box::new(row), first })
}

/// The commit of ours that a relay has for the first time, if it is one. Its row is written, or confirming it would take
/// the row out, if another branch turns out to win.
pub(crate) fn first_published(tx: &Tx<'_>, row: &OutgoingRow) -> Result<Option<i64>> {
    if row.purpose != OutgoingPurpose::Commit {
        return Ok(None);
    }
    let pending = row.pending.ok_or(Error::Unrecoverable("outbox"))?;
    tx.put_outgoing(row)?;
    Ok(Some(pending))
}

/// Carries out the consequences of the answers, and writes the row. `first` if a relay has it for the first time; `end`
/// is then the end of the commit, if it is one. Returns a commit that nobody has taken and that is on a relay all the
/// same, with its row: it is settled next.
pub(crate) fn conclude(
    records: &mut Records<'_>,
    mut row: OutgoingRow,
    first: bool,
    end: Option<CommitEnd>,
    change: &mut OutboxChange,
) -> Result<Option<(OutgoingRow, i64)>> {
    let open = row.targets.iter().any(|target| target.state == SendState::Waiting);
    // The end of a Welcome: its sender was told that relays refused the invite.
    let was_refused = row.end.take_if(|_| row.purpose == OutgoingPurpose::Welcome).is_some();
    if first {
        // rule: OB-6 the first relay that has it decides
        accepted_first(records, &row, change)?;
        // rule: OB-9 a commit that cannot become true any more is not spread further
        if end == Some(CommitEnd::Lost) {
            row.end = Some(OutgoingEnd::Lost);
        }
        change.commit = end;
        if was_refused {
            records.invite_deliveries().tell_invite(&row, Delivery::Accepted)?;
        }
    }
    if refused(&row) {
        return records.invite_deliveries().invite_refused(row, change).map(|()| None);
    }
    if row.end.is_none() && !open && !row.targets.is_empty() {
        let end = if accepted(&row) { OutgoingEnd::Accepted } else { OutgoingEnd::Refused };
        row.end = Some(end);
    }
    if row.end.is_none() {
        // Asked to go elsewhere as well, it has still been refused.
        if was_refused && !accepted(&row) {
            row.end = Some(OutgoingEnd::Refused);
        }
        records.tx.put_outgoing(&row)?;
        return Ok(None);
    }
    change.finished = true;
    // This comes before the consequences: a discarded commit takes its unfinished row with it.
    records.outbox().finish(&mut row)?;
    if row.end == Some(OutgoingEnd::Refused) {
        // rule: OB-7 when every relay has refused for good, nothing is left to hope for
        return refused_by_all(records, row, change);
    }
    Ok(None)
}

fn accepted_first(
    records: &mut Records<'_>,
    row: &OutgoingRow,
    change: &mut OutboxChange,
) -> Result<()> {
    match row.purpose {
        OutgoingPurpose::Message => {
            records.deliveries().change_delivery(row, Delivery::Accepted)?;
            change.delivery = Some(Delivery::Accepted);
        }
        // It is not handed out again after a restart.
        OutgoingPurpose::Welcome => records.tx.drop_welcome(&row.event_id)?,
        OutgoingPurpose::KeyPackage => {
            key_package_plans::promote_key_package(records.tx, records.call, &row.event_id)?
        }
        OutgoingPurpose::Commit
        | OutgoingPurpose::Proposal
        | OutgoingPurpose::PushTokens
        | OutgoingPurpose::List => {}
    }
    Ok(())
}

/// The end of a commit of ours that a relay has; `None` if it is still to be confirmed.
pub(crate) fn known_end(records: &Records<'_>, pending: i64) -> Result<Option<CommitEnd>> {
    // Forgotten with its epoch, long after it became true: one that did not takes its row along.
    let Some(commit) = records.tx.pending(pending)? else {
        return Ok(Some(CommitEnd::Confirmed));
    };
    match commit.status {
        // Its echo, or the user, was faster.
        CommitStatus::Confirmed => return end_of(records, &commit).map(Some),
        CommitStatus::Discarded => return Ok(Some(CommitEnd::Lost)),
        CommitStatus::Prepared | CommitStatus::Exposed => {}
    }
    // The group may have become unrecoverable meanwhile: nothing can be confirmed in it any more.
    let group = records.tx.group(&commit.group)?;
    if group.is_none_or(|group| group.status.is_stuck()) {
        records.tx.set_commit_status(pending, CommitStatus::Discarded)?;
        records.tx.drop_welcomes(pending)?;
        return Ok(Some(CommitEnd::Lost));
    }
    Ok(None)
}

/// A commit of ours that a relay has and that cannot become true any more. Left as it is, it would hold the group for
/// ever.
pub(crate) fn let_go_of_lost(work: &mut Work<'_>, pending: i64) -> Result<()> {
    let Some(commit) = work.records.tx.pending(pending)? else { return Ok(()) };
    let mut group = work.take(&commit.group)?;
    own_commit::discard_in_place(work, &mut group, pending)?;
    work.put(group);
    work.records.effects.follow(FollowUp::RetryBuffered(commit.group.clone()));
    work.records.effects.follow(FollowUp::CloseIfDue(commit.group));
    Ok(())
}

/// The row of a commit that nobody had taken, and that was on a relay.
pub(crate) fn was_taken(tx: &Tx<'_>, mut row: OutgoingRow) -> Result<()> {
    row.end = Some(OutgoingEnd::Accepted);
    Ok(tx.put_outgoing(&row)?)
}

/// A commit that was true is lost once another branch has won.
pub(crate) fn end_of(records: &Records<'_>, commit: &PendingRow) -> Result<CommitEnd> {
    let lost = records.commits().is_withdrawn(commit)?;
    Ok(if lost { CommitEnd::Lost } else { CommitEnd::Confirmed })
}

fn refused_by_all(
    records: &mut Records<'_>,
    row: OutgoingRow,
    change: &mut OutboxChange,
) -> Result<Option<(OutgoingRow, i64)>> {
    match row.purpose {
        OutgoingPurpose::Message => {
            records.deliveries().change_delivery(&row, Delivery::Failed)?;
            change.delivery = Some(Delivery::Failed);
        }
        OutgoingPurpose::Commit => {
            let pending = row.pending.ok_or(Error::Unrecoverable("outbox"))?;
            let Some(commit) = records.tx.pending(pending)? else { return Ok(None) };
            match commit.status {
                CommitStatus::Prepared => {
                    if commit.automatic {
                        postpone_answers(records.tx, records.call, &commit.group)?;
                    }
                    let settled = FollowUp::SettleOwnCommit(pending, Published::Nowhere);
                    records.effects.follow(settled);
                    change.commit = Some(CommitEnd::Discarded);
                }
                // rule: OB-10 a commit that came back from a relay is on one, whatever others say
                CommitStatus::Exposed => return Ok(Some((row, pending))),
                CommitStatus::Confirmed | CommitStatus::Discarded => {}
            }
        }
        OutgoingPurpose::Welcome
        | OutgoingPurpose::Proposal
        | OutgoingPurpose::KeyPackage
        | OutgoingPurpose::PushTokens
        | OutgoingPurpose::List => {}
    }
    Ok(None)
}

// rule: OB-11 an answer to a leave that every relay refuses is not made anew at once
fn postpone_answers(tx: &Tx<'_>, call: Call<'_>, group: &GroupId) -> Result<()> {
    let later = call.now_millis.saturating_add(ANSWER_REFUSED_MILLIS);
    for mut input in tx.inputs(group)? {
        let leave = input.class == InputClass::Proposal && input.state == InputState::Verified;
        if leave && input.due_at.is_some_and(|due| due < later) {
            input.due_at = Some(later);
            tx.put_input(&input, u32::MAX)?;
        }
    }
    Ok(())
}

pub(crate) fn commit_state(records: &Records<'_>, pending: i64) -> Result<CommitState> {
    let commit = records.tx.pending(pending)?;
    let status = commit.as_ref().map(|commit| commit.status);
    match (&commit, status) {
        (_, Some(CommitStatus::Prepared | CommitStatus::Exposed)) => {
            return Ok(CommitState::Waiting);
        }
        (Some(commit), Some(CommitStatus::Confirmed)) => {
            return Ok(match end_of(records, commit)? {
                CommitEnd::Lost => CommitState::Lost,
                _ => CommitState::Confirmed,
            });
        }
        _ => {}
    }
    let rows = records.tx.outgoing_of_commit(pending)?;
    let row = rows.iter().find(|row| row.purpose == OutgoingPurpose::Commit);
    Ok(match row.map(|row| (row, row.end)) {
        Some((row, Some(OutgoingEnd::Refused))) => CommitState::Refused { reasons: errors(row) },
        // Forgotten with its epoch or with its group, maybe before every relay has it. One that did not become true
        // takes its row along.
        Some((_, None | Some(OutgoingEnd::Accepted))) if status.is_none() => CommitState::Confirmed,
        _ => CommitState::Lost,
    })
}
