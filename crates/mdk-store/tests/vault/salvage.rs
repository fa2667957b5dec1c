//! `salvage` saves what is intact and says what is missing.

use std::{collections::BTreeSet, fs};

use mdk_store::*;
use mdk_wire::GroupId;

use crate::kit::vault::*;

/// Salvages `home` into a new file and proves that the result holds together, and that every leaf is to be renewed.
pub fn save(home: &Home) -> (SalvageReport, Store) {
    let to = home.elsewhere();
    let _ = fs::remove_dir_all(to.parent().unwrap());
    let before = files(&home.path);
    let report = salvage(&home.path, &raw(1), &to, &raw(2), &mut none()).unwrap();
    assert_eq!(files(&home.path), before, "the damaged file is not changed");
    let verified = verify(&to, &raw(2), &mut none()).unwrap();
    assert!(verified.is_intact(), "{verified:?}\n{report:?}");
    {
        let mut store = open(&to, &raw(2));
        let (first, last) = store
            .read(|tx| Ok::<_, StoreError>((tx.restored_at()?, tx.last_event_seq()?)))
            .unwrap();
        assert!(first.is_some() && last >= 1 << 32, "{first:?} {last}");
    }
    without_mark(&to, 2);
    (report, open(&to, &raw(2)))
}

pub fn count(report: &SalvageReport, table: &str) -> u64 {
    report.saved.iter().find(|(name, _)| name == table).unwrap().1
}

/// Everything that a group's history says.
fn history(store: &mut Store, group: &GroupId) -> BTreeSet<(i64, String)> {
    let all = store.read(|tx| tx.search("text", Some(group), 1000)).unwrap();
    all.into_iter().map(|row| (row.seq, row.content)).collect()
}

fn histories(store: &mut Store) -> Vec<BTreeSet<(i64, String)>> {
    (1..=GROUPS).map(|n| history(store, &group_id(n))).collect()
}

fn write(home: &Home, bytes: &[u8]) {
    fs::write(&home.path, bytes).unwrap();
}

/// Places of pages, counted from 0, of which SQLite says this.
fn pages_of(home: &Home, what: &str) -> BTreeSet<usize> {
    let conn = by_hand(&home.path, 1);
    let mut found = conn.prepare(&format!("SELECT pageno - 1 FROM dbstat WHERE {what}")).unwrap();
    let found = found.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    found.map(|page| usize::try_from(page.unwrap()).unwrap()).collect()
}

#[test]
fn an_intact_database_is_saved_whole() {
    let home = Home::new();
    let (report, mut store) = save(&home);
    assert_eq!((report.bad_pages, report.missing.len()), (0, 0), "{report:?}");
    assert_eq!((report.groups, report.unrecoverable_groups), (u64::from(GROUPS), 0));
    assert_eq!(store.digest().unwrap(), home.digest);
}

#[test]
fn what_stands_in_the_log_is_saved() {
    let (home, _) = with_log();
    let (report, mut store) = save(&home);
    assert!(report.missing.is_empty(), "{report:?}");
    assert_eq!(store.digest().unwrap(), home.digest);
}

#[test]
fn with_any_one_page_damaged_all_else_is_saved_and_nothing_false() {
    let home = Home::new();
    let good = home.bytes();
    let mut whole = open(&home.path, &raw(1));
    let all = histories(&mut whole);
    drop(whole);
    let total = u64::from(GROUPS) * u64::from(MESSAGES);
    let mut lost_somewhere = 0;
    // These lead to everything, and those that lead to all of a table to that.
    let schema = pages_of(&home, "name = 'sqlite_schema'");
    let inner = pages_of(&home, "pagetype = 'internal'");
    // The first ones hold the list of tables and the small tables; of the others every third is enough.
    let to = home.elsewhere();
    for index in (0..good.len() / PAGE).filter(|n| *n < 12 || n % 3 == 0) {
        let mut bad = good.clone();
        match index % 2 {
            0 => bad[index * PAGE + 2000] ^= 1,
            _ => bad[index * PAGE + 16..(index + 1) * PAGE].fill(0xa5),
        }
        write(&home, &bad);
        if schema.contains(&index) {
            let _ = fs::remove_dir_all(to.parent().unwrap());
            let error = salvage(&home.path, &raw(1), &to, &raw(2), &mut none());
            assert_eq!(error.unwrap_err(), OpenError::NotADatabase.into(), "page {}", index + 1);
            assert!(!to.exists());
            continue;
        }
        let (report, mut store) = save(&home);
        assert_eq!(report.bad_pages, 1, "page {}", index + 1);
        for (saved, all) in histories(&mut store).iter().zip(&all) {
            let strange = saved.difference(all).map(|(seq, text)| (seq, text.len(), &text[..20]));
            assert_eq!(strange.collect::<Vec<_>>(), [], "page {}: {report:?}", index + 1);
        }
        let saved = count(&report, "messages");
        assert!(total - saved <= 12 || inner.contains(&index), "page {}: {report:?}", index + 1);
        if saved < total {
            lost_somewhere += 1;
            let line = report.missing.iter().find(|line| line.starts_with("messages: at least"));
            let missing = total - saved;
            assert!(line.is_some_and(|l| l.contains(&format!(" {missing} rows"))), "{report:?}");
        }
        let printed = format!("{report:?}");
        assert!(!printed.contains("text ") && !printed.contains("0101"));
    }
    assert!(lost_somewhere > 5);
}

