//! Lost messages, reported once (protocol/waiting.md F1).
//!
//! A member who cannot open an event does not know its epoch. The event's time is a claim, and any clock may be wrong.
//! So an event is not lost by time alone: it may have overtaken the commit that it waits for. Two things show a loss.
//! The caller says that everything there is has been given ([`Engine::settle`](crate::Engine::settle)), or the thirty
//! days are over for which an event is kept.
//!
//! Two sorts of events cannot be told from those that we should have read, and are counted: an event that a stranger
//! sealed to the routing id, and one that was said on a branch of which we know no more.

use mdk_store::{GroupRow, Tx};
use mdk_wire::Timestamp;

use crate::model::error::Result;
use crate::model::limits::CLOCKS;
use crate::model::membership;
use crate::state_store::held_times::ours_from;
use crate::state_store::history_gaps;
use crate::state_store::records::Records;

// rule: F1-5 what no retained key opens when everything was given, and is older than all that is retained, is lost
/// Reports held events that came too late, once each: all that relays have has been given, and was tried.
///
/// Their own times say which came too late, as far as they go. An event that claims to be younger than the oldest
/// retained epoch may have come while this was being done, and be early. It is told when the window has passed its
/// time, or when it is dropped. An event that came after the window and claims to be younger than where we are means
/// that a commit seems to be missing. While it waits, nothing is told. (A relay that cannot be reached may have the
/// commit.)
pub(crate) fn report_gaps(records: &mut Records<'_>, row: &GroupRow) -> Result<()> {
    if row.pass.floor <= row.join_epoch
        || row.pass.opened != 0
        || row.status.is_stuck()
        || membership::is_over(row.status)
    {
        return Ok(());
    }
    let nodes = records.tx.nodes(&row.id)?;
    let Some(oldest) = nodes.iter().find(|n| n.canonical && n.epoch == row.pass.floor) else {
        return Ok(());
    };
    let Some(tip) = nodes.iter().find(|n| n.authenticator == row.authenticator) else {
        return Ok(());
    };
    let ahead =
        records.waiting().closed_between(row, tip.sent_at.saturating_add(1), Timestamp::MAX)?;
    if ahead.iter().any(|(held, _)| held.received_at >= oldest.made_at / 1000) {
        return Ok(());
    }
    let from = ours_from(row).saturating_sub(CLOCKS);
    let lost = records.waiting().closed_between(row, from, oldest.sent_at)?;
    for (held, _) in &lost {
        records.tx.mark_reported(&held.event_id)?;
    }
    records.gaps().report_lost(row, &lost)
}

/// Whether something waits that no state of ours can read, and that was made since we joined.
pub(crate) fn stands_still(tx: &Tx<'_>, row: &GroupRow) -> Result<bool> {
    Ok(history_gaps::last_unread(tx, row)?.is_some())
}
