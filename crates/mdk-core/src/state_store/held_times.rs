//! The times that held events claim, and the time from which a group's events are for us.

use mdk_store::{GroupRow, HeldRow, Loss};
use mdk_wire::{Event, Timestamp, kind};

// rule: F1-7 what was said before we were added is nobody's loss, nor is the commit that added us
/// Whether an event that comes now, and that no key opens, may be of an epoch of ours that is retained no more.
///
/// As long as none of these epochs is gone, the event is of one before ours, which we could never read, or of one to
/// come. (Of an event that comes later only its time can tell. A member who has not heard of us for six epochs may
/// still speak in an epoch before ours: that message is counted as lost.)
pub(crate) fn loss_now(row: &GroupRow) -> Loss {
    if row.pass.floor > row.join_epoch { Loss::Possible } else { Loss::Unlikely }
}

/// The first second of which everything is for us.
///
/// Our invitation and the commit that added us are of one second, and that commit is nothing that we could read: every
/// invitee that is given it would be told of a loss.
pub(crate) fn ours_from(row: &GroupRow) -> Timestamp {
    row.pass.joined_at.saturating_add(u64::from(row.welcome.is_some()))
}

/// The claimed time of a held event of a group; a Welcome that waits is no part of the history.
pub(crate) fn created_at(held: &HeldRow) -> Option<Timestamp> {
    let event = Event::from_stored_json(held.event_json.as_bytes()).ok()?;
    (event.kind() == kind::GROUP_MESSAGE).then(|| event.created_at())
}
