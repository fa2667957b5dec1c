//! Messages of ours that have waited for so long that nobody could read, or would find, them.

use std::collections::BTreeSet;

use mdk_store::{MessageRow, OutgoingRow, Tx};
use mdk_wire::GroupId;

use crate::model::call::Call;
use crate::model::error::Result;
use crate::state_store::deliveries::waits;
use crate::state_store::groups::Groups;
use crate::state_store::retained_states;

/// Half of the time that our own client looks back (mdk-client), so that a relay may be a day late, too.
const OLD: u64 = 86_400;

/// Twice the time that a burst runs ahead of the clock. Relays take that.
const AHEAD: u64 = 600;

/// Groups with a waiting message whose time is not of now.
pub(crate) fn misdated_groups(call: Call<'_>, rows: &[OutgoingRow]) -> BTreeSet<GroupId> {
    let mut groups = BTreeSet::new();
    for row in rows.iter().filter(|row| waits(row)) {
        if let Some(group) = row.group.as_ref().filter(|_| is_misdated(call, row)) {
            groups.insert(group.clone());
        }
    }
    groups
}

pub(crate) fn is_misdated(call: Call<'_>, row: &OutgoingRow) -> bool {
    // (the event was made when it was put in, or runs a little ahead)
    let (now, at) = (call.now(), row.created_at);
    at.saturating_add(OLD) < now || at > now.saturating_add(AHEAD)
}

/// Groups whose first waiting message is too old.
pub(crate) fn stale_groups(groups: Groups<'_>, rows: &[OutgoingRow]) -> Result<BTreeSet<GroupId>> {
    let (mut looked, mut stale) = (BTreeSet::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| waits(row)) {
        let Some(group) = row.group.as_ref().filter(|group| !looked.contains(*group)) else {
            continue;
        };
        let Some(message) = message_of(groups.tx, row)? else { continue };
        // A later message is younger.
        looked.insert(group.clone());
        if is_out_of_reach(groups, group, &message)? {
            stale.insert(group.clone());
        }
    }
    Ok(stale)
}

pub(crate) fn is_stale(groups: Groups<'_>, group: &GroupId, row: &OutgoingRow) -> Result<bool> {
    let Some(message) = message_of(groups.tx, row)? else { return Ok(false) };
    is_out_of_reach(groups, group, &message)
}

pub(crate) fn is_out_of_reach(
    groups: Groups<'_>,
    group: &GroupId,
    message: &MessageRow,
) -> Result<bool> {
    let row = groups.current_row(group)?;
    if message.epoch < retained_states::horizon(row.epoch) {
        return Ok(true);
    }
    Ok(message.authenticator != row.authenticator
        && !groups.tx.has_node(group, &message.authenticator)?)
}

pub(crate) fn message_of(tx: &Tx<'_>, row: &OutgoingRow) -> Result<Option<MessageRow>> {
    let (Some(group), Some(id)) = (&row.group, &row.message) else { return Ok(None) };
    Ok(tx.message(group, id)?)
}

/// Groups with messages that waited for too long.
#[derive(Default)]
pub(crate) struct Late {
    pub(crate) stale: BTreeSet<GroupId>,
    pub(crate) misdated: BTreeSet<GroupId>,
}

impl Late {
    pub(crate) fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.misdated.is_empty()
    }
}
