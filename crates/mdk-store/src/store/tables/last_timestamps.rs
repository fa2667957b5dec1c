//! The last second up to which our messages in a group are dated ahead of the clock, across restarts.
//!
//! Each group that ever had a burst has a row of `meta`. It is written with some messages of a burst, and with no
//! other.

use mdk_wire::{GroupId, Timestamp};

use crate::{Result, StoreError, Tx};

fn name(group: &GroupId) -> String {
    format!("pace {}", group.to_hex())
}

impl Tx<'_> {
    /// The last second that was noted as full of messages of ours.
    pub fn pace(&self, group: &GroupId) -> Result<Option<Timestamp>> {
        let Some(row) = self.meta(&name(group))? else { return Ok(None) };
        let second = row.try_into().map_err(|_| StoreError::Decode { what: "pace" })?;
        Ok(Some(Timestamp::from_be_bytes(second)))
    }

    /// Notes that a second is full of messages of ours.
    pub fn set_pace(&self, group: &GroupId, second: Timestamp) -> Result<()> {
        self.set_meta(&name(group), &second.to_be_bytes())
    }

    /// Removes the row of a group: its name has the group's id.
    pub(crate) fn drop_pace(&self, group: &GroupId) -> Result<()> {
        self.exec("DELETE FROM meta WHERE name = ?1", [name(group)])?;
        Ok(())
    }
}
