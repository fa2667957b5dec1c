//! Makes the saved rows fit together again, so that the engine opens them.

use rusqlite::{Connection, params, types::Value};

use super::copy_rows::Loss;
use crate::{StoreError, store::tables::groups::GROUP_TABLES, vault::verify::INCOMPLETE_GROUPS};

type Result<T> = std::result::Result<T, StoreError>;

/// `groups.status` of a group that only a new Welcome brings back.
const UNRECOVERABLE: u8 = crate::GroupStatus::Unrecoverable as u8;
/// Groups that this account takes part in, or that end.
const LIVE: &str = "status IN (0, 1, 2, 3, 6, 9)";
/// Groups that end, and have lost the state that ends them. A state made from their row would only say that they go on.
const ENDLESS: &str = "SELECT group_id FROM groups AS g WHERE status = 9 AND NOT EXISTS \
     (SELECT 1 FROM nodes AS n WHERE n.group_id = g.group_id AND n.authenticator = g.authenticator)";

/// The repairs that were made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repaired {
    /// Groups that had lost their row, and got a new one for the sake of their messages.
    pub(super) rebuilt: u64,
    /// Groups whose MLS state is incomplete.
    pub(super) unrecoverable: u64,
    /// Rows that refer to something that is lost.
    pub(super) dropped: u64,
    /// The account's signing key is lost.
    pub(super) identity_lost: bool,
}

/// Repairs the database. `mls` has the rows of OpenMLS that are known to be missing.
pub(super) fn repair(conn: &Connection, mls: Option<&Loss>) -> Result<Repaired> {
    let mut repaired = Repaired { rebuilt: rebuild_groups(conn)?, ..Repaired::default() };
    repaired.unrecoverable = repaired.rebuilt;
    repaired.identity_lost = forget_identity(conn)?;
    if repaired.identity_lost || mls.is_some_and(|loss| loss.unlisted) {
        // The leaves of these groups are signed with a key that is gone; or nothing shows which groups have lost state.
        repaired.unrecoverable +=
            give_up(conn, &format!("SELECT group_id FROM groups WHERE {LIVE}"))?;
    }
    conn.execute_batch("CREATE TEMP TABLE broken (group_id BLOB PRIMARY KEY)")?;
    for group in mls.iter().flat_map(|loss| &loss.groups) {
        conn.execute("INSERT OR IGNORE INTO temp.broken VALUES (?1)", [group])?;
    }
    repaired.unrecoverable += give_up(
        conn,
        &format!("SELECT group_id FROM groups WHERE {LIVE} AND group_id IN temp.broken"),
    )?;
    repaired.unrecoverable += give_up(conn, INCOMPLETE_GROUPS)?;
    repaired.unrecoverable += give_up(conn, ENDLESS)?;
    conn.execute_batch("DROP TABLE temp.broken")?;
    repaired.dropped = drop_strays(conn)?;
    complete_groups(conn)?;
    conn.execute("DELETE FROM shares", [])?;
    conn.execute(crate::store::tables::shares::RECOUNT, [Value::Null])?;
    Ok(repaired)
}

