//! The end of a membership, and a group that cannot be recovered.

use mdk_store::{GroupRow, GroupStatus};
use mdk_wire::{ContentId, GroupId, PublicKey, Secret};

use crate::model::error::Result;
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;
use crate::state_store::{competing_invites, retained_states};

/// A commit of ours was made by another copy of the database: see `operations/settle_branches/runs_elsewhere.rs`.
pub(crate) const OWN_COMMIT_LOST: &str = "own_commit_lost";

/// A needed state is gone: nothing is guessed, nothing is sent, and input that has come is kept. (rule: E6-1)
pub(crate) fn give_up(records: &mut Records<'_>, id: &GroupId, reason: &'static str) -> Result<()> {
    let row = records.groups().current_row(id)?;
    if row.status.is_stuck() {
        return Ok(());
    }
    // Each membership may end so.
    let subject = [reason.as_bytes(), &row.join_epoch.to_be_bytes()].concat();
    records.edit_row(id, |row| {
        row.status = match reason {
            OWN_COMMIT_LOST => GroupStatus::RunsElsewhere,
            _ => GroupStatus::Unrecoverable,
        };
        row.pass.opened = 0;
    })?;
    records.log().emit(id, &subject, &Stored::Unrecoverable { reason: reason.to_owned() })
}

// rule: D6-1 a removed copy is terminal, by an authenticated commit only
/// The account is out, or the group is over: live secrets go, the history stays (C5, D6).
pub(crate) fn end(
    records: &mut Records<'_>,
    row: &GroupRow,
    committer: Option<PublicKey>,
    commit: Option<ContentId>,
) -> Result<()> {
    let by = committer.map(|k| *k.as_bytes());
    let commit = commit.map(|c| *c.as_bytes());
    let subject = [&row.pass.switches.to_be_bytes()[..], &commit.unwrap_or_default()].concat();
    if row.status == GroupStatus::Disbanded {
        records.log().emit(&row.id, &subject, &Stored::Disbanded { by })?;
    } else {
        let left = row.status == GroupStatus::Left;
        records.log().emit(&row.id, &subject, &Stored::Removed { by, left, commit })?;
    }
    records.deliveries().abandon_outgoing(&row.id)?;
    records.tx.drop_kept(&row.id)?;
    records.tx.drop_push_rows(&row.id)?;
    records.tx.mls_delete(&row.id)?;
    // The state that was left has its key with it, as long as it is retained.
    records.edit_row(&row.id, |row| row.event_key = Secret::new([0; 32]))?;
    // rule: D6-5 a removed copy keeps its retained states for a while, and what waits for others: another branch may
    // have kept us
    if row.status == GroupStatus::Disbanded {
        let waiting = match competing_invites::ended_unanswered(records.tx, row)? {
            true => records.waiting().held_welcomes(&row.id)?,
            false => Vec::new(),
        };
        records.waiting().drop_held(&row.id)?;
        // (other invitations are other questions, and are looked at by the next tick)
        for held in waiting {
            records.tx.hold_welcome(&held)?;
        }
        records.tx.delete_leave(&row.id)?;
        records.tx.purge_expired(&row.id, u64::MAX)?;
        records.tx.prune_nodes(&row.id, u64::MAX)?;
        records.tx.prune_inputs(&row.id, u64::MAX)?;
        records.invite_deliveries().drop_invites(&row.id)?;
        records.tx.prune_commits(&row.id, u64::MAX)?;
    }
    Ok(())
}

/// A disband that no branch has beaten is final. (rule: C5-1)
pub(crate) fn finish_disbanding(records: &mut Records<'_>, id: &GroupId) -> Result<()> {
    let tip = retained_states::tip(records.groups(), id)?;
    // (it may be another group's that shares the routing id)
    records.waiting().rehome_held(id)?;
    let (row, dropped) = (records.groups().current_row(id)?, records.tx.held(id)?);
    records.gaps().report_dropped(&row, dropped)?;
    let row = records.edit_row(id, |row| row.status = GroupStatus::Disbanded)?;
    end(records, &row, tip.committer, tip.commit)?;
    records.memory.rows.forget(id);
    Ok(())
}
