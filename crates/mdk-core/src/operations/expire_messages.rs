//! Erasing the messages whose time is over.

use std::collections::BTreeSet;

use mdk_store::{MessageRow, MessageStatus};
use mdk_wire::budget::group::MAX_EXPIRED_AT_ONCE;
use mdk_wire::{GroupId, kind};

use crate::model::error::Result;
use crate::model::message_kinds::is_bare;
use crate::state_store::deliveries;
use crate::state_store::log_entry::Stored;
use crate::state_store::message_expiry::UNTIL_SENT;
use crate::state_store::records::Records;

/// Messages whose time has come disappear (rule: 2.9-3; plaintext only, never MLS state): from history, search and
/// disk. While branches compete, the senders of each state stay known until its epoch is forgotten.
pub(crate) fn expire_messages(records: &mut Records<'_>) -> Result<()> {
    let mut groups: BTreeSet<GroupId> = BTreeSet::new();
    loop {
        // (each of them is due no longer after this)
        let due = records.tx.expired(records.now(), MAX_EXPIRED_AT_ONCE)?;
        if due.is_empty() {
            break;
        }
        let mut gone_with_message = BTreeSet::new();
        for row in due {
            if row.status == MessageStatus::Expired {
                // Nobody can send a copy any more that could still be read.
                records.tx.expire_message(row.seq)?;
            } else if !gone_with_message.contains(&row.seq) {
                gone_with_message.extend(records.expiry().expire_edits(&row)?);
                expire_message(records, &row)?;
            }
            groups.insert(row.group);
        }
    }
    for id in groups {
        let floor = records.groups().current_row(&id)?.pass.floor;
        records.tx.purge_expired(&id, floor)?;
    }
    Ok(())
}

pub(crate) fn expire_message(records: &mut Records<'_>, row: &MessageRow) -> Result<()> {
    // rule: 2.9-7 the text of before is shown when an edit has had its time, and that is told
    let edited = records.messages().edited_by(row)?;
    let edited = edited.filter(|of| of.expires_at.is_none_or(|at| at > records.now()));
    if row.kind == kind::DELETE {
        // rule: 2.9-8 what we deleted goes for the others, too, however long the deletion waits for a relay
        if deliveries::waits_to_go_out(records.tx, row)? {
            let later = records.now().saturating_add(UNTIL_SENT);
            return Ok(records.tx.set_lifetime(&row.group, &row.id, Some(later))?);
        }
        records.deliveries().expire_outgoing(row.mine, &row.outer_id)?;
        return records.expiry().retire_deletion(row, !is_bare(row));
    }
    records.deliveries().expire_outgoing(row.mine, &row.outer_id)?;
    let shown = matches!(row.status, MessageStatus::Valid | MessageStatus::Invalidated);
    // A deleted message is deleted in every epoch in which it was said.
    records.expiry().bury(row, shown || row.status == MessageStatus::Deleted)?;
    let stored = match row.kind {
        _ if !shown => None,
        kind::REACTION => Stored::reaction_removed(row),
        kind::EDIT => edited.map(|of| Stored::MessageEdited { seq: of.seq }),
        _ => Some(Stored::MessageDeleted { id: *row.id.as_bytes() }),
    };
    let Some(stored) = stored else { return Ok(()) };
    records.log().emit(&row.group.clone(), row.content_id.as_bytes(), &stored)
}
