//! Welcomes that wait for their commit to be confirmed, or to be sent.

use mdk_wire::{EventId, GroupId, PublicKey, SecretVec};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, guarded_debug};
use crate::{Result, Tx};

/// A gift wrap for one invited account.
#[derive(Clone, PartialEq, Eq)]
pub struct WelcomeRow {
    /// Assigned by the store, ignored on insert.
    pub id: i64,
    /// [`PendingRow::id`](crate::PendingRow::id) of the commit that adds the account.
    pub pending: i64,
    /// The account.
    pub recipient: PublicKey,
    /// Id of the gift wrap.
    pub event_id: EventId,
    /// The recipe that makes the very same gift wrap again, together with the commit's Welcome. Secret: it holds the
    /// randomness of the wrap.
    pub recipe: SecretVec,
    /// Whether its commit is true, so that it may go out.
    pub sendable: bool,
}
guarded_debug!(WelcomeRow { id, pending, sendable });

fn read(row: &Row<'_>) -> Result<WelcomeRow> {
    let mut c = Columns::new(row, "welcomes");
    Ok(WelcomeRow {
        id: c.i64()?,
        pending: c.i64()?,
        recipient: c.public_key()?,
        event_id: c.event_id()?,
        recipe: c.secret_vec()?,
        sendable: c.bool()?,
    })
}

impl Tx<'_> {
    /// Stores a Welcome of a stored commit and returns its id. `row.id` is ignored.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have the commit.
    pub fn insert_welcome(&self, row: &WelcomeRow) -> Result<i64> {
        self.exec_one(
            "INSERT INTO welcomes (pending, group_id, recipient, event_id, recipe, sendable)
             SELECT id, group_id, ?2, ?3, ?4, ?5 FROM commits WHERE id = ?1",
            params![
                row.pending,
                row.recipient.as_bytes(),
                row.event_id.as_bytes(),
                row.recipe.expose(),
                row.sendable
            ],
            "a Welcome without its commit",
        )?;
        Ok(self.last_id())
    }

    /// The Welcomes of a commit, in the order of insertion.
    pub fn welcomes_of(&self, pending: i64) -> Result<Vec<WelcomeRow>> {
        self.all(
            "SELECT id, pending, recipient, event_id, recipe, sendable FROM welcomes WHERE pending = ?1 ORDER BY id",
            [pending],
            read,
        )
    }

    /// All Welcomes that may be sent and were not dropped, oldest first: the work that a restart finds.
    pub fn sendable_welcomes(&self) -> Result<Vec<WelcomeRow>> {
        self.all(
            "SELECT id, pending, recipient, event_id, recipe, sendable FROM welcomes WHERE sendable = 1 ORDER BY id",
            [],
            read,
        )
    }

    /// Makes the Welcomes of a commit sendable.
    pub fn release_welcomes(&self, pending: i64) -> Result<()> {
        self.exec("UPDATE welcomes SET sendable = 1 WHERE pending = ?1", [pending])?;
        Ok(())
    }

    /// The Welcomes of a group that may not be sent now, in the order of insertion.
    pub fn withheld_welcomes(&self, group: &GroupId) -> Result<Vec<WelcomeRow>> {
        self.all(
            "SELECT id, pending, recipient, event_id, recipe, sendable FROM welcomes \
             WHERE group_id = ?1 AND sendable = 0 ORDER BY id",
            [group.as_bytes()],
            read,
        )
    }

    /// Makes one Welcome sendable.
    ///
    /// # Errors
    /// [`StoreError`](crate::StoreError) when the database fails or does not have it.
    pub fn release_welcome(&self, id: i64) -> Result<()> {
        self.exec_one("UPDATE welcomes SET sendable = 1 WHERE id = ?1", [id], "an unknown Welcome")
    }

    /// Withholds the Welcomes of a commit that is not true any more. It may be true again.
    pub fn withhold_welcomes(&self, pending: i64) -> Result<()> {
        self.exec("UPDATE welcomes SET sendable = 0 WHERE pending = ?1", [pending])?;
        Ok(())
    }

    /// Withholds one Welcome. No such Welcome: nothing happens.
    pub fn withhold_welcome(&self, event: &EventId) -> Result<()> {
        self.exec("UPDATE welcomes SET sendable = 0 WHERE event_id = ?1", [event.as_bytes()])?;
        Ok(())
    }

    /// Forgets one Welcome: a relay has it. No such Welcome: nothing happens.
    pub fn drop_welcome(&self, event: &EventId) -> Result<()> {
        self.exec("DELETE FROM welcomes WHERE event_id = ?1", [event.as_bytes()])?;
        Ok(())
    }

    /// Forgets the Welcomes of a group.
    pub fn drop_group_welcomes(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM welcomes WHERE group_id = ?1", [group.as_bytes()])?;
        Ok(())
    }

    /// Forgets the Welcomes of a commit.
    pub fn drop_welcomes(&self, pending: i64) -> Result<()> {
        self.exec("DELETE FROM welcomes WHERE pending = ?1", [pending])?;
        Ok(())
    }
}
