//! Numbered migrations. The version of a file is its `user_version`, written by the transaction that migrates it.

mod room;

use rusqlite::Connection;

use crate::{OpenError, StoreError, files::Place};

/// The migrations; the first brings an empty file to version 1. Published ones are never edited.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("schema/V001__1_mls.sql"),
        include_str!("schema/V001__2_groups.sql"),
        include_str!("schema/V001__3_messages.sql"),
        include_str!("schema/V001__4_outbox.sql"),
        include_str!("schema/V001__5_held.sql"),
    ],
    &[include_str!("schema/V002__converge.sql")],
    &[include_str!("schema/V003__outbox.sql")],
    &[include_str!("schema/V004__file_keys.sql")],
    &[include_str!("schema/V005__edits.sql")],
];

/// What all migrations together come to, for an empty file. Every statement of a schema costs hundreds of allocations that
/// are locked one by one, and a step that changes a table goes through all of them again.
const NEWEST: &[&str] = &[include_str!("schema/composite.sql")];

/// The oldest schema that can be migrated.
const OLDEST: u32 = 1;

/// The schema version that this build writes.
pub(crate) const SUPPORTED: u32 = MIGRATIONS.len() as u32;

/// The version of the schema that a file says it has.
pub(crate) fn version(conn: &Connection) -> Result<u32, StoreError> {
    let found: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(in_header(found.cast_unsigned()))
}

/// The version in these four bytes of a file's header. SQLite takes them for a number with a sign; a negative one is none of
/// ours, as 0 is.
pub(crate) fn in_header(field: u32) -> u32 {
    u32::try_from(field.cast_signed()).unwrap_or(0)
}

/// Refuses a schema of which this build knows nothing.
pub(crate) fn require_known(found: u32) -> Result<(), OpenError> {
    if found > SUPPORTED {
        return Err(OpenError::SchemaTooNew { found, supported: SUPPORTED });
    }
    if found < OLDEST {
        return Err(OpenError::SchemaTooOld { found, oldest: OLDEST });
    }
    Ok(())
}

/// Brings the schema to the newest version, all steps and the new version in one transaction.
///
/// `fresh` says that the file was just created: only then may it have no version yet. `place` is where it is, unless in
/// memory: rows that are there are not touched before there is room for all of it.
pub(crate) fn migrate(
    conn: &mut Connection,
    fresh: bool,
    application_id: i32,
    place: Option<&Place>,
) -> Result<(), OpenError> {
    let found = version(conn)?;
    if !(fresh && found == 0) {
        require_known(found)?;
    }
    if found == SUPPORTED {
        return Ok(());
    }
    if let Some(place) = place.filter(|_| found != 0) {
        room::require(conn, found, place)?;
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let steps = if found == 0 { &[NEWEST] } else { &MIGRATIONS[found as usize..] };
    for sql in steps.iter().copied().flatten() {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "application_id", application_id)?;
    tx.pragma_update(None, "user_version", SUPPORTED)?;
    tx.commit().map_err(StoreError::from)?;
    Ok(())
}

/// Replaces the schema of a new, empty database by an older one, to take rows of that version. `migrate` then brings
/// it to the newest.
pub(crate) fn rebuild(conn: &mut Connection, version: u32) -> Result<(), OpenError> {
    require_known(version)?;
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let drops: Vec<String> = {
        let mut tables = tx.prepare(
            "SELECT 'DROP TABLE \"' || name || '\"' FROM sqlite_schema
             WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )?;
        let tables = tables.query_map([], |row| row.get(0))?;
        tables.collect::<Result<_, _>>()?
    };
    for sql in &drops {
        tx.execute_batch(sql)?;
    }
    for sql in MIGRATIONS[..version as usize].iter().copied().flatten() {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "user_version", version)?;
    tx.commit().map_err(StoreError::from)?;
    Ok(())
}

/// The newest schema, by all migrations one after the other.
#[cfg(test)]
pub(crate) fn step_by_step(conn: &Connection) -> rusqlite::Result<()> {
    MIGRATIONS.iter().copied().flatten().try_for_each(|sql| conn.execute_batch(sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_rebuilt_schema_is_that_of_its_version() {
        let schema = |conn: &Connection| -> Vec<String> {
            let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
            let mut select = conn.prepare(sql).unwrap();
            select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, true, 1, None).unwrap();
        let before = schema(&conn);
        rebuild(&mut conn, SUPPORTED).unwrap();
        assert_eq!(schema(&conn), before);
        assert!(matches!(rebuild(&mut conn, 0), Err(OpenError::SchemaTooOld { .. })));
        assert!(matches!(rebuild(&mut conn, SUPPORTED + 1), Err(OpenError::SchemaTooNew { .. })));
    }
}