/// Makes a row for each group that has lost it and still has messages: without a name, and unrecoverable. The history
/// of the group can be read that way.
fn rebuild_groups(conn: &Connection) -> Result<u64> {
    let mut lost = conn.prepare(
        "SELECT group_id, min(created_at), max(epoch) FROM messages AS m WHERE NOT EXISTS \
         (SELECT 1 FROM groups WHERE groups.group_id = m.group_id) GROUP BY group_id",
    )?;
    let lost = lost
        .query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Value>(1)?, row.get::<_, Value>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (group, created_at, epoch) in &lost {
        let members: Vec<u8> = conn
            .prepare("SELECT DISTINCT sender FROM messages WHERE group_id = ?1 ORDER BY sender")?
            .query_map([group], |row| row.get::<_, Vec<u8>>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?
            .concat();
        conn.execute(
            "INSERT INTO groups (group_id, profile, status, epoch, join_epoch, authenticator, event_key, \
             nostr_group_id, name, description, relays, admins, members, retention, has_image, created_at, \
             self_updated_at, last_read, pass_opened, pass_relevant, pass_base, floor, contested, switches, joined_at) \
             VALUES (?1, 2, ?2, ?3, 0, zeroblob(32), zeroblob(32), zeroblob(32), '', '', x'00', x'', ?4, 0, 0, ?5, 0, 0, \
             0, 0, 0, 0, 0, 0, 0)",
            params![group, UNRECOVERABLE, epoch, members, created_at],
        )?;
        clear(conn, group)?;
    }
    Ok(lost.len() as u64)
}

/// The account without its signing key starts as a new device. `true`: there was an account before.
fn forget_identity(conn: &Connection) -> Result<bool> {
    const NAMES: &str = "name IN ('account', 'mls_signature_key', 'identity_proof')";
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
    let named = count(&format!("SELECT count(*) FROM meta WHERE {NAMES}"))?;
    let keys = count("SELECT count(*) FROM mls_rows WHERE scope = x'' AND label = 32")?;
    if (named == 3 && keys > 0) || (named == 0 && keys == 0) {
        return Ok(false);
    }
    conn.execute(&format!("DELETE FROM meta WHERE {NAMES}"), [])?;
    conn.execute("DELETE FROM mls_rows WHERE scope = x'' AND label = 32", [])?;
    Ok(true)
}

/// Marks groups as unrecoverable and removes rows that wait for their state. Returns the number of groups.
fn give_up(conn: &Connection, groups: &str) -> Result<u64> {
    let groups = conn
        .prepare(groups)?
        .query_map([], |row| row.get::<_, Vec<u8>>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for group in &groups {
        conn.execute(
            "UPDATE groups SET status = ?2 WHERE group_id = ?1",
            params![group, UNRECOVERABLE],
        )?;
        clear(conn, group)?;
    }
    Ok(groups.len() as u64)
}

/// Removes the state of a group and the rows that wait for it. Its history stays.
fn clear(conn: &Connection, group: &[u8]) -> Result<()> {
    for (table, column) in [
        ("mls_rows", "scope"),
        ("nodes", "group_id"),
        ("inputs", "group_id"),
        ("commits", "group_id"),
        ("welcomes", "group_id"),
        ("leave_requests", "group_id"),
    ] {
        conn.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [group])?;
    }
    Ok(())
}

/// Removes rows that refer to something that is lost.
fn drop_strays(conn: &Connection) -> Result<u64> {
    let mut dropped = 0;
    for (table, column) in GROUP_TABLES.iter().filter(|(table, _)| *table != "groups") {
        dropped += conn.execute(
            &format!(
                "DELETE FROM {table} WHERE {column} IS NOT NULL AND {column} <> x'' AND NOT EXISTS \
                 (SELECT 1 FROM groups WHERE groups.group_id = {table}.{column})"
            ),
            [],
        )?;
    }
    // The place of a lost message in the history may be given to another message.
    dropped += conn.execute(
        "DELETE FROM file_keys WHERE NOT EXISTS (SELECT 1 FROM messages AS m WHERE m.seq = message \
         AND m.group_id = file_keys.group_id AND m.status NOT IN (1, 3))",
        [],
    )?;
    dropped += conn.execute(
        "DELETE FROM welcomes WHERE sendable = 0 AND NOT EXISTS (SELECT 1 FROM commits WHERE commits.id = pending)",
        [],
    )?;
    dropped +=
        conn.execute("DELETE FROM outbox WHERE finished_at IS NULL AND event_json IS NULL", [])?;
    // A commit without its row cannot become true.
    dropped += conn.execute(
        "DELETE FROM outbox WHERE finished_at IS NULL AND purpose = 1 AND NOT EXISTS \
         (SELECT 1 FROM commits WHERE commits.id = pending)",
        [],
    )?;
    // A key package without its private part invites nobody. New ones are published instead.
    dropped += conn.execute(
        "DELETE FROM key_packages WHERE used = 0 AND replaced_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM mls_rows WHERE scope = x'' AND label = 34 AND key = reference)",
        [],
    )?;
    Ok(dropped as u64)
}

/// Makes the route and the tip of the branch anew from the row of a group.
fn complete_groups(conn: &Connection) -> Result<()> {
    conn.execute(
        &format!(
            "INSERT OR IGNORE INTO routes (nostr_group_id, group_id, last_epoch) \
             SELECT nostr_group_id, group_id, epoch FROM groups WHERE {LIVE} AND nostr_group_id <> zeroblob(32)"
        ),
        [],
    )?;
    conn.execute(
        &format!(
            "INSERT OR IGNORE INTO nodes (group_id, authenticator, epoch, privileged, canonical, removed, history, \
             made_at, sent_at, event_key, nostr_group_id, retention, relays, state) \
             SELECT group_id, authenticator, epoch, 0, 1, 0, (SELECT coalesce(max(m.seq), 0) FROM messages AS m \
             WHERE m.group_id = groups.group_id AND m.epoch < groups.epoch), 0, 0, event_key, nostr_group_id, \
             retention, relays, x'' FROM groups WHERE {LIVE} AND status <> 0"
        ),
        [],
    )?;
    // Numbers of messages are given again after the newest ones are lost. New messages must not count as read.
    conn.execute(
        "UPDATE groups SET last_read = min(last_read, (SELECT coalesce(max(seq), 0) FROM messages))",
        [],
    )?;
    Ok(())
}
