//! The durable event log: events by reference, with stable ids.
//!
//! A row names its subject (a message's position, a commit's digest); the value that the user sees is read
//! from the tables when it is asked for. The stable id makes a repeated emission after a crash a no-op.

use mdk_store::{MessageRow, Tx};
use mdk_wire::budget::group::MAX_EPOCHS_TOLD;
use mdk_wire::{GroupId, PublicKey};

use crate::model::effects::Effects;
use crate::model::error::{Error, Result};
use crate::model::invites::Key;
use crate::model::values::{EngineEvent, EventBody};
use crate::state_store::declined_invites::is_declined;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;
use crate::state_store::log_rows::{decode, stable_id};
use crate::state_store::read_events::materialize;

/// The log, for telling: recorded events are told to the maker of the call.
pub(crate) struct EventLog<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) me: PublicKey,
    pub(crate) effects: &'a mut Effects,
}

impl EventLog<'_> {
    /// Records an event once; `subject` distinguishes it from others of its kind in the group.
    pub(crate) fn emit(&mut self, group: &GroupId, subject: &[u8], stored: &Stored) -> Result<()> {
        // A message is delivered once for ever already, so its event needs no id of its own.
        let stable_id = (!stored.is_of_message()).then(|| stable_id(group, subject, stored.kind()));
        self.tell(group, stable_id, stored)
    }

    /// Records the effects of a step from one state to another, in the transaction that takes it: a step is not taken
    /// twice, so this needs no id. A commit that wins, loses and wins again is told each time.
    pub(crate) fn emit_step(&mut self, group: &GroupId, stored: &Stored) -> Result<()> {
        self.tell(group, None, stored)
    }

    // rule: D7-4 who commits without end fills no log
    /// Records a change of the epoch by a step. A group keeps its newest [`MAX_EPOCHS_TOLD`]; an older one goes into
    /// the one after it.
    pub(crate) fn emit_epoch(&mut self, group: &GroupId, changed: &Stored) -> Result<()> {
        self.emit_step(group, changed)?;
        let surplus = self.tx.surplus_epochs(group, MAX_EPOCHS_TOLD)?;
        let Some((mut later, former)) = surplus else { return Ok(()) };
        // (the end of another membership is no step to this one, and an entry that does not decode is no loss)
        if let (
            Ok(Stored::EpochChanged { old, new: reached, .. }),
            Ok(Stored::EpochChanged { old: from, new, commit }),
        ) = (decode(&former), decode(&later))
            && reached == from
        {
            let both = Stored::EpochChanged { old, new, commit };
            later.body = postcard::to_stdvec(&both).map_err(Error::bug("event encoding"))?;
        }
        Ok(self.tx.fold_events(former.seq, later.seq, &later.body)?)
    }

    fn tell(&mut self, group: &GroupId, stable_id: Option<Key>, stored: &Stored) -> Result<()> {
        let Some(cursor) = self.record(group, stable_id, stored)? else { return Ok(()) };
        if is_declined(self.tx, group)? {
            return Ok(());
        }
        if let Some(body) = materialize(self.tx, self.me, Some(group), stored)? {
            self.effects.told.push(EngineEvent { cursor, group_id: Some(group.clone()), body });
        }
        Ok(())
    }

    /// Tells a message as it was said. An edit that came before its message follows as an event of its own, as it does
    /// when it comes later.
    pub(crate) fn emit_message(&mut self, row: MessageRow) -> Result<()> {
        let (group, seq, edit) = (row.group.clone(), row.seq, history::edit_of(self.tx, &row)?);
        if let Some(cursor) = self.record(&group, None, &Stored::MessageReceived { seq })?
            && !is_declined(self.tx, &group)?
        {
            let body = EventBody::MessageReceived { message: history::as_said(row) };
            self.effects.told.push(EngineEvent { cursor, group_id: Some(group.clone()), body });
        }
        match edit {
            Some(_) => self.emit_step(&group, &Stored::MessageEdited { seq }),
            None => Ok(()),
        }
    }

    fn record(
        &self,
        group: &GroupId,
        stable_id: Option<Key>,
        stored: &Stored,
    ) -> Result<Option<i64>> {
        let body = postcard::to_stdvec(stored).map_err(Error::bug("event encoding"))?;
        Ok(self.tx.append_event(stable_id.as_ref(), Some(group), stored.kind(), &body)?)
    }
}
