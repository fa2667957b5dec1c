//! Small questions that only a client asks.

use mdk_store::MessageStatus;
use mdk_wire::{EventId, GroupId, kind};

use super::Engine;
use crate::error::{Error, Result};
use crate::history;
use crate::values::{Delivery, Message};

impl Engine {
    /// Our reactions to a message that stand: the id that [`Engine::delete`] takes, and the emoji; oldest first.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`].
    pub fn own_reactions(
        &mut self,
        group: &GroupId,
        message: &EventId,
    ) -> Result<Vec<(EventId, String)>> {
        self.look(|ctx| {
            ctx.tx.message(group, message)?.ok_or(Error::MessageNotFound)?;
            let ours = |row: &mdk_store::MessageRow| {
                row.mine && row.kind == kind::REACTION && row.status == MessageStatus::Valid
            };
            let rows = ctx.tx.children(group, message)?;
            Ok(rows.into_iter().filter(ours).map(|row| (row.id, row.content)).collect())
        })
    }

    /// Cursor of the newest event of the log, 0 when it is empty.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn last_cursor(&mut self) -> Result<i64> {
        self.look(|ctx| Ok(ctx.tx.last_event_seq()?))
    }

    /// A page of history from its beginning, or from behind `after`, in the order of arrival.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`].
    pub fn messages_oldest(
        &mut self,
        group: &GroupId,
        after: Option<&EventId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        self.expire()?;
        self.look(|ctx| {
            ctx.tx.group(group)?.ok_or(Error::GroupNotFound)?;
            let after = match after {
                Some(id) => ctx.tx.message(group, id)?.ok_or(Error::MessageNotFound)?.seq,
                None => i64::MIN,
            };
            let rows = ctx.tx.page(group, limit, None, Some(after))?;
            rows.into_iter().map(|row| history::view(ctx.tx, row)).collect()
        })
    }

    /// How far a message, reaction, edit or deletion of ours got.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`]: it is gone, perhaps because its time was over.
    pub fn delivery(&mut self, group: &GroupId, message: &EventId) -> Result<Delivery> {
        self.look(|ctx| {
            let row = ctx.tx.message(group, message)?.ok_or(Error::MessageNotFound)?;
            Ok(history::view_with(row, Vec::new()).delivery)
        })
    }
}
