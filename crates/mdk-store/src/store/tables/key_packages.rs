//! Published KeyPackages. Their private parts are rows of OpenMLS and have a life of their own.

use mdk_wire::{EventId, KeyPackageRef, Timestamp};
use rusqlite::{Row, params};

use crate::store::columns::{Columns, U64, encode_list, guarded_debug};
use crate::{Result, Tx};

/// A KeyPackage of ours. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPackageRow {
    /// The hash by which a Welcome names it (RFC 9420, 5.2).
    pub reference: KeyPackageRef,
    /// The `d` tag of its event.
    pub slot: String,
    /// Id of its event.
    pub event_id: EventId,
    /// The signed event, as published.
    pub event_json: String,
    /// `created_at` of the event.
    pub created_at: Timestamp,
    /// End of its lifetime.
    pub not_after: Timestamp,
    /// Relays that it is published on.
    pub relays: Vec<String>,
    /// Whether it may be used more than once.
    pub last_resort: bool,
    /// Whether a Welcome has used it.
    pub used: bool,
    /// The time at which a successor was published.
    pub replaced_at: Option<Timestamp>,
}
guarded_debug!(KeyPackageRow { created_at, not_after, last_resort, used, replaced_at });

const COLUMNS: &str = "reference, slot, event_id, event_json, created_at, not_after, relays, last_resort, used, replaced_at";

fn read(row: &Row<'_>) -> Result<KeyPackageRow> {
    let mut c = Columns::new(row, "key_packages");
    Ok(KeyPackageRow {
        reference: c.reference()?,
        slot: c.text()?,
        event_id: c.event_id()?,
        event_json: c.text()?,
        created_at: c.u64()?,
        not_after: c.u64()?,
        relays: c.list()?,
        last_resort: c.bool()?,
        used: c.bool()?,
        replaced_at: c.opt(Columns::u64)?,
    })
}

impl Tx<'_> {
    /// Stores a KeyPackage, or replaces the row with the same reference.
    pub fn put_key_package(&self, row: &KeyPackageRow) -> Result<()> {
        self.exec(
            &format!("INSERT OR REPLACE INTO key_packages ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
            params![
                row.reference.as_bytes(),
                row.slot,
                row.event_id.as_bytes(),
                row.event_json,
                U64(row.created_at),
                U64(row.not_after),
                encode_list(&row.relays)?,
                row.last_resort,
                row.used,
                row.replaced_at.map(U64),
            ],
        )?;
        Ok(())
    }

    /// The KeyPackage with this reference.
    pub fn key_package(&self, reference: &KeyPackageRef) -> Result<Option<KeyPackageRow>> {
        let sql = format!("SELECT {COLUMNS} FROM key_packages WHERE reference = ?1");
        self.one(&sql, [reference.as_bytes()], read)
    }

    /// All KeyPackages, newest first; equal times by lower reference.
    pub fn key_packages(&self) -> Result<Vec<KeyPackageRow>> {
        self.all(
            &format!("SELECT {COLUMNS} FROM key_packages ORDER BY created_at DESC, reference"),
            [],
            read,
        )
    }

    /// Forgets the row; the private part in the rows of OpenMLS is not touched. No such row: nothing happens.
    pub fn delete_key_package(&self, reference: &KeyPackageRef) -> Result<()> {
        self.erase("DELETE FROM key_packages WHERE reference = ?1", [reference.as_bytes()])?;
        Ok(())
    }

    /// Notes that a Welcome has used it. No such row: nothing happens.
    pub fn mark_key_package_used(&self, reference: &KeyPackageRef) -> Result<()> {
        self.exec("UPDATE key_packages SET used = 1 WHERE reference = ?1", [reference.as_bytes()])?;
        Ok(())
    }
}
