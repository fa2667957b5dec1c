//! `verify` reports what is wrong with a database, all of it, and changes nothing.

use std::{fs, ops::ControlFlow, path::Path};

use mdk_store::*;

use crate::kit::vault::*;

fn check(path: &Path) -> VerifyReport {
    verify(path, &raw(1), &mut none()).unwrap()
}

#[test]
fn an_intact_database_is_called_so_and_nothing_is_written() {
    let home = Home::new();
    let before = files(&home.path);
    let report = check(&home.path);
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.pages, (home.bytes().len() / PAGE) as u64);
    assert_eq!(files(&home.path), before);
}

// Each page once, in every part of it.
#[test]
fn a_flipped_bit_in_any_page_is_reported_with_the_number_of_the_page() {
    let home = Home::new();
    let good = home.bytes();
    let copy = home.dir.path().join("copy").join("a.db");
    fs::create_dir(copy.parent().unwrap()).unwrap();
    let pages = good.len() / PAGE;
    assert!(pages > 40);
    for index in 0..pages {
        let mut bad = good.clone();
        // Content, IV and HMAC in turn; the salt of page 1 has its own test.
        let at = [100 + index, 4016 + index % 16, 4032 + index % 64][index % 3];
        bad[index * PAGE + at] ^= 1 << (index % 8);
        fs::write(&copy, &bad).unwrap();
        let report = check(&copy);
        assert_eq!(report.bad_pages, [index as u64 + 1], "{report:?}");
        assert_eq!(report.bad_page_count, 1);
        assert!(!report.is_intact());
        assert_eq!(fs::read(&copy).unwrap(), bad);
    }
}

#[test]
fn a_flipped_bit_of_the_salt_is_found_and_the_other_pages_are_still_checked() {
    let home = Home::new();
    // The record has the salt from the first opening on.
    open(&home.path, &raw(1)).close().unwrap();
    let good = home.bytes();
    for byte in 0..16 {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        fs::write(&home.path, &bad).unwrap();
        assert_eq!(check(&home.path).bad_pages, [1], "byte {byte}");
    }
    let mut bad = good.clone();
    bad[3] ^= 2;
    bad[7 * PAGE + 9] ^= 2;
    fs::write(&home.path, &bad).unwrap();
    assert_eq!(check(&home.path).bad_pages, [1, 8]);
}

#[test]
fn a_salt_that_is_lost_is_known_by_the_record() {
    let home = Home::new();
    open(&home.path, &raw(1)).close().unwrap();
    let mut bad = home.bytes();
    bad[..16].fill(0x5a);
    bad[7 * PAGE + 9] ^= 2;
    fs::write(&home.path, &bad).unwrap();
    assert_eq!(check(&home.path).bad_pages, [1, 8]);
    assert_eq!(fs::read(&home.path).unwrap(), bad);
    // What another file's record says is no harm, and no help.
    let record = home.beside("a.db.keyinfo");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    for salt in [hex::encode([7; 16]), hex::encode([7; 15]), "no hexadecimal".to_owned()] {
        let mut other = good.clone();
        other["salt"] = salt.into();
        fs::write(&record, other.to_string()).unwrap();
        let error = verify(&home.path, &raw(1), &mut none()).unwrap_err();
        assert_eq!(error, OpenError::NotADatabase.into());
    }
}

#[test]
fn many_damaged_pages_are_all_named_and_the_tables_that_they_hit() {
    let home = Home::new();
    let mut bytes = home.bytes();
    let pages = bytes.len() / PAGE;
    // (behind the list of tables)
    let hit: Vec<usize> = (50..pages).filter(|n| n % 3 == 0).collect();
    for &index in &hit {
        bytes[index * PAGE..][..PAGE].fill(0);
    }
    fs::write(&home.path, &bytes).unwrap();
    let report = check(&home.path);
    let named: Vec<usize> = report.bad_pages.iter().map(|&n| n as usize - 1).collect();
    assert_eq!(named, hit);
    assert!(report.structure.iter().any(|line| line.contains("messages")), "{report:?}");
}

