//! The messages of a group, and their effects on each other.

use mdk_store::{MessageRow, MessageStatus, Tx};
use mdk_wire::{EventId, GroupId, PublicKey, kind};

use crate::media::attachments::has_imeta;
use crate::model::error::{Error, Result};
use crate::model::message_kinds::{can_be_deleted, can_be_edited, is_about};
use crate::state_store::log_entry::Stored;

/// The messages of all groups.
#[derive(Clone, Copy)]
pub(crate) struct Messages<'a> {
    pub(crate) tx: &'a Tx<'a>,
}

impl Messages<'_> {
    pub(crate) fn own_message(&self, id: &GroupId, target: &EventId) -> Result<MessageRow> {
        self.tx.group(id)?.ok_or(Error::GroupNotFound)?;
        let row = self.tx.message(id, target)?.ok_or(Error::MessageNotFound)?;
        if row.mine {
            Ok(row)
        } else {
            Err(Error::NotAllowed("only its author may change a message"))
        }
    }

    /// One of several copies of a message is shown: these are kept for the case that their branch wins after all.
    pub(crate) fn park_copies(&self, copies: &[MessageRow]) -> Result<()> {
        for copy in copies.iter().filter(|copy| copy.status == MessageStatus::Invalidated) {
            self.tx.set_message_status(copy.seq, MessageStatus::Parked)?;
        }
        Ok(())
    }

    // rule: 2.4-14 what is deleted is gone with its edits, whichever came first
    /// Whether this is an edit of a message that is deleted, or will be when it comes.
    pub(crate) fn is_void(&self, row: &MessageRow) -> Result<bool> {
        let Some(target) = row.target.filter(|_| row.kind == kind::EDIT) else { return Ok(false) };
        let deleted = |t: MessageRow| t.status == MessageStatus::Deleted;
        if self.tx.message(&row.group, &target)?.is_some_and(deleted) {
            return Ok(true);
        }
        Ok(self.tx.says_about(&row.group, &target, kind::DELETE, &row.sender)?)
    }

    /// Whether its author deletes it, by one of the messages that point at it.
    pub(crate) fn is_deleted(&self, row: &MessageRow) -> Result<bool> {
        Ok(can_be_deleted(row)
            && self.tx.says_about(&row.group, &row.id, kind::DELETE, &row.sender)?)
    }

    /// Blanks the edits of a deleted message, those of one account or of all.
    pub(crate) fn erase_edits(
        &self,
        group: &GroupId,
        id: &EventId,
        by: Option<&PublicKey>,
    ) -> Result<()> {
        for edit in self.tx.edits(group, id)? {
            if by.is_none_or(|by| *by == edit.sender) {
                self.tx.erase_message(edit.seq)?;
            }
        }
        Ok(())
    }

    /// Applies a deletion of a message that is not shown, or not here yet: waiting copies go now, and its author's
    /// edits.
    fn erase_unseen(&self, delete: &MessageRow, id: &EventId) -> Result<()> {
        let mut copies = self.tx.copies(&delete.group, id)?;
        copies.retain(|copy| copy.sender == delete.sender && can_be_deleted(copy));
        let mut own = copies.iter();
        if let Some(first) = own.next() {
            self.erase_row(first)?;
        }
        for copy in own {
            self.expire_row(copy)?;
        }
        self.erase_edits(&delete.group, id, Some(&delete.sender))
    }

    /// Applies a stored message to the one it points at, and returns the event to report, if any.
    pub(crate) fn apply_to_target(&self, row: &MessageRow) -> Result<Option<Stored>> {
        if row.status == MessageStatus::Deleted {
            return Ok(None);
        }
        let target = match row.target.filter(|_| is_about(row.kind)) {
            Some(id) => self.tx.message(&row.group, &id)?,
            None => None,
        };
        Ok(match (row.kind, target) {
            (kind::DELETE, Some(target)) if target.sender == row.sender => self.erase(target)?,
            (kind::DELETE, None) => {
                if let Some(id) = &row.target {
                    self.erase_unseen(row, id)?;
                }
                None
            }
            // A delete, edit or reaction that points nowhere (yet), or at another's message, is kept and shown
            // when its target arrives; it is no event by itself.
            (kind::EDIT, None) | (kind::DELETE, Some(_)) => None,
            // rule: 2.4-9, 2.4-17
            (kind::EDIT, Some(target)) => (target.sender == row.sender
                && target.status != MessageStatus::Deleted
                && can_be_edited(target.kind))
            .then_some(Stored::MessageEdited { seq: target.seq }),
            (kind::REACTION, _) => row.target.map(|_| Stored::Reacted { seq: row.seq }),
            _ => Some(Stored::MessageReceived { seq: row.seq }),
        })
    }

    /// Blanks a message with its copies and its edits. A reaction just goes. An edit that was shown gives way to the
    /// text before it.
    pub(crate) fn erase(&self, target: MessageRow) -> Result<Option<Stored>> {
        if target.status == MessageStatus::Deleted || !can_be_deleted(&target) {
            return Ok(None);
        }
        let edited = self.edited_by(&target)?.map(|of| of.seq);
        self.erase_row(&target)?;
        for copy in self.tx.copies(&target.group, &target.id)? {
            if copy.seq != target.seq {
                self.expire_row(&copy)?;
            }
        }
        if target.kind == kind::REACTION {
            return Ok(Stored::reaction_removed(&target));
        }
        if target.kind == kind::EDIT {
            return Ok(edited.map(|seq| Stored::MessageEdited { seq }));
        }
        self.erase_edits(&target.group, &target.id, None)?;
        Ok(Some(Stored::MessageDeleted { id: *target.id.as_bytes() }))
    }

    /// The message whose shown text is this edit.
    pub(crate) fn edited_by(&self, edit: &MessageRow) -> Result<Option<MessageRow>> {
        let (kind::EDIT, Some(of)) = (edit.kind, &edit.target) else { return Ok(None) };
        let newest = self.tx.newest_edit(&edit.group, of, &edit.sender)?;
        if newest.is_none_or(|newest| newest.seq != edit.seq) {
            return Ok(None);
        }
        let of = self.tx.message(&edit.group, of)?;
        // rule: 2.4-17 what was lost with its branch is shown, marked
        Ok(of.filter(|of| of.sender == edit.sender && of.status != MessageStatus::Deleted))
    }

    /// Takes the content of a message away, and the keys of its files.
    pub(crate) fn erase_row(&self, row: &MessageRow) -> Result<()> {
        if has_imeta(row) {
            self.tx.drop_file_keys(row.seq)?;
        }
        Ok(self.tx.erase_message(row.seq)?)
    }

    /// As [`Messages::erase_row`], with everything that tells its content.
    pub(crate) fn expire_row(&self, row: &MessageRow) -> Result<()> {
        if has_imeta(row) {
            self.tx.drop_file_keys(row.seq)?;
        }
        Ok(self.tx.expire_message(row.seq)?)
    }

    /// As [`Messages::expire_row`], but its copies are known until `until`.
    pub(crate) fn bury_row(&self, row: &MessageRow, until: u64, shown: bool) -> Result<()> {
        if has_imeta(row) {
            self.tx.drop_file_keys(row.seq)?;
        }
        Ok(self.tx.bury_message(row, until, shown)?)
    }

    /// Shows a message at the end of the history. Gives its new place.
    pub(crate) fn show_row_last(&self, row: &MessageRow) -> Result<i64> {
        let last = self.tx.show_message_last(row.seq)?;
        if has_imeta(row) {
            self.tx.move_file_keys(row.seq, last)?;
        }
        Ok(last)
    }
}
