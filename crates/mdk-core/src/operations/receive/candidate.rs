//! A commit beside the followed branch.

use mdk_store::NodeRow;

use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::records::Records;
use crate::state_store::{candidates, seen};

/// A state beside the followed branch. (rule: E3-2)
pub(crate) fn add_candidate(
    records: &mut Records<'_>,
    opened: &Opened,
    node: NodeRow,
) -> Result<Verdict, Halt> {
    seen::done(records.tx, opened)?;
    records.tx.drop_input(&opened.row.id, &opened.content_id)?;
    if records.states().is_surplus(&node)? {
        // (and keeps no pass open)
        return Ok(Verdict::Deferred(DeferredReason::Rival));
    }
    if let Some(parent) = node.parent {
        records.states().keep_commit(opened, node.epoch.saturating_sub(1), parent)?;
    }
    candidates::add_rival(records, node)
}