#[test]
fn a_wrong_length_is_reported() {
    let home = Home::new();
    let good = home.bytes();
    let has = |text: &str| {
        let report = check(&home.path);
        assert!(report.structure.iter().any(|line| line.contains(text)), "{text}: {report:?}");
    };
    fs::write(&home.path, &good[..good.len() - PAGE]).unwrap();
    has("lacks pages at its end");
    fs::write(&home.path, &good[..good.len() - 100]).unwrap();
    has("middle of a page");
    fs::write(&home.path, [&good[..], &good[good.len() - PAGE..]].concat()).unwrap();
    has("its header says");
}

#[test]
fn the_committed_part_of_the_log_is_considered_and_left_alone() {
    let (home, log) = with_log();
    let before = files(&home.path);
    let report = check(&home.path);
    assert!(report.is_intact() && report.log_pages > 0, "{report:?}");
    assert_eq!(files(&home.path), before);
    // A page of the file that the log replaces does not matter.
    let path = home.beside("a.db-wal");
    // What an interrupted transaction leaves at the end is normal.
    fs::write(&path, &log[..log.len() - 1000]).unwrap();
    assert!(check(&home.path).is_intact());
    fs::write(&path, [&log[..], &[7; 5000]].concat()).unwrap();
    assert!(check(&home.path).is_intact());
    fs::write(&path, &log).unwrap();
    let mut store = open(&home.path, &raw(1));
    assert_eq!(store.digest().unwrap(), home.digest);
}

#[test]
fn a_log_beside_damage_takes_nothing_from_the_report() {
    let (home, log) = with_log();
    let file = home.bytes();
    open(&home.path, &raw(1)).close().unwrap();
    let settled = home.bytes();
    let flipped = |bytes: &[u8], index: usize| {
        let mut bytes = bytes.to_vec();
        bytes[index * PAGE + 100] ^= 1;
        fs::write(&home.path, bytes).unwrap();
    };
    // In pages that the log has no newer version of.
    let mut hit = 0;
    for index in (20..file.len() / PAGE).step_by(13) {
        let page = index * PAGE..(index + 1) * PAGE;
        if file[page.clone()] != settled[page] {
            continue;
        }
        fs::write(home.beside("a.db-wal"), &log).unwrap();
        flipped(&file, index);
        let with_log = check(&home.path);
        assert_eq!(with_log.bad_pages, [index as u64 + 1]);
        fs::remove_file(home.beside("a.db-wal")).unwrap();
        flipped(&settled, index);
        let without = check(&home.path);
        assert_eq!((&with_log.structure, &with_log.logic), (&without.structure, &without.logic));
        let (first, _) = with_log.structure[0].split_at(with_log.structure[0].find(':').unwrap());
        assert!(with_log.structure.iter().all(|line| line.starts_with(first)), "{with_log:?}");
        hit += 1;
    }
    assert!(hit > 4, "{hit}");
}

#[test]
fn of_a_file_that_was_cut_at_its_end_all_but_that_is_checked() {
    let (home, log) = with_log();
    let file = home.bytes();
    open(&home.path, &raw(1)).close().unwrap();
    let settled = home.bytes();
    for cut in [1, PAGE - 1] {
        for (bytes, log) in [(&file, Some(&log)), (&settled, None)] {
            match log {
                Some(log) => fs::write(home.beside("a.db-wal"), log).unwrap(),
                None => drop(fs::remove_file(home.beside("a.db-wal"))),
            }
            fs::write(&home.path, &bytes[..bytes.len() - cut]).unwrap();
            let report = check(&home.path);
            // The end itself, and what lies on that page.
            let lines = report.structure.len() + report.logic.len();
            assert!((1..6).contains(&lines), "{cut} {report:?}");
        }
    }
}

#[test]
fn the_check_of_what_damage_has_left_can_be_cancelled() {
    let home = Home::new();
    let mut bytes = home.bytes();
    bytes[30 * PAGE + 9] ^= 1;
    fs::write(&home.path, &bytes).unwrap();
    let mut all = 0;
    let mut count = |_| {
        all += 1;
        ControlFlow::Continue(())
    };
    verify(&home.path, &raw(1), &mut Progress::new(&mut count)).unwrap();
    // Every table and every rule asks.
    assert!(all > 40, "{all}");
    for last in [all - 1, all - 30, 0] {
        let mut cancel = cancel_at(last);
        let found = verify(&home.path, &raw(1), &mut Progress::new(&mut cancel));
        assert_eq!(found.map(drop), Err(VaultError::Cancelled), "{last}");
    }
}

