//! The states of a group that we left.

use mdk_store::{GroupRow, GroupStatus, PassRow};

use crate::model::error::Result;
use crate::model::limits::OUT_FOR;
use crate::model::membership;
use crate::state_store::records::Records;

/// States of groups that we are out of are not kept for ever. Whether there are some. (rule: D6-3)
pub(crate) fn forget_left(records: &mut Records<'_>, row: &GroupRow) -> Result<bool> {
    if !matches!(row.status, GroupStatus::Left | GroupStatus::Removed) {
        return Ok(false);
    }
    let nodes = records.tx.nodes(&row.id)?;
    let Some(last) = nodes.iter().map(|n| n.made_at).max() else { return Ok(false) };
    if last / 1000 + OUT_FOR > records.now() {
        return Ok(true);
    }
    records.tx.prune_nodes(&row.id, u64::MAX)?;
    records.tx.prune_inputs(&row.id, u64::MAX)?;
    records.tx.prune_commits(&row.id, u64::MAX)?;
    records.tx.purge_expired(&row.id, u64::MAX)?;
    records.tx.delete_leave(&row.id)?;
    records.waiting().drop_held(&row.id)?;
    records.edit_row(&row.id, |row| {
        row.pass = PassRow { joined_at: row.pass.joined_at, ..PassRow::default() };
    })?;
    debug_assert!(membership::is_over(row.status));
    Ok(false)
}