#[test]
fn a_truncated_file_gives_what_it_has() {
    let home = Home::new();
    let good = home.bytes();
    // (the first half is the roots of tables and indexes)
    for keep in [good.len() - PAGE, good.len() * 3 / 4, good.len() * 5 / 8 + 77] {
        write(&home, &good[..keep]);
        let (report, _) = save(&home);
        assert!(report.missing[0].contains("lacks pages at its end"), "{report:?}");
        assert!(count(&report, "messages") > 0, "{keep} of {}: {report:?}", good.len());
    }
}

#[test]
fn a_lost_salt_costs_nothing_where_the_record_has_it() {
    let home = Home::new();
    open(&home.path, &raw(1)).close().unwrap();
    let mut bytes = home.bytes();
    bytes[..16].fill(0);
    write(&home, &bytes);
    let (report, mut store) = save(&home);
    assert_eq!(report.bad_pages, 1);
    assert_eq!(store.digest().unwrap(), home.digest);
}

#[test]
fn a_log_and_a_record_of_another_file_of_the_same_key_take_nothing() {
    let (other, log) = with_log();
    open(&other.path, &raw(1)).close().unwrap();
    let home = Home::new();
    // The same content in another file of that key: its salt is another.
    let copy = home.beside("copy.db");
    salvage(&home.path, &raw(1), &copy, &raw(1), &mut none()).unwrap();
    let copied = fs::read(&copy).unwrap();
    assert_ne!(copied[..16], other.bytes()[..16]);
    write(&home, &copied);
    fs::write(home.beside("a.db-wal"), &log).unwrap();
    fs::copy(other.beside("a.db.keyinfo"), home.beside("a.db.keyinfo")).unwrap();
    for name in ["copy.db", "copy.db.keyinfo", "copy.db.lock"] {
        let _ = fs::remove_file(home.beside(name));
    }
    let (report, store) = save(&home);
    assert_eq!(count(&report, "messages"), u64::from(GROUPS) * u64::from(MESSAGES), "{report:?}");
    drop(store);
}

