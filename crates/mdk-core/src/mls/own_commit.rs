//! Commits of ours: staged, published by the caller, then confirmed or discarded.
//!
//! Nothing becomes true before a relay has it. The signed bytes are on disk before they are handed out, and
//! the same bytes are handed out again after a crash (protocol/commits.md C1, C2).

use mdk_store::{CommitStatus, PendingRow, Tx};
use mdk_wire::{ContentId, Event, GroupId, OsRandom, SecretVec, group_message};
use openmls_traits::OpenMlsProvider as _;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{event_size, outgoing_welcomes, stage_commit};
use crate::model::call::Call;
use crate::model::commit_purpose::PURPOSE_DISBAND;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event::stored_event;
use crate::model::values::Pending;
use crate::state_store::outbox::Letter;
use crate::state_store::settling;

/// Preconditions of every commit by the user (C1 step 1). Returns the group, taken.
pub(crate) fn take_for_commit(work: &mut Work<'_>, id: &GroupId) -> Result<LoadedGroup> {
    membership::require_active(&work.records.groups().current_row(id)?)?;
    settling::check_settled(work.records.settling(), id)?;
    take_unpending(work, id)
}

/// While a commit of the user's waits nothing is said.
pub(crate) fn may_send(tx: &Tx<'_>, group: &LoadedGroup) -> Result<()> {
    if group.mls.pending_commit().is_some()
        && tx.pending_of(&group.row.id)?.is_none_or(|pending| !pending.automatic)
    {
        return Err(Error::CommitPending);
    }
    Ok(())
}

/// A live group without a commit of ours.
pub(crate) fn take_unpending(work: &mut Work<'_>, id: &GroupId) -> Result<LoadedGroup> {
    let group = work.take_active(id)?;
    // rule: C1-1. An automatic commit too: it was handed out, so a relay may have it.
    if group.mls.pending_commit().is_some() {
        return Err(Error::CommitPending);
    }
    Ok(group)
}

/// Stages, signs and stores a commit; hands out the events to publish (C1 steps 7 and 8).
pub(crate) fn prepare(work: &mut Work<'_>, mut group: LoadedGroup, plan: &Plan) -> Result<Pending> {
    if !plan.automatic {
        work.records.outbox().require_outbox_room()?;
    }
    let (staged, _) = stage_commit::stage_mls(work, &mut group, plan)?;
    let row = &group.row;
    let event = group_message::seal(
        &staged.commit,
        &row.event_key,
        &row.nostr_group_id,
        work.records.call.now_millis / 1000,
        None,
        &mut OsRandom,
    )
    .map_err(Error::bug("sealing a commit"))?;
    event_size::check_event_size(work.records.call, &event)?;
    let relays = row.relays.clone();
    let digest = ContentId::of(&staged.commit);
    let welcome = staged.welcome.unwrap_or_default();
    let id = store_pending(
        work.records.tx,
        work.records.call,
        &group,
        digest,
        Some(&event),
        &welcome,
        plan,
    )?;
    let welcomes = outgoing_welcomes::wrap_welcomes(
        work.records.tx,
        work.records.call,
        work.identity,
        id,
        &welcome,
        &plan.adds,
        &relays,
    )?;
    let group_id = group.row.id.clone();
    work.put(group);
    // The commit goes to the relays that the source epoch's members read.
    let purpose = OutboxPurpose::Commit { pending: id };
    work.records.outbox().post(&Letter {
        purpose,
        group: Some(&group_id),
        event: &event,
        relays: &relays,
    })?;
    Ok(Pending { id, group_id, event: Some(event), welcomes, relays, automatic: plan.automatic })
}

pub(crate) fn discard_in_place(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    id: i64,
) -> Result<()> {
    work.records.supersede(&group.row.id, id)?;
    group.mls.clear_pending_commit(work.provider().storage())?;
    group.judged = None;
    Ok(())
}

pub(crate) fn store_pending(
    tx: &Tx<'_>,
    call: Call<'_>,
    group: &LoadedGroup,
    digest: ContentId,
    event: Option<&Event>,
    welcome: &[u8],
    plan: &Plan,
) -> Result<i64> {
    let next_auth = group
        .mls
        .pending_commit()
        .and_then(|staged| staged.epoch_authenticator())
        .and_then(|auth| <[u8; 32]>::try_from(auth.as_slice()).ok())
        .unwrap_or(group.row.authenticator);
    tx.prune_commits(&group.row.id, group.row.pass.floor)?;
    Ok(tx.insert_pending(&PendingRow {
        id: 0,
        group: group.row.id.clone(),
        digest,
        source_epoch: group.row.epoch,
        source_auth: group.row.authenticator,
        next_auth,
        purpose: if plan.disbands { PURPOSE_DISBAND } else { 0 },
        automatic: plan.automatic,
        status: CommitStatus::Prepared,
        event_id: event.map(Event::id),
        event_json: event.map(Event::to_json),
        relays: group.row.relays.clone(),
        created_at: call.now(),
        // OpenMLS's own row holds the commit while it is pending, the retained epoch once it is confirmed.
        group_state: SecretVec::new(Vec::new()),
        welcome: welcome.to_vec(),
    })?)
}

// rule: C2-6 the same bytes are handed out again after a restart
/// Commits that wait for `confirm` or `discard`, with the very bytes that were handed out before.
pub(crate) fn pending(tx: &Tx<'_>, identity: &Identity) -> Result<Vec<Pending>> {
    tx.pendings()?
        .into_iter()
        .map(|row| {
            let welcomes = tx.welcomes_of(row.id)?;
            let welcomes = welcomes
                .iter()
                .map(|w| outgoing_welcomes::wrap_again(identity, &row, w))
                .collect::<Result<_>>()?;
            Ok(Pending {
                id: row.id,
                group_id: row.group,
                event: row.event_json.as_deref().map(stored_event).transpose()?,
                welcomes,
                relays: row.relays,
                automatic: row.automatic,
            })
        })
        .collect()
}
