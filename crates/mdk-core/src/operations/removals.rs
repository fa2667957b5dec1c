//! Removals that hold: what another branch undoes is told and made again, and one that is sealed is put out of reach.
//!
//! Branches are compared by their depth before anything else, so a member can make commits in the epoch before his removal
//! and publish them later. Until five commits have followed the removal, such a branch may win and bring him back.

use std::collections::BTreeSet;

use mdk_store::Tx;
use mdk_store::{CommitStatus, GroupRow, GroupStatus, RemovalRow};
use mdk_wire::{ContentId, GroupId, PublicKey};

use crate::fork_choice::removals_of_others::{out_of_reach, sealing};
use crate::mls::components::admin_policy;
use crate::mls::invitees::without;
use crate::mls::loaded_groups::leaves_of;
use crate::mls::own_commit;
use crate::mls::replay::Look;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::commit_facts::Step;
use crate::model::commit_purpose::{PURPOSE_AGAIN, PURPOSE_SEAL};
use crate::model::error::{Error, Result};
use crate::model::follow_up::{FollowUp, Published};
use crate::model::membership;
use crate::operations::others_elsewhere;
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;
use crate::state_store::retained_states;

/// A removal that was undone is made again at once, and then after growing pauses, in milliseconds.
const FIRST_PAUSE: u64 = 5_000;
const LONGEST_PAUSE: u64 = 300_000;
/// Between two commits of a seal, in milliseconds: each is to be settled with everybody before the next one comes.
const SEAL_PAUSE: u64 = 2_000;

fn is_back(row: &RemovalRow, group: &GroupRow) -> bool {
    let there = if row.demoted { &group.admins } else { &group.members };
    there.contains(&row.account)
}

// rule: D8-1 a removal is known until no branch can undo it
/// Notes whom a commit put out, and forgets whom it took in: that follows the removal, so it ends it.
pub(crate) fn note_step(
    tx: &Tx<'_>,
    call: Call<'_>,
    old: &GroupRow,
    new: &GroupRow,
    step: &Step,
) -> Result<()> {
    if old.members == new.members && old.admins == new.admins {
        return Ok(());
    }
    let known = tx.removals(&new.id)?;
    for row in &known {
        let was = if row.demoted { &old.admins } else { &old.members };
        if is_back(row, new) && !was.contains(&row.account) {
            tx.drop_removal(row)?;
        }
    }
    note_gone(tx, call, old, new, step, &known)
}

/// Notes who was there and is not any more.
fn note_gone(
    tx: &Tx<'_>,
    call: Call<'_>,
    old: &GroupRow,
    new: &GroupRow,
    step: &Step,
    known: &[RemovalRow],
) -> Result<()> {
    let own = step.committer == Some(call.me());
    let sealed = own
        && tx
            .pending_by_digest(&new.id, &step.digest)?
            .is_some_and(|commit| commit.purpose == PURPOSE_SEAL);
    let willing = |who: &PublicKey| step.left.contains(who) || step.committer == Some(*who);
    let gone = |was: &[PublicKey], is: &[PublicKey]| -> Vec<PublicKey> {
        was.iter().filter(|who| !is.contains(who) && !willing(who)).copied().collect()
    };
    let removed = gone(&old.members, &new.members);
    let mut demoted = gone(&old.admins, &new.admins);
    demoted.retain(|who| new.members.contains(who));
    let all = removed.iter().map(|who| (who, false));
    for (account, demoted) in all.chain(demoted.iter().map(|who| (who, true))) {
        let before = known.iter().find(|k| k.account == *account && k.demoted == demoted);
        tx.put_removal(&RemovalRow {
            group: new.id.clone(),
            account: *account,
            demoted,
            commit: step.digest,
            epoch: new.epoch,
            made_at: call.now_millis,
            own: own || before.is_some_and(|row| row.own),
            seal: sealed || before.is_some_and(|row| row.seal),
            undone_at: 0,
            next_at: 0,
            attempts: before.map_or(0, |row| row.attempts),
        })?;
    }
    Ok(())
}