#[test]
fn a_group_without_its_whole_mls_state_is_unrecoverable_and_readable() {
    let home = Home::new();
    sql(
        &home.path,
        "DELETE FROM mls_rows WHERE label = 8 AND scope = x'02020202020202020202020202020202'",
    );
    let (report, mut store) = save(&home);
    assert_eq!(report.unrecoverable_groups, 1, "{report:?}");
    assert_eq!(history(&mut store, &group_id(2)).len(), usize::from(MESSAGES));
    store
        .read(|tx| {
            let status = |n| tx.group(&group_id(n)).map(|row| row.unwrap().status);
            assert_eq!(status(1)?, GroupStatus::Active);
            assert_eq!(status(2)?, GroupStatus::Unrecoverable);
            assert!(tx.nodes(&group_id(2))?.is_empty() && tx.inputs(&group_id(2))?.is_empty());
            assert_eq!(tx.mls_dump(&group_id(2))?.expose(), [1]);
            assert_eq!(tx.mls_dump(&group_id(3))?.expose(), mls_state(3));
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

#[test]
fn a_group_that_lost_its_row_keeps_its_messages_and_a_lost_identity_is_forgotten() {
    let home = Home::new();
    sql(
        &home.path,
        "DELETE FROM groups WHERE created_at = 3; INSERT INTO meta VALUES ('account', x'01'); \
         DELETE FROM nodes WHERE group_id = x'01010101010101010101010101010101'",
    );
    let (report, mut store) = save(&home);
    assert_eq!((report.groups, report.unrecoverable_groups), (3, 3), "{report:?}");
    assert!(report.missing.iter().any(|line| line.contains("signing key")), "{report:?}");
    assert_eq!(history(&mut store, &group_id(3)).len(), usize::from(MESSAGES));
    let row = store.read(|tx| tx.group(&group_id(3))).unwrap().unwrap();
    assert_eq!((row.status, row.name.as_str()), (GroupStatus::Unrecoverable, ""));
    assert!(!row.members.is_empty());
    assert!(store.read(|tx| tx.meta("account")).unwrap().is_none());
}

#[test]
fn a_lost_tip_and_route_are_made_anew_from_the_group() {
    let home = Home::new();
    sql(
        &home.path,
        "DELETE FROM nodes WHERE epoch = 7; DELETE FROM routes; UPDATE groups SET last_read = 5000",
    );
    let (report, mut store) = save(&home);
    assert_eq!(report.unrecoverable_groups, 0, "{report:?}");
    let row = store.read(|tx| tx.group(&group_id(1))).unwrap().unwrap();
    assert_eq!(row.last_read, i64::from(GROUPS) * i64::from(MESSAGES));
    let nodes = store.read(|tx| tx.nodes(&group_id(1))).unwrap();
    assert_eq!((nodes[0].authenticator, nodes[0].epoch), (row.authenticator, 7));
    assert_eq!(store.read(|tx| tx.route(&routing(1))).unwrap(), Some(group_id(1)));
}

// A tip made from the row would say that the group goes on.
#[test]
fn a_group_that_ends_and_has_lost_its_end_is_unrecoverable_and_readable() {
    let home = Home::new();
    sql(
        &home.path,
        "UPDATE groups SET status = 9 WHERE created_at IN (1, 2); \
         DELETE FROM nodes WHERE epoch = 7 AND group_id = x'01010101010101010101010101010101'",
    );
    let (report, mut store) = save(&home);
    assert_eq!(report.unrecoverable_groups, 1, "{report:?}");
    assert_eq!(history(&mut store, &group_id(1)).len(), usize::from(MESSAGES));
    let mut states = |n: u8| {
        let row = store.read(|tx| tx.group(&group_id(n))).unwrap().unwrap();
        (row.status, store.read(|tx| tx.nodes(&group_id(n))).unwrap().len())
    };
    let found: Vec<_> = [1, 2].into_iter().map(&mut states).collect();
    assert_eq!(found[0], (GroupStatus::Unrecoverable, 0));
    assert_eq!(found[1].0, GroupStatus::Disbanding);
    assert!(found[1].1 > 0, "its end is still there");
}

// Rows come from authentic pages only, and from where these belong.
#[test]
fn pages_that_were_put_elsewhere_or_come_from_another_key_are_not_read() {
    let home = Home::new();
    let good = home.bytes();
    let mut bad = good.clone();
    // (behind the list of tables)
    let a = (pages_of(&home, "name = 'sqlite_schema'").last().unwrap() + 1) * PAGE;
    let b = a + 10 * PAGE;
    bad[a..a + PAGE].copy_from_slice(&good[b..b + PAGE]);
    bad[b..b + PAGE].copy_from_slice(&good[a..a + PAGE]);
    write(&home, &bad);
    assert_eq!(save(&home).0.bad_pages, 2);
    let other = home.dir.path().join("other").join("c.db");
    write(&home, &good);
    encrypt_existing(&home.path, Some(&raw(1)), Some(&other), &raw(5), &mut none()).unwrap();
    let foreign = fs::read(other).unwrap();
    let mut bad = good.clone();
    bad[a..].copy_from_slice(&foreign[a..]);
    write(&home, &bad);
    assert_eq!(save(&home).0.bad_pages, ((good.len() - a) / PAGE) as u64);
}

#[test]
fn what_stands_at_the_destination_stays_and_a_cancelled_call_leaves_no_file() {
    let home = Home::new();
    let before = files(&home.path);
    let exists = VaultError::DestinationExists { role: FileRole::Database };
    let onto = salvage(&home.path, &raw(1), &home.path, &raw(2), &mut none());
    assert_eq!(onto.unwrap_err(), exists);
    let mut stop = cancel_at(0);
    let (to, stop) = (home.elsewhere(), &mut Progress::new(&mut stop));
    let cancelled = salvage(&home.path, &raw(1), &to, &raw(2), stop);
    assert_eq!(cancelled.unwrap_err(), VaultError::Cancelled);
    assert!(!to.parent().unwrap().exists());
    let lock = home.beside("a.db.lock");
    assert!(files(&home.path).into_iter().filter(|(path, _)| *path != lock).eq(before));
}