#[test]
fn what_does_not_fit_together_is_reported() {
    for (statement, text) in [
        (
            "DELETE FROM mls_rows WHERE label = 9 AND scope = x'01010101010101010101010101010101'",
            "1 groups in use lack parts of their MLS state",
        ),
        (
            "DELETE FROM groups WHERE status = 2 AND created_at = 2",
            "60 rows of messages belong to a group that is not there",
        ),
        (
            "DELETE FROM groups WHERE status = 2 AND created_at = 2",
            "10 MLS rows belong to a group that is not there",
        ),
        ("UPDATE held SET group_id = x'77'", "3 rows of held belong"),
        ("UPDATE inputs SET group_id = x'77'", "3 rows of inputs belong"),
        ("UPDATE commits SET group_id = x'77'", "3 rows of commits belong"),
        ("UPDATE groups SET epoch = 0", "3 groups are at an epoch before"),
        ("UPDATE groups SET epoch = 9", "3 groups in use have no retained state"),
        ("UPDATE groups SET last_read = -1", "3 groups have a negative mark"),
        ("UPDATE groups SET status = 99", "3 groups have an unknown status"),
        ("UPDATE nodes SET epoch = 70 WHERE epoch = 7", "3 retained states are newer"),
        ("UPDATE nodes SET epoch = 7", "3 epochs have two states"),
        ("UPDATE nodes SET state = x'' WHERE epoch = 6", "3 retained states are empty"),
        ("UPDATE messages SET id = x'00' WHERE seq = 5", "1 identifiers of messages"),
        ("UPDATE commits SET status = 9", "3 commits have an unknown status"),
        ("DELETE FROM sqlite_sequence", "1 counters are behind"),
        (
            "INSERT INTO welcomes (pending, group_id, recipient, event_id, sendable, recipe) \
          SELECT 999, group_id, x'', x'', 0, x'' FROM groups",
            "3 Welcomes wait",
        ),
        ("INSERT INTO meta VALUES ('account', x'00')", "1 signing keys of the account are missing"),
        (
            "INSERT INTO key_packages VALUES (x'01', '', x'', 1, 1, 0, 0, NULL, x'', '')",
            "1 published KeyPackages have no private keys",
        ),
    ] {
        let home = Home::new();
        sql(&home.path, statement);
        let report = check(&home.path);
        assert!(report.logic.iter().any(|line| line.starts_with(text)), "{statement}: {report:?}");
        assert!(report.bad_pages.is_empty() && report.structure.is_empty(), "{report:?}");
        let printed = format!("{report:?}");
        assert!(!printed.contains("text 1") && !printed.contains("0101"), "{printed}");
    }
}

#[test]
fn an_open_database_is_verified_and_goes_on_working() {
    let home = Home::new();
    let mut store = open(&home.path, &raw(1));
    store.write(|tx| tx.set_meta("late", b"1")).unwrap();
    let report = store.verify(&mut none()).unwrap();
    assert!(report.is_intact() && report.pages > 40, "{report:?}");
    // The last page is that of a message: the engine may not even have looked at it yet.
    let mut bytes = home.bytes();
    let (len, page) = (bytes.len(), bytes.len() / PAGE);
    bytes[len - 200] ^= 1;
    std::os::unix::fs::FileExt::write_at(
        &fs::File::options().write(true).open(&home.path).unwrap(),
        &bytes[len - PAGE..],
        (len - PAGE) as u64,
    )
    .unwrap();
    let report = store.verify(&mut none()).unwrap();
    assert_eq!(report.bad_pages, [page as u64]);
    store.write(|tx| tx.set_meta("later", b"2")).unwrap();
    assert_eq!(store.read(|tx| tx.meta("late")).unwrap().unwrap(), b"1");
    let mut memory = Store::in_memory().unwrap();
    assert_eq!(memory.verify(&mut none()).unwrap_err(), VaultError::InMemory);
}
