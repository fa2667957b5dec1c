//! Removals of others that hold, and those of them that another branch has undone (protocol/removals.md D8).

use std::collections::BTreeSet;

use mdk_store::{GroupRow, GroupStatus, NodeRow, RemovalRow, Tx};
use mdk_wire::{ContentId, GroupId, PublicKey};

use crate::fork_choice::own_removal::removes;
use crate::fork_choice::sealing::out_of_reach;
use crate::model::call::Call;
use crate::model::commit_facts::Step;
use crate::model::commit_purpose::PURPOSE_SEAL;
use crate::model::error::{Error, Result};
use crate::model::settings::Look;
use crate::state_store::groups::Groups;
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;

pub(crate) fn is_back(row: &RemovalRow, group: &GroupRow) -> bool {
    let there = if row.demoted { &group.admins } else { &group.members };
    there.contains(&row.account)
}

// rule: D8-1 a removal is known until no branch can undo it
/// Notes the accounts that a commit put out, and forgets those that it took in: an admission follows the removal, so it
/// ends it.
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
    note_gone(tx, call, old, new, step, &known, |_| new.epoch)
}

/// Notes the accounts that were there and are not any more; `epoch_of` gives the epoch that a removal led to.
fn note_gone(
    tx: &Tx<'_>,
    call: Call<'_>,
    old: &GroupRow,
    new: &GroupRow,
    step: &Step,
    known: &[RemovalRow],
    epoch_of: impl Fn((&PublicKey, bool)) -> u64,
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
            epoch: epoch_of((account, demoted)),
            // (an account that was out all along is out since then, whichever branch is followed now)
            made_at: before
                .filter(|row| row.undone_at == 0)
                .map_or(call.now_millis, |row| row.made_at),
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
/// that one, if it can be read, and `passed` how it was in each epoch from there to the one before the tip.
pub(crate) fn note_switch(
    records: &mut Records<'_>,
    old: &GroupRow,
    step: &Step,
    by: Option<PublicKey>,
    parted: Option<Look>,
    passed: &[(u64, Look)],
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
        // Such a removal was in a race of the moment, and the withdrawn change tells of it. Three sorts are no race.
        // The first was undone before. The second is one that others have settled out of reach: an account that comes
        // back then has waited for it. The third is one of ours that the removed account itself undid: it could
        // overtake each removal by commits without end.
        let settled = row.made_at.saturating_add(records.call.config.settling.quiet_millis);
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
                // (an account that does not make it again counts that it was undone)
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
        note_put_out(records.groups(), records.call, out)?;
    }
    // An account that the followed branch had taken in, and this one has not, was removed by nobody.
    let Some((settings, members)) = parted else { return Ok(()) };
    let was = GroupRow { members, admins: settings.admins, ..old.clone() };
    // Its removal may lie far below the tip: it is out of reach so much earlier.
    let epoch_of = |(who, demoted): (&PublicKey, bool)| {
        let there = |(_, (settings, members)): &&(u64, Look)| match demoted {
            true => settings.admins.contains(who),
            false => members.contains(who),
        };
        let last = passed.iter().filter(there).map(|(epoch, _)| *epoch).max();
        last.map_or(new.epoch, |last| last.saturating_add(1))
    };
    let known = records.tx.removals(id)?;
    note_gone(records.tx, records.call, &was, &new, step, &known, epoch_of)
}

// rule: D8-3 nothing is said in a contested group until somebody accepts who is back, or they are out again
pub(crate) fn require_uncontested(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    if records.memory.uncontested.contains(id) {
        return Ok(());
    }
    let me = records.me();
    // (an account that is put out elsewhere may speak: others hear by it that it is here)
    let back = |row: &RemovalRow| row.undone_at != 0 && row.account != me;
    if records.tx.removals(id)?.iter().any(back) {
        return Err(Error::Contested);
    }
    records.memory.uncontested.insert(id.clone());
    Ok(())
}

/// Nothing that was noted counts any more.
pub(crate) fn forget_removals(tx: &Tx<'_>, id: &GroupId) -> Result<()> {
    tx.removals(id)?.iter().try_for_each(|row| Ok(tx.drop_removal(row)?))
}

// rule: D8-8 who is put out on a branch that it does not follow is told so, until somebody else is heard here
/// Notes a removal of this account on another branch, before it is chosen or not. Events after it cannot be read, so
/// nobody here knows whether the others have gone there.
pub(crate) fn note_put_out(groups: Groups<'_>, call: Call<'_>, node: &NodeRow) -> Result<()> {
    let Some(commit) = node.commit.filter(|_| removes(node)) else { return Ok(()) };
    let row = groups.current_row(&node.group)?;
    if row.status != GroupStatus::Active || row.authenticator == node.authenticator {
        return Ok(());
    }
    note_apart(groups, call, node, commit)
}

/// Notes that the others may be on another branch than `node`, because of a commit.
pub(crate) fn note_apart(
    groups: Groups<'_>,
    call: Call<'_>,
    node: &NodeRow,
    commit: ContentId,
) -> Result<()> {
    Ok(groups.tx.put_removal(&RemovalRow {
        group: node.group.clone(),
        account: call.me(),
        demoted: false,
        commit,
        epoch: node.epoch,
        made_at: call.now_millis,
        own: false,
        seal: false,
        undone_at: 0,
        next_at: 0,
        attempts: 0,
    })?)
}

/// Tells that the others may be on another branch. Forgets it when another member was heard since on the followed branch:
/// they are here.
pub(crate) fn note_company(
    records: &mut Records<'_>,
    row: &GroupRow,
    removals: &[RemovalRow],
) -> Result<()> {
    let me = records.me();
    let Some(out) = removals.iter().find(|r| r.account == me && !r.demoted) else {
        return Ok(());
    };
    if out.undone_at == 0 {
        let undone_at = records.now().max(1);
        records.tx.put_removal(&RemovalRow { undone_at, ..out.clone() })?;
        let subject = [&b"put out"[..], out.commit.as_bytes()].concat();
        return records.log().emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch });
    }
    let nodes = records.tx.states(&row.id)?;
    let beside: BTreeSet<_> =
        nodes.iter().filter(|n| !n.canonical).map(|n| n.authenticator).collect();
    let since = out.made_at / 1000;
    let spoke = records.tx.heard_after(&row.id, &me, since)?;
    let committed = nodes.iter().any(|n| {
        n.canonical && n.made_at > out.made_at && n.committer.is_some_and(|who| who != me)
    });
    if committed || spoke.iter().any(|state| !beside.contains(state)) {
        records.tx.drop_removal(out)?;
    }
    Ok(())
}
