#![allow(clippy::unwrap_used)]

use std::path::Path;

use mdk_wire::Secret;
use rusqlite::params;

use super::*;
use crate::{APPLICATION_ID, FileRole, connection::Conn, migrate, open};

const KEY: [u8; 32] = [7; 32];

/// A database of an earlier version with so many messages; `changed` says whether among them are those that a step changes.
fn filled(folder: &Path, version: u32, messages: u32, changed: bool) -> (Place, Conn) {
    let place = Place::of(&folder.join("mdk.db"), FileRole::Database).unwrap();
    place.create_new(place.name(), FileRole::Database).unwrap();
    let mut conn = open::connect(&place, place.name(), &Secret::new(KEY), true).unwrap();
    migrate::rebuild(&mut conn, version).unwrap();
    let id = |n: u32| spread(n).to_vec();
    let tx = conn.transaction().unwrap();
    for n in 0..40 {
        tx.execute(
            "INSERT INTO groups (group_id, profile, status, epoch, join_epoch, authenticator, event_key, nostr_group_id,
               name, description, relays, admins, members, retention, has_image, created_at, self_updated_at, last_read)
             VALUES (?1, 2, 0, 9, 1, ?1, ?1, ?1, 'name', 'text', ?2, ?2, ?2, 0, 0, 1, 1, 0)",
            params![id(n), vec![1u8; 900]],
        )
        .unwrap();
        for epoch in 0..6 {
            let (columns, values) = match version {
                1 => ("", ""),
                _ => (", removed, history, made_at, sent_at", ", 0, 0, 0, 0"),
            };
            let state = vec![3u8; 500 + 2_700 * (n % 7 * epoch) as usize];
            tx.execute(
                &format!(
                    "INSERT INTO nodes (group_id, authenticator, epoch, privileged, canonical, event_key,
                       nostr_group_id, retention, relays, state{columns})
                     VALUES (?1, ?2, ?3, 0, 1, ?1, ?1, 0, ?1, ?4{values})"
                ),
                params![id(n), id(1_000 * n + epoch), epoch, state],
            )
            .unwrap();
        }
    }
    for n in 0..messages {
        // One in four is an edit; of those one in three is of a message that was deleted. One in nine is there twice.
        let (kind, target) = if n % 4 == 3 { (1009, Some(n - n % 12)) } else { (9, None) };
        let status = u32::from(changed && n % 24 == 0);
        for copy in 0..1 + u32::from(changed && n % 9 == 0) {
            tx.execute(
                "INSERT INTO messages (group_id, id, kind, mine, delivery, status, target, content_id, outer_id, sender,
                   created_at, received_at, epoch, authenticator, tags, content)
                 VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6, ?6, ?2, ?7, ?7, 1, ?2, x'00', ?8)",
                params![
                    id(n % 40),
                    id(7 + n),
                    kind,
                    status,
                    target.map(|n| id(7 + n)),
                    id(100_000 + 2 * n + copy),
                    n,
                    "x".repeat((n * 37 % 400 + 9_000 * u32::from(n % 50 == 0)) as usize),
                ],
            )
            .unwrap();
        }
    }
    tx.commit().unwrap();
    (place, conn)
}

/// 32 bytes that lie anywhere among the others.
fn spread(n: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (at, chunk) in bytes.chunks_mut(4).enumerate() {
        let word = n.wrapping_add(at as u32 * 77).wrapping_mul(2_654_435_761).rotate_left(13);
        chunk.copy_from_slice(&word.wrapping_mul(2_246_822_519).to_be_bytes());
    }
    bytes
}

fn on_disk(conn: &Connection) -> u64 {
    log::size(conn) + log::database_size(conn)
}

/// What a migration takes at the moment when it takes most: log and file are full, and the log is not cut off yet.
fn taken(place: &Place, conn: &mut Connection) -> u64 {
    let before = on_disk(conn);
    migrate::migrate(conn, false, APPLICATION_ID, Some(place)).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    on_disk(conn).saturating_sub(before)
}

#[test]
fn a_migration_takes_no_more_than_was_asked_for_and_not_much_less() {
    for version in 1..migrate::SUPPORTED {
        for (messages, changed) in [(0, false), (12_000, false), (3_000, true)] {
            // With everything in the file, as after closing, and with all of it still in the log, as a killed owner left it.
            for moved in [true, false] {
                let folder = tempfile::tempdir().unwrap();
                let (place, mut conn) = filled(folder.path(), version, messages, changed);
                if moved {
                    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                }
                let needed = needed(&conn, version).unwrap();
                let taken = taken(&place, &mut conn);
                let case =
                    format!("{version}, {messages} messages, changed: {changed}, moved: {moved}");
                assert!(needed >= taken, "{case}: {needed} asked for, {taken} taken");
                // The constant parts are for the steps that are still to come.
                let steps = u64::from(migrate::SUPPORTED - version);
                let most = taken * 2 + steps * (CHANGED + 2 * MADE) * PAGE;
                assert!(needed <= most, "{case}: {needed} asked for, only {taken} taken");
            }
        }
    }
}

#[test]
fn every_step_says_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, conn) = filled(folder.path(), 1, 200, true);
    // All that is named is there, and dbstat counts it.
    for name in STEPS.iter().flat_map(|step| step.rebuilt) {
        assert!(pages_of(&conn, name).unwrap() > 0, "{name}");
    }
    assert_eq!(pages_of(&conn, "nothing").unwrap(), 0);
    let all: u64 = ["groups", "nodes"].iter().map(|name| pages_of(&conn, name).unwrap()).sum();
    assert!(all > 1_000, "{all}");
    assert_eq!(needed(&conn, migrate::SUPPORTED).unwrap() / PAGE, {
        // Nothing to be done: the last page of a transaction, where the log has no room for it yet.
        let frames = u64::try_from(log::committed(&conn).unwrap()).unwrap() + 1;
        let grows = log::bytes_with(frames).saturating_sub(log::size(&conn));
        (grows + pragma(&conn, "page_count").unwrap() * PAGE - log::database_size(&conn)) / PAGE
    });
}
