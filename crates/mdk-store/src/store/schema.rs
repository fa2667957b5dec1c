//! The schema and its version, which a file keeps as its `user_version`.

use rusqlite::{Connection, TransactionBehavior::Immediate};

use crate::{APPLICATION_ID, OpenError, StoreError};

/// Each migration brings a file from the version before to its own. The first one brings an empty file to version 1.
/// Released ones are never edited.
const MIGRATIONS: &[&str] = &[include_str!("schema/V001.sql")];

/// The schema version that this build writes.
pub(crate) const SUPPORTED: u32 = MIGRATIONS.len() as u32;

/// The schema version of a file, as the file states it.
pub(crate) fn version(conn: &Connection) -> Result<u32, StoreError> {
    let found: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(in_header(found.cast_unsigned()))
}

/// The version in these four bytes of a file's header. SQLite takes them for a number with a sign. A negative number is
/// none of our versions, like 0.
pub(crate) fn in_header(field: u32) -> u32 {
    u32::try_from(field.cast_signed()).unwrap_or(0)
}

/// Refuses a schema that this build does not know.
pub(crate) fn require_known(found: u32) -> Result<(), OpenError> {
    match found {
        0 => Err(OpenError::SchemaTooOld { found, oldest: 1 }),
        1..=SUPPORTED => Ok(()),
        _ => Err(OpenError::SchemaTooNew { found, supported: SUPPORTED }),
    }
}

/// Brings the schema to the newest version, all steps and the new version in one transaction.
///
/// `fresh`: the file was just created. Only then may it have no version yet.
pub(crate) fn migrate(conn: &mut Connection, fresh: bool) -> Result<(), OpenError> {
    let found = version(conn)?;
    if !(fresh && found == 0) {
        require_known(found)?;
    }
    if found == SUPPORTED {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(Immediate)?;
    for sql in &MIGRATIONS[found as usize..] {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", SUPPORTED)?;
    tx.commit().map_err(StoreError::from)?;
    Ok(())
}
