//! Tests of the schema as a whole: the plans of its queries, the rows left after deleting a group, and damaged rows.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use mdk_wire::GroupId;
use rusqlite::types::ToSql;

use super::{Columns, U64};
use crate::{Result, Store, StoreError, Tx, store::tables::{about, client_state, attachment_keys, groups, buffered_events, messages, own_commits, outbox, epoch_states}};

fn with_tx<T>(f: impl FnOnce(&Tx<'_>) -> Result<T>) -> T {
    Store::in_memory().unwrap().write(f).unwrap()
}

fn strings(tx: &Tx<'_>, sql: &str) -> Vec<String> {
    tx.all(sql, [], |row| Ok(row.get(0)?)).unwrap()
}

#[test]
fn every_table_is_strict() {
    let lax = with_tx(|tx| {
        Ok(strings(
            tx,
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND schema = 'main'",
        ))
    });
    let lax: Vec<_> = lax.into_iter().filter(|name| !name.starts_with("sqlite_")).collect();
    assert!(lax.is_empty(), "not STRICT: {lax:?}");
}

#[test]
fn hot_queries_search_an_index() {
    let plans = [
        ("SELECT what FROM seen WHERE id = ?1", "PRIMARY KEY"),
        ("SELECT value FROM meta WHERE name = ?1", "PRIMARY KEY"),
        (
            "SELECT value FROM mls_rows WHERE scope = ?1 AND label = ?2 AND key = ?3",
            "sqlite_autoindex_mls_rows_1",
        ),
        (groups::BY_ID, "PRIMARY KEY"),
        (groups::BY_WELCOME, "groups_by_welcome"),
        (groups::ROUTE, "sqlite_autoindex_routes_1"),
        (groups::ROUTES, "routes_by_group"),
        (messages::BY_ID, "messages_by_id (group_id=? AND id=?)"),
        (messages::PAGE_NEWEST, "messages_shown (group_id=? AND seq>? AND seq<?)"),
        (messages::PAGE_OLDEST, "messages_shown (group_id=? AND seq>?)"),
        (about::POINTED_AT, "COVERING INDEX messages_by_target (group_id=? AND target=?)"),
        (about::REACTIONS, "messages_by_target (group_id=? AND target=? AND kind=?)"),
        (about::SAID_BY, "messages_by_target (group_id=? AND target=? AND kind=? AND sender=?)"),
        (about::SAYS, "messages_by_target (group_id=? AND target=? AND kind=? AND sender=?)"),
        (about::EDITS, "messages_by_target (group_id=? AND target=? AND kind=?)"),
        (crate::store::tables::spent_messages::SPENT, "messages_spent (group_id=? AND authenticator=? AND sender=?"),
        (crate::store::tables::unread::UNREAD, "COVERING INDEX messages_shown (group_id=? AND seq>?)"),
        (messages::LAST, "messages_shown (group_id=?)"),
        (messages::LAST_HEARD, "messages_shown (group_id=?)"),
        (messages::LAST_CAME, "messages_shown (group_id=?)"),
        (messages::LAST_SAID, "messages_shown (group_id=?)"),
        (messages::LAST_SHOWN, "messages_shown (group_id=?)"),
        (messages::COPIES, "messages_by_id (group_id=? AND id=?)"),
        (messages::SURPLUS, "messages_hidden (group_id=? AND status=?)"),
        (crate::store::tables::message_expiry::BURIED_LAST, "COVERING INDEX messages_hidden (group_id=? AND status=?)"),
        (crate::store::tables::message_expiry::BURIED, "messages_by_id (group_id=? AND id=?)"),
        (crate::store::tables::shares::SHARE, "PRIMARY KEY"),
        (
            messages::NEWEST_EDIT,
            "messages_by_target (group_id=? AND target=? AND kind=? AND sender=?)",
        ),
        (messages::EXPIRED, "messages_by_expiry"),
        (crate::store::tables::event_log::AFTER, "INTEGER PRIMARY KEY (rowid>?)"),
        (crate::store::tables::event_log::LAST, "SEARCH events"),
        (own_commits::OPEN_OF_GROUP, "sqlite_autoindex_commits_1 (group_id=?)"),
        (outbox::OPEN, "outbox_open (seq>?)"),
        (outbox::OPEN_SEQS, "COVERING INDEX outbox_open"),
        (outbox::BY_EVENT, "sqlite_autoindex_outbox_1"),
        (outbox::BY_MESSAGE, "outbox_by_message (message_id=?)"),
        (outbox::BY_COMMIT, "outbox_by_commit (pending=?)"),
        (outbox::PRUNE, "outbox_finished (finished_at>? AND finished_at<?)"),
        (attachment_keys::OF_FILE, "file_keys_by_file (group_id=? AND file=?)"),
        (attachment_keys::DROP, "file_keys_by_message (message=?)"),
        (client_state::STATE, "PRIMARY KEY"),
        (client_state::STATES, "PRIMARY KEY"),
        (buffered_events::HELD, "held_by_group"),
        (buffered_events::HELD_OPEN, "held_opened (group_id=?)"),
        (buffered_events::HELD_CLOSED, "held_by_group (group_id=? AND rowid<?)"),
        (buffered_events::OLDEST_CLOSED, "held_closed (group_id=? AND source=?)"),
        (buffered_events::NOISE_OF, "PRIMARY KEY (group_id=? AND source=?)"),
        (buffered_events::NOISIEST, "PRIMARY KEY (group_id=?)"),
        (crate::store::tables::event_log::SURPLUS, "events_of_epochs (group_id=?)"),
        (buffered_events::DUE, "inputs_by_due"),
        (buffered_events::HELD_SUMS, "PRIMARY KEY"),
        (buffered_events::INPUTS, "sqlite_autoindex_inputs_1 (group_id=?)"),
        (buffered_events::INPUT_HEADS, "sqlite_autoindex_inputs_1 (group_id=?)"),
        (groups::NEXT_HOLDING, "COVERING INDEX held_by_group (group_id>?)"),
        (groups::NEXT_REMOVING, "PRIMARY KEY (group_id>?)"),
        (buffered_events::INPUTS_ON, "sqlite_autoindex_inputs_1 (group_id=?)"),
        (epoch_states::NODES, "sqlite_autoindex_nodes_1 (group_id=?)"),
        (epoch_states::RETAINED_RELAYS, "sqlite_autoindex_nodes_1 (group_id=?)"),
    ];
    with_tx(|tx| {
        for (sql, expected) in plans {
            let mut statement = tx.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let count = statement.parameter_count();
            let nulls: Vec<&dyn ToSql> = vec![&rusqlite::types::Null; count];
            let steps: Vec<String> = statement
                .query_map(&nulls[..], |row| row.get("detail"))?
                .collect::<rusqlite::Result<_>>()?;
            let plan = steps.join("; ");
            assert!(!plan.contains("SCAN"), "{sql}\nscans: {plan}");
            assert!(plan.contains(expected), "{sql}\nexpected {expected}: {plan}");
            // A sort reads everything first. Only queries whose whole result is wanted may sort.
            if sql != messages::EXPIRED && sql != groups::ROUTE {
                assert!(!plan.contains("TEMP B-TREE"), "{sql}\nsorts: {plan}");
            }
        }
        Ok(())
    });
}

/// Every table with the column that names a group, as the schema says.
fn tables_of_a_group(tx: &Tx<'_>) -> BTreeSet<(String, String)> {
    tx.all(
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND c.name IN ('group_id', 'scope')",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .unwrap()
    .into_iter()
    .collect()
}

/// Puts one row of the group into every such table, with the fewest values that its columns allow.
fn fill(tx: &Tx<'_>, group: &GroupId, n: u8) {
    for (table, key) in tables_of_a_group(tx) {
        let columns: Vec<(String, String)> = tx
            .all(
                "SELECT name, type FROM pragma_table_info(?1) WHERE (\"notnull\" = 1 OR name IN ('group_id', 'scope'))",
                [&table],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<Box<dyn ToSql>> = columns
            .iter()
            .map(|(name, kind)| -> Box<dyn ToSql> {
                match kind.as_str() {
                    _ if *name == key => Box::new(group.as_bytes().to_vec()),
                    "BLOB" => Box::new(vec![n; 32]),
                    "TEXT" => Box::new(String::new()),
                    _ => Box::new(0),
                }
            })
            .collect();
        let marks = vec!["?"; names.len()].join(", ");
        tx.exec(
            &format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(", ")),
            rusqlite::params_from_iter(values),
        )
        .unwrap();
    }
}

#[test]
fn deleting_a_group_leaves_no_row_of_it_and_all_of_others() {
    let (one, two) =
        (GroupId::from_bytes(&[1; 16]).unwrap(), GroupId::from_bytes(&[2; 16]).unwrap());
    with_tx(|tx| {
        fill(tx, &one, 1);
        fill(tx, &two, 2);
        tx.mark_seen(&[1; 32], crate::Seen::Done)?;
        tx.delete_group(&one)?;
        let tables = tables_of_a_group(tx);
        assert!(tables.len() >= 12);
        for (table, column) in &tables {
            let left = |id: &GroupId| {
                strings(tx, &format!("SELECT hex({column}) FROM {table}"))
                    .contains(&id.to_hex().to_uppercase())
            };
            assert!(!left(&one), "rows of a deleted group are left in {table}");
            assert!(left(&two), "rows of another group are gone from {table}");
        }
        assert_eq!(tx.seen(&[1; 32])?, Some(crate::Seen::Done));
        Ok(())
    });
}

/// A table without a column for the group must be known to need none, so that none is forgotten.
#[test]
fn tables_without_a_group_are_the_known_ones() {
    let found = with_tx(|tx| {
        let with: BTreeSet<String> =
            tables_of_a_group(tx).into_iter().map(|(table, _)| table).collect();
        let mut all = strings(
            tx,
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        );
        all.retain(|name| !with.contains(name));
        all.sort();
        Ok(all)
    });
    let expected = ["client_state", "key_packages", "meta", "seen"];
    assert_eq!(found, expected, "name the group in it, or list it here");
}

#[test]
fn unsigned_columns_keep_value_and_order_over_the_whole_range() {
    let values = [
        0,
        1,
        255,
        u64::from(u32::MAX),
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    with_tx(|tx| {
        for a in values {
            let back = tx.one("SELECT ?1", [U64(a)], |row| Columns::new(row, "t").u64())?;
            assert_eq!(back, Some(a));
            for b in values {
                let less = tx
                    .one("SELECT ?1 < ?2", [U64(a), U64(b)], |row| Columns::new(row, "t").bool())?;
                assert_eq!(less, Some(a < b), "{a} < {b}");
            }
        }
        Ok(())
    });
}

/// Reads a column and returns whether that failed.
type Fails = fn(&mut Columns<'_>) -> bool;

#[test]
fn undecodable_columns_are_errors() {
    let u64s = ["-1", "x'0000000000000001'", "x'00'", "x''", "'1'", "1.0", "NULL"];
    with_tx(|tx| {
        for value in u64s {
            let read = tx.one(&format!("SELECT {value}"), [], |row| Columns::new(row, "t").u64());
            assert_eq!(read, Err(StoreError::Decode { what: "t" }), "{value}");
        }
        let cases: [(&str, Fails); 10] = [
            ("65536", |c| c.u16().is_err()),
            ("256", |c| c.u8().is_err()),
            ("2", |c| c.bool().is_err()),
            ("10", |c| c.variant(crate::GroupStatus::from_stored).is_err()),
            ("x'ff'", |c| c.text().is_err()),
            ("zeroblob(31)", |c| c.array::<32>().is_err()),
            ("zeroblob(0)", |c| c.group_id().is_err()),
            ("zeroblob(32)", |c| c.public_key().is_err()),
            ("zeroblob(33)", |c| c.public_keys().is_err()),
            // The first list claims more entries than there are bytes; the second has bytes after it.
            ("x'ffffffff0f'", |c| c.list::<String>().is_err()),
        ];
        for (value, fails) in cases {
            assert_eq!(
                tx.one(&format!("SELECT {value}"), [], |row| Ok(fails(&mut Columns::new(
                    row, "t"
                ))))?,
                Some(true),
                "{value}"
            );
        }
        assert!(
            tx.one("SELECT x'0000'", [], |row| Columns::new(row, "t").list::<String>()).is_err()
        );
        assert!(
            tx.one("SELECT CAST(x'ff' AS TEXT)", [], |row| Columns::new(row, "t").text()).is_err()
        );
        assert!(
            tx.one("SELECT 1", [], |row| {
                let mut c = Columns::new(row, "t");
                c.i64()?;
                c.i64()
            })
            .is_err()
        );
        Ok(())
    });
}
