//! The keys of the files that messages carry. They are kept as long as the message has content, even after its epoch is
//! forgotten.

use mdk_wire::{GroupId, Secret};
use rusqlite::params;

use crate::store::columns::Columns;
use crate::{Result, Tx};

/// The most keys of one file that are tried: one for each message that carries it.
const MOST: u32 = 16;

pub(crate) const OF_FILE: &str =
    "SELECT key FROM file_keys WHERE group_id = ?1 AND file = ?2 ORDER BY id LIMIT ?3";
pub(crate) const DROP: &str = "DELETE FROM file_keys WHERE message = ?1";

impl Tx<'_> {
    /// Keeps the key of a file with the message at `seq` that carries it. `file` is its
    /// [`reference`](mdk_wire::v2::Attachment::reference).
    pub fn put_file_key(
        &self,
        group: &GroupId,
        seq: i64,
        file: &[u8; 32],
        key: &Secret<32>,
    ) -> Result<()> {
        self.exec(
            "INSERT INTO file_keys (group_id, message, file, key) VALUES (?1, ?2, ?3, ?4)",
            params![group.as_bytes(), seq, &file[..], &key.expose()[..]],
        )?;
        Ok(())
    }

    /// The keys that messages of a group brought for a file, the first 16, each once. There is mostly one.
    pub fn file_keys(&self, group: &GroupId, file: &[u8; 32]) -> Result<Vec<Secret<32>>> {
        let mut keys = self.all(OF_FILE, params![group.as_bytes(), &file[..], MOST], |row| {
            Columns::new(row, "file_keys").secret()
        })?;
        let mut known: Vec<Secret<32>> = Vec::with_capacity(keys.len());
        keys.retain(|key| {
            let new = !known.contains(key);
            if new {
                known.push(key.clone());
            }
            new
        });
        Ok(keys)
    }

    /// Forgets the keys of the files of the message at `seq`. The connection overwrites the freed bytes. None: nothing
    /// happens.
    pub fn drop_file_keys(&self, seq: i64) -> Result<()> {
        self.exec(DROP, [seq])?;
        Ok(())
    }

    /// Moves the files of the message at `from`, which is now at `to`.
    pub fn move_file_keys(&self, from: i64, to: i64) -> Result<()> {
        self.exec("UPDATE file_keys SET message = ?2 WHERE message = ?1", [from, to])?;
        Ok(())
    }
}
