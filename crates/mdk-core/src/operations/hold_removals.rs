//! Removals that hold: a removal that another branch undoes is told and made again, and a sealed one is put out of
//! reach.
//!
//! Branches are compared by their depth before anything else, so a member can make commits in the epoch before his removal
//! and publish them later. Until five commits have followed the removal, such a branch may win and bring him back.
//! `state_store/removals_of_others.rs` decides whether a return undoes a removal.

use mdk_store::{CommitStatus, GroupRow, GroupStatus, RemovalRow, Tx};
use mdk_wire::{GroupId, PublicKey};

use crate::fork_choice::sealing::{out_of_reach, sealing};
use crate::mls::components::admin_policy;
use crate::mls::invitees::without;
use crate::mls::loaded_groups::leaves_of;
use crate::mls::own_commit;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::commit_purpose::{PURPOSE_AGAIN, PURPOSE_SEAL};
use crate::model::error::{Error, Result};
use crate::model::follow_up::{FollowUp, Published};
use crate::model::membership;
use crate::state_store::records::Records;
use crate::state_store::removals_of_others::is_back;
use crate::state_store::{removals_of_others, retained_states};

/// A removal that was undone is made again at once, and then after growing pauses, in milliseconds.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 300_000;
/// The pause between two commits of a seal, in milliseconds: each is to be settled with everybody before the next one
/// comes.
const SEAL_PAUSE: u64 = 2_000;

// rule: D8-7 who is accepted is not put out by what was made before that, unless a relay has it
/// The members are as they should be.
pub(crate) fn accept_members(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    records.groups().listed(id)?;
    for row in records.tx.removals(id)?.iter().filter(|row| row.undone_at != 0) {
        records.tx.drop_removal(row)?;
    }
    let Some(made) = records.tx.pending_of(id)? else { return Ok(()) };
    let again = made.automatic && matches!(made.purpose, PURPOSE_AGAIN | PURPOSE_SEAL);
    if again && made.status == CommitStatus::Prepared {
        let settled = FollowUp::SettleOwnCommit(made.id, Published::Nowhere);
        records.effects.follow(settled);
    }
    Ok(())
}

/// The removals or demotions of a commit that is not confirmed yet are to be sealed.
pub(crate) fn seal_commit(tx: &Tx<'_>, pending: i64) -> Result<()> {
    Ok(tx.set_commit_purpose(pending, PURPOSE_SEAL)?)
}

/// Makes the next commit that the removals of a group want, and forgets those that are out of reach.
pub(crate) fn work_off_removals(work: &mut Work<'_>, id: &GroupId) -> Result<()> {
    let rows = work.records.tx.removals(id)?;
    if rows.is_empty() {
        return Ok(());
    }
    let row = work.records.groups().current_row(id)?;
    if membership::is_over(row.status) {
        return removals_of_others::forget_removals(work.records.tx, id);
    }
    if row.status != GroupStatus::Active || row.pass.opened != 0 {
        return Ok(());
    }
    removals_of_others::note_company(&mut work.records, &row, &rows)?;
    let rows = work.records.tx.removals(id)?;
    let done = |removal: &&RemovalRow| removal.undone_at == 0 && out_of_reach(removal) <= row.epoch;
    for removal in rows.iter().filter(done) {
        work.records.tx.drop_removal(removal)?;
    }
    let again = due_again(work.records.call, &row, &rows);
    let seals = sealing(&rows, row.epoch) != 0
        && retained_states::epoch_since(work.records.groups(), id)?.saturating_add(SEAL_PAUSE)
            <= work.records.call.now_millis;
    if again.is_empty() && !seals {
        return Ok(());
    }
    let (mark, replies, tx) =
        (work.records.memory.rows.mark(), work.records.effects.publish.len(), work.records.tx);
    match tx.savepoint(|_| commit_for_removals(work, id, &again)) {
        Err(Error::Store(error)) => Err(error.into()),
        // Nobody's removal stops the work for other groups: it stays due.
        Err(_) => {
            work.records.forget_since(mark);
            work.records.memory.rows.forget(id);
            work.records.effects.publish.truncate(replies);
            tracing::warn!("a removal could not be made again or sealed now");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

// rule: D8-4 an admin makes an undone removal of its own again, after growing pauses
fn due_again(call: Call<'_>, group: &GroupRow, rows: &[RemovalRow]) -> Vec<RemovalRow> {
    let admin = group.admins.contains(&call.me());
    let due = |row: &&RemovalRow| {
        row.own && row.undone_at != 0 && row.next_at <= call.now_millis && is_back(row, group)
    };
    rows.iter().filter(due).filter(|_| admin).cloned().collect()
}

// rule: D8-5 a sealed removal is followed by commits, one after the other, until it is out of reach
fn commit_for_removals(work: &mut Work<'_>, id: &GroupId, again: &[RemovalRow]) -> Result<()> {
    let group = work.take(id)?;
    if group.mls.pending_commit().is_some() {
        work.put(group);
        return Ok(());
    }
    let mut plan = Plan { automatic: true, ..Plan::default() };
    let gone: Vec<PublicKey> = again.iter().map(|row| row.account).collect();
    for row in again.iter().filter(|row| !row.demoted) {
        plan.removes.extend(leaves_of(&group, &row.account));
    }
    plan.removes.sort_unstable();
    plan.removes.dedup();
    if group.row.admins.iter().any(|admin| gone.contains(admin)) {
        plan.components.push(admin_policy(without(&group.row.admins, &gone))?);
    }
    let pending = own_commit::prepare(work, group, &plan)?;
    match again {
        [] => {}
        _ if again.iter().any(|row| row.seal) => seal_commit(work.records.tx, pending.id)?,
        _ => work.records.tx.set_commit_purpose(pending.id, PURPOSE_AGAIN)?,
    }
    work.records.effects.publish.extend(pending.event);
    for row in again {
        let pause = FIRST_PAUSE.saturating_mul(1 << row.attempts.min(16)).min(LONGEST_PAUSE);
        work.records.tx.put_removal(&RemovalRow {
            next_at: work.records.call.now_millis.saturating_add(pause),
            attempts: row.attempts.saturating_add(1),
            ..row.clone()
        })?;
    }
    Ok(())
}
