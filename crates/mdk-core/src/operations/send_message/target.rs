//! A reaction, an edit or a deletion that a caller writes by hand is about a message that it can be about.

use mdk_store::{MessageRow, MessageStatus, Tx};
use mdk_wire::{GroupId, kind};

use crate::model::error::{Error, Result};
use crate::model::message_kinds::{can_be_deleted, can_be_edited, is_about, target_of};
use crate::model::values::NewMessage;

/// Refuses messages that nobody's history would show: a reaction, an edit or a deletion without a message, and an edit
/// or a deletion of another member's.
pub(crate) fn check_target(tx: &Tx<'_>, group: &GroupId, message: &NewMessage) -> Result<()> {
    if !is_about(message.kind) {
        return Ok(());
    }
    if message.reply_to.is_some() {
        return Err(Error::input(
            "reply_to",
            "beside a reaction, an edit or a deletion: name its message in an e tag",
        ));
    }
    let target = target_of(message.kind, &message.tags)
        .ok_or(Error::input("tags", "one e tag with the id of the message that this is about"))?;
    let row = tx.message(group, &target)?.ok_or(Error::MessageNotFound)?;
    if message.kind != kind::REACTION && !row.mine {
        return Err(Error::NotAllowed("only its author may change a message"));
    }
    may_be_about(message.kind, &row)
}

/// Refuses an edit or a deletion of a message that cannot be edited or deleted.
pub(crate) fn may_be_about(kind: u16, row: &MessageRow) -> Result<()> {
    match kind {
        kind::EDIT if row.status == MessageStatus::Deleted => {
            Err(Error::NotAllowed("the message is deleted"))
        }
        kind::EDIT if !can_be_edited(row.kind) => {
            Err(Error::NotAllowed("a reaction, an edit or a deletion cannot be edited"))
        }
        kind::DELETE if !can_be_deleted(row) => {
            Err(Error::NotAllowed("a deletion cannot be taken back"))
        }
        _ => Ok(()),
    }
}
