//! A commit of ours that a relay has: it becomes true.

use mdk_store::{CommitStatus, GroupStatus, NodeRow, PendingRow, Seen, Tx};
use mdk_wire::{Event, GroupId};

use crate::fork_choice::settling::touch;
use crate::mls::loaded_groups::Judged;
use crate::mls::stage_commit::self_removed;
use crate::mls::work::Work;
use crate::mls::{enter_epoch, outgoing_welcomes, settings, stage_commit};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::stored_event::stored_event;
use crate::state_store::log_entry::Stored;
use crate::state_store::retained_states;

pub(crate) fn confirm_founding(work: &mut Work<'_>, pending: &PendingRow) -> Result<GroupId> {
    let mut group = work.take(&pending.group)?;
    group.row.status = GroupStatus::Active;
    work.records.tx.update_group(&group.row)?;
    work.records.tx.set_commit_status(pending.id, mdk_store::CommitStatus::Confirmed)?;
    work.records.tx.release_welcomes(pending.id)?;
    outgoing_welcomes::post_welcomes(&mut work.records, work.identity, pending)?;
    work.put(group);
    work.records.log().emit(&pending.group, b"founded", &Stored::Joined)?;
    work.records.effects.follow(FollowUp::RetryBuffered(pending.group.clone()));
    Ok(pending.group.clone())
}

/// A relay has the commit: merge it (C2, "Confirm"). A caller who cannot know whether that was done may do it again.
pub(crate) fn confirm(work: &mut Work<'_>, id: i64) -> Result<GroupId> {
    if let Some(done) = work.records.commits().confirmed(id)? {
        return Ok(done.group);
    }
    let pending = work.records.commits().unresolved(id)?;
    if pending.event_json.is_none() {
        return confirm_founding(work, &pending);
    }
    let mut group = work.take(&pending.group)?;
    if group.row.authenticator != pending.source_auth || group.mls.pending_commit().is_none() {
        return Err(Error::CommitLost);
    }
    let Judged { commit, class, result } = match group.judged.take() {
        Some(judged) => judged,
        None => stage_commit::judge_own(&mut group)?,
    };
    let before = settings::settings(group.mls.public_group().group_context())
        .map_err(|_| Error::Internal("own state does not decode"))?;
    let state = work.records.states().snapshot(&group.row)?;
    // rule: F1-3 what came while it was being published is taken up before the states that open it are let go:
    // the pass that keeps them is over as soon as that is done
    let came = !pending.automatic
        && !work.records.input.batching
        && group.row.pass.opened == 0
        && work.records.tx.held_count(&pending.group)? > 0;
    if came {
        touch(&mut group.row.pass, pending.source_epoch, work.records.call.now_millis);
    }
    let floor = retained_states::floor(&group.row.pass, group.row.epoch.saturating_add(1));
    work.records.gaps().report_skipped(&group.row, floor)?;
    work.records.states().retain(&group.row, &state)?;
    let left = self_removed(&commit, &group);
    group.mls.merge_pending_commit(&work.provider()).map_err(Error::bug("merging our commit"))?;
    group.merged(result)?;
    group.row.self_updated_at = work.records.now();
    let step = Step {
        digest: pending.digest,
        committer: Some(work.records.me()),
        privileged: class.privileged,
        left,
        sent_at: pending.created_at,
    };
    enter_epoch::finish_epoch(&mut work.records, work.crypto, &mut group, &before, &step)?;
    work.records.tx.confirm_commit(id)?;
    work.records.after_restore().note_renewed(&pending.group, id)?;
    if !pending.welcome.is_empty() {
        work.records.tx.release_welcomes(id)?;
        outgoing_welcomes::post_welcomes(&mut work.records, work.identity, &pending)?;
    }
    // Under another event it is known by the row of the commit, which stays as long as anything can open it.
    if let Some(event) = &pending.event_id {
        work.records.tx.mark_seen(event.as_bytes(), Seen::OwnEcho)?;
    }
    let group_id = pending.group.clone();
    let auth = group.row.authenticator;
    work.put(group);
    work.records.effects.follow(FollowUp::RetryBuffered(group_id.clone()));
    if came {
        work.records.effects.follow(FollowUp::EndHold(group_id.clone(), auth));
    }
    work.records.effects.follow(FollowUp::CloseIfDue(group_id.clone()));
    Ok(group_id)
}

/// An automatic commit that gave way to another and that a relay has after all, with its event: it is taken up as that
/// event would be when it comes back, since others may follow it (C2-7).
pub(crate) fn published_after_all(tx: &Tx<'_>, id: i64) -> Result<Option<(PendingRow, Event)>> {
    let gave_way = |row: &PendingRow| row.automatic && row.status == CommitStatus::Discarded;
    let Some(row) = tx.pending(id)?.filter(gave_way) else { return Ok(None) };
    let event = row.event_json.as_deref().map(stored_event).transpose()?;
    Ok(event.map(|event| (row, event)))
}

/// Whether a commit of ours is one of the branch that is followed.
pub(crate) fn is_followed(tx: &Tx<'_>, commit: &PendingRow) -> Result<bool> {
    let is_true = |node: &NodeRow| node.canonical && node.commit == Some(commit.digest);
    Ok(tx.nodes(&commit.group)?.iter().any(is_true))
}
