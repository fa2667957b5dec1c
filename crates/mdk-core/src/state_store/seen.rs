//! The events that were dealt with, and their results.

use mdk_store::{Seen, Tx};

use crate::model::halt::Halt;
use crate::model::membership::is_invited;
use crate::model::opened::Opened;

/// Marks an event and its content as done: for ever, or until an invitation goes without having been accepted.
pub(crate) fn done(tx: &Tx<'_>, opened: &Opened) -> Result<(), Halt> {
    let invite = opened.row.welcome.filter(|_| is_invited(opened.row.status));
    for id in [opened.event_id.as_bytes(), opened.content_id.as_bytes()] {
        match &invite {
            Some(invite) => tx.mark_done_for(invite, id)?,
            None => tx.mark_seen(id, Seen::Done)?,
        }
    }
    Ok(())
}
