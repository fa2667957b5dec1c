//! The history and the event log, as they are read.

use mdk_wire::budget::group::MAX_SHOWN_REACTIONS;
use mdk_wire::{EventId, GroupId};

use crate::engine::Engine;
use crate::model::error::{Error, Result};
use crate::model::message_kinds::is_bare;
use crate::model::values::{Delivery, EngineEvent, Message};
use crate::state_store::declined_invites::declined;
use crate::state_store::{history, read_events};

impl Engine {
    /// A page of history in order of arrival.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`] for an unknown anchor.
    pub fn messages(
        &mut self,
        id: &GroupId,
        limit: u32,
        before: Option<&EventId>,
        after: Option<&EventId>,
    ) -> Result<Vec<Message>> {
        self.look_now(|ctx| {
            ctx.work.records.groups().listed(id)?;
            history::page(ctx.work.records.tx, id, limit, before, after)
        })
    }

    /// One message.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`].
    pub fn message(&mut self, group: &GroupId, id: &EventId) -> Result<Message> {
        self.look_now(|ctx| {
            ctx.work.records.groups().listed(group)?;
            let row = ctx.work.records.tx.message(group, id)?.filter(|row| !is_bare(row));
            history::view(ctx.work.records.tx, row.ok_or(Error::MessageNotFound)?)
        })
    }

    /// Messages whose text, as it is shown now, contains `query`, newest first.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] for an unknown group; [`Error::Store`].
    pub fn search(
        &mut self,
        query: &str,
        group: Option<&GroupId>,
        limit: u32,
    ) -> Result<Vec<Message>> {
        self.look_now(|ctx| {
            if let Some(id) = group {
                ctx.work.records.groups().listed(id)?;
            }
            let mut rows = ctx.work.records.tx.search(query, group, limit)?;
            let declined = declined(ctx.work.records.tx)?;
            rows.retain(|row| !declined.contains(&row.group.to_hex()));
            rows.into_iter().map(|row| history::view(ctx.work.records.tx, row)).collect()
        })
    }

    /// Marks the history read up to a message, or wholly.
    ///
    /// # Errors
    /// [`Error::GroupNotFound`], [`Error::MessageNotFound`].
    pub fn mark_read(&mut self, id: &GroupId, upto: Option<&EventId>) -> Result<()> {
        self.act(|ctx| {
            ctx.work.records.groups().listed(id)?;
            let seq = match upto {
                Some(message) => {
                    ctx.work.records.tx.message(id, message)?.ok_or(Error::MessageNotFound)?.seq
                }
                None => ctx.work.records.tx.last_message(id)?.map_or(0, |m| m.seq),
            };
            ctx.work.records.edit_row(id, |row| row.last_read = row.last_read.max(seq))?;
            Ok(())
        })
    }

    /// The event log after a cursor (0 for all), oldest first.
    pub fn events(&mut self, after: i64, limit: u32) -> Result<Vec<EngineEvent>> {
        // The event that tells of an expired message has a number only once it is on disk. If the write failed, a later
        // event would get that number, and nobody would ask for it any more.
        let _ = self.expire();
        let last = self.look(|ctx| Ok(ctx.work.records.tx.last_event_seq()?))?;
        self.look_now(|ctx| {
            let me = ctx.work.identity.account();
            let (mut cursor, mut events) = (after, Vec::new());
            // Rows whose subject is gone give no event; the page is filled from those behind them.
            loop {
                let rows = ctx.work.records.tx.events_after(cursor, limit)?;
                for row in &rows {
                    if events.len() == limit as usize || row.seq > last {
                        return Ok(events);
                    }
                    cursor = row.seq;
                    events.extend(read_events::read(ctx.work.records.tx, me, row)?);
                }
                if rows.is_empty() {
                    return Ok(events);
                }
            }
        })
    }

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
            ctx.work.records.tx.message(group, message)?.ok_or(Error::MessageNotFound)?;
            let me = ctx.work.identity.account();
            let rows =
                ctx.work.records.tx.reactions(group, message, Some(&me), MAX_SHOWN_REACTIONS)?;
            Ok(rows.into_iter().map(|row| (row.id, row.emoji)).collect())
        })
    }

    /// Cursor of the newest event of the log, 0 when it is empty.
    pub fn last_cursor(&mut self) -> Result<i64> {
        self.look(|ctx| Ok(ctx.work.records.tx.last_event_seq()?))
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
        self.look_now(|ctx| {
            ctx.work.records.groups().listed(group)?;
            let after = match after {
                Some(id) => {
                    ctx.work.records.tx.message(group, id)?.ok_or(Error::MessageNotFound)?.seq
                }
                None => i64::MIN,
            };
            let rows = ctx.work.records.tx.page(group, limit, None, Some(after))?;
            rows.into_iter().map(|row| history::view(ctx.work.records.tx, row)).collect()
        })
    }

    /// The delivery of a message, reaction, edit or deletion of ours.
    ///
    /// # Errors
    /// [`Error::MessageNotFound`]: it is gone, perhaps because its time was over.
    pub fn delivery(&mut self, group: &GroupId, message: &EventId) -> Result<Delivery> {
        self.look(|ctx| {
            let row = ctx.work.records.tx.message(group, message)?.ok_or(Error::MessageNotFound)?;
            Ok(history::view_with(row, None, Vec::new()).fate.delivery)
        })
    }
}