// rule: D8-2 who comes back by another branch, after the removal was settled, is told of by name
/// After the group went over to another branch, whose first commit was made by `by`; `parted` is how the group was before
/// that one, if it can be read.
pub(crate) fn note_switch(
    records: &mut Records<'_>,
    old: &GroupRow,
    step: &Step,
    by: Option<PublicKey>,
    parted: Option<Look>,
) -> Result<()> {
    let id = &old.id;
    let new = records.groups().current_row(id)?;
    let known = records.tx.removals(id)?;
    let nodes = records.tx.nodes(id)?;
    let me = records.me();
    let followed: BTreeSet<ContentId> =
        nodes.iter().filter(|node| node.canonical).filter_map(|node| node.commit).collect();
    for row in &known {
        let (back, holds) = (is_back(row, &new), followed.contains(&row.commit));
        // A race of the moment, which the withdrawn change tells of. What was undone before is none, nor what others
        // have settled out of reach: who comes back then has waited for it. Nor is one with the account itself, for
        // whoever removed it: it could overtake each removal by commits without end.
        let settled = row.made_at.saturating_add(records.call.config.settle_quiet_millis);
        let raced = settled >= old.pass.opened
            && out_of_reach(row) > old.epoch
            && row.attempts == 0
            && !(row.own && by == Some(row.account));
        match (back, holds) {
            (true, true) => records.tx.drop_removal(row)?,
            (true, false) if row.undone_at != 0 => {}
            // (D8-8)
            (true, false) if raced && row.account == me => {}
            (true, false) if raced => records.tx.drop_removal(row)?,
            (true, false) => {
                let undone_at = records.now();
                let next_at = records.call.now_millis;
                // (whoever does not make it again counts that it was undone)
                let attempts = if row.own { row.attempts } else { row.attempts.max(1) };
                let undone = RemovalRow { undone_at, next_at, attempts, ..row.clone() };
                records.tx.put_removal(&undone)?;
                let told = Stored::RemovalUndone {
                    account: *row.account.as_bytes(),
                    demoted: row.demoted,
                    by: by.map(|key| *key.as_bytes()),
                    at: undone_at,
                };
                records.memory.uncontested.remove(id);
                records.log().emit_step(id, &told)?;
            }
            // Out on this branch as well, by a commit of it.
            (false, _) => {
                let commit = if holds { row.commit } else { step.digest };
                records.tx.put_removal(&RemovalRow { commit, undone_at: 0, ..row.clone() })?;
            }
        }
    }
    if old.status == GroupStatus::Removed
        && let Some(out) = nodes.iter().find(|node| node.authenticator == old.authenticator)
    {
        others_elsewhere::note_put_out(records.groups(), records.call, out)?;
    }
    // Whom the followed branch had taken in, and this one has not, nobody removed.
    let Some((settings, members)) = parted else { return Ok(()) };
    let was = GroupRow { members, admins: settings.admins, ..old.clone() };
    note_gone(records.tx, records.call, &was, &new, step, &records.tx.removals(id)?)
}

// rule: D8-3 nothing is said in a contested group until somebody accepts who is back, or they are out again
pub(crate) fn require_uncontested(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    if records.memory.uncontested.contains(id) {
        return Ok(());
    }
    let me = records.me();
    // (who is put out elsewhere may speak: it is how others hear that it is here)
    let back = |row: &RemovalRow| row.undone_at != 0 && row.account != me;
    if records.tx.removals(id)?.iter().any(back) {
        return Err(Error::Contested);
    }
    records.memory.uncontested.insert(id.clone());
    Ok(())
}

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

/// Nothing that was noted counts any more.
pub(crate) fn forget_removals(tx: &Tx<'_>, id: &GroupId) -> Result<()> {
    tx.removals(id)?.iter().try_for_each(|row| Ok(tx.drop_removal(row)?))
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
        return forget_removals(work.records.tx, id);
    }
    if row.status != GroupStatus::Active || row.pass.opened != 0 {
        return Ok(());
    }
    others_elsewhere::note_company(&mut work.records, &row, &rows)?;
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
