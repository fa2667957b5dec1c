//! Whether the others may be on another branch than this member: the signs of that in the kept rows.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, GroupStatus, Loss, NodeRow, Tx};
use mdk_wire::PublicKey;

use crate::fork_choice::branch_order::POLICY;
use crate::model::error::Result;
use crate::state_store::held_times::{created_at, ours_from};

// rule: D8-9 who is led on by members alone, while something comes that cannot be read, is told that the others may be elsewhere
/// Whether members that are no admins have made all commits and messages here, in as many epochs as a choice goes back,
/// while something came that no key opens. A removed member who has kept his state can make such a branch for a member
/// who hears of the removal too late. Messages of the others cannot be read there.
pub(crate) fn is_led_on(tx: &Tx<'_>, me: PublicKey, row: &GroupRow) -> Result<bool> {
    if row.status != GroupStatus::Active {
        return Ok(false);
    }
    let states = tx.states(&row.id)?;
    let from = row.epoch.saturating_sub(POLICY.max_rewind_commits);
    let line: Vec<&NodeRow> = states.iter().filter(|n| n.canonical && n.epoch >= from).collect();
    let mute = |who: &PublicKey| *who != me && !row.admins.contains(who);
    let made = line.iter().all(|n| n.parent.is_some() && n.committer.is_some_and(|c| mute(&c)));
    if !made || (line.len() as u64) <= POLICY.max_rewind_commits {
        return Ok(false);
    }
    let makers: BTreeSet<_> = line.iter().filter_map(|n| n.committer).collect();
    let began = line.iter().map(|n| n.history).min().unwrap_or(0);
    let others = tx.witnesses(&row.id, began)?;
    if others.iter().any(|w| w.sender != me && !makers.contains(&w.sender)) {
        return Ok(false);
    }
    let since = line.iter().map(|n| n.made_at / 1000).min().unwrap_or(0);
    let unread = tx.held(&row.id)?;
    Ok(unread.iter().any(|held| {
        held.loss != Loss::Told
            && held.received_at >= since
            && created_at(held).is_some_and(|at| at >= ours_from(row))
    }))
}
