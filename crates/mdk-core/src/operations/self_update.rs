//! Fresh keys for our leaf (RFC 9420, 12.4: a commit with a path and no proposals).

use mdk_store::{GroupStatus, Tx};
use mdk_wire::GroupId;

use crate::mls::own_commit;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::values::Pending;

/// Any member may do this (rule: 2.6-4a).
pub(crate) fn self_update(work: &mut Work<'_>, id: &GroupId) -> Result<Pending> {
    let group = own_commit::take_for_commit(work, id)?;
    own_commit::prepare(work, group, &Plan::default())
}

/// Groups whose own leaf is older than `older_than` seconds, or came with a backup.
pub(crate) fn needs_self_update(
    tx: &Tx<'_>,
    call: Call<'_>,
    older_than: u64,
) -> Result<Vec<GroupId>> {
    let now = call.now();
    let mut due = Vec::new();
    for row in tx.groups()? {
        let old = row.self_updated_at.saturating_add(older_than) <= now;
        if row.status == GroupStatus::Active && (old || tx.must_update_after_restore(&row.id)?) {
            due.push(row.id);
        }
    }
    Ok(due)
}
