//! Removals of others, and the epoch from which no branch may leave before one.

use mdk_store::RemovalRow;

use crate::fork_choice::branch_order::POLICY;

/// The first epoch in which no branch that leaves before the removal may be chosen any more.
pub(crate) fn out_of_reach(row: &RemovalRow) -> u64 {
    row.epoch.saturating_add(POLICY.max_rewind_commits)
}

/// Commits that are missing until the sealed removals of a group are out of reach.
pub(crate) fn sealing(rows: &[RemovalRow], epoch: u64) -> u64 {
    let open = rows.iter().filter(|row| row.seal && row.undone_at == 0);
    open.map(|row| out_of_reach(row).saturating_sub(epoch)).max().unwrap_or(0)
}

/// Whether an account is back that was put out.
pub(crate) fn contested(rows: &[RemovalRow]) -> bool {
    rows.iter().any(|row| row.undone_at != 0)
}
