//! What comes back is what was backed up, or nothing does.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use mdk_store::{
    CommitStatus, DatabaseKey, FileRole, GroupStatus, OpenError, OpenOptions, Progress,
    RestoreReport, Stage, Step, Store, StoreError, VaultError, restore,
};

use crate::kit::{backup::*, open, rows::*};

const ROW: &str = "restored_at";

fn bring_back(home: &Home, key: &DatabaseKey) -> Result<RestoreReport, VaultError> {
    restore(&home.archive(), &home.restored(), &passphrase(), key, &mut Progress::none())
}

/// A home with a database, its archive, and nothing else.
fn backed_up() -> (Home, Store) {
    let home = Home::new();
    let mut store = home.filled();
    store.backup(&home.archive(), &passphrase(), &mut Progress::none()).unwrap();
    (home, store)
}

/// Restores, expects an error, and expects that nothing new is there.
fn refused(home: &Home, key: &DatabaseKey) -> VaultError {
    let error = bring_back(home, key).unwrap_err();
    assert!(!home.restored().parent().unwrap().exists(), "{error}");
    error
}

#[test]
fn what_was_backed_up_comes_back_under_another_key() {
    let (home, mut original) = backed_up();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let report = bring_back(&home, &raw(2)).unwrap();
    assert_eq!(report.groups, [1, 2, 3].map(group_id));
    assert!(report.created_at >= before - 60 && report.created_at <= before + 60);
    assert!(report.rows > 60, "{report:?}");
    let dir = home.restored().parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(home.restored()).unwrap().mode() & 0o777, 0o600);
    let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
    for name in names {
        let name = name.to_string_lossy().into_owned();
        assert!(["alice.db", "alice.db.lock", "alice.db.keyinfo"].contains(&&*name), "{name}");
    }

    let mut restored = open(&home.restored(), &raw(2));
    // The mark is the one difference, and the digest tells it.
    assert_ne!(restored.digest().unwrap(), original.digest().unwrap());
    assert!(restored.read(|tx| tx.restored_at()).unwrap().unwrap() >= before);
    // An application may remember an event that came after the backup: what comes now has a higher number.
    let last = original.read(|tx| tx.last_event_seq()).unwrap();
    let next = write(&mut restored, |tx| tx.append_event(None, None, 255, b"")).unwrap();
    assert!(next > last + (1 << 31), "{next} {last}");
    restored.close().unwrap();
    let unmark =
        "DELETE FROM meta WHERE name = 'restored_at'; DELETE FROM events WHERE kind = 255;";
    let conn = rusqlite::Connection::open(home.restored()).unwrap();
    conn.execute_batch(&format!("PRAGMA key = \"x'{}'\"; {unmark}", "02".repeat(32))).unwrap();
    conn.close().unwrap();
    let mut restored = open(&home.restored(), &raw(2));
    assert_eq!(restored.digest().unwrap(), original.digest().unwrap());

    // It is a database like any other.
    write(&mut restored, |tx| tx.insert_group(&group(9)));
    restored.close().unwrap();
    let wrong = Store::open(&home.restored(), &raw(1), &OpenOptions::default());
    assert_eq!(wrong.unwrap_err(), OpenError::WrongKey);
    let mut again = open(&home.restored(), &raw(2));
    assert_eq!(again.read(|tx| tx.groups()).unwrap().len(), 4);
}

#[test]
fn an_empty_database_comes_back() {
    let home = Home::new();
    let mut store = home.open();
    store.backup(&home.archive(), &passphrase(), &mut Progress::none()).unwrap();
    let report = bring_back(&home, &raw(1)).unwrap();
    assert_eq!((report.groups, report.rows), (vec![], 0));
}

#[test]
fn a_backup_of_a_restored_database_comes_back_too() {
    let (home, _original) = backed_up();
    bring_back(&home, &raw(1)).unwrap();
    let mut restored = open(&home.restored(), &raw(1));
    write(&mut restored, |tx| tx.clear_must_update_after_restore(&group_id(1)));
    let second = home.dir().join("second");
    restored.backup(&second, &passphrase(), &mut Progress::none()).unwrap();
    let to = home.dir().join("again.db");
    let report = restore(&second, &to, &passphrase(), &raw(3), &mut Progress::none()).unwrap();
    // Each restore marks them all anew.
    assert_eq!(report.must_update, [1, 2, 3].map(group_id));
}

#[test]
fn numbers_that_were_given_out_do_not_come_back() {
    let home = Home::new();
    let mut store = home.open();
    let last = write(&mut store, |tx| {
        for n in 1..=4 {
            tx.insert_pending(&pending(1, n, CommitStatus::Discarded))?;
        }
        let last = tx.insert_pending(&pending(1, 100, CommitStatus::Discarded))?;
        tx.prune_commits(&group_id(1), u64::MAX)?;
        Ok(last)
    });
    store.backup(&home.archive(), &passphrase(), &mut Progress::none()).unwrap();
    bring_back(&home, &raw(1)).unwrap();
    let mut restored = open(&home.restored(), &raw(1));
    let next = write(&mut restored, |tx| tx.insert_pending(&pending(1, 5, CommitStatus::Prepared)));
    assert_eq!(next, last + 1);
}

#[test]
fn every_leaf_that_can_be_used_must_be_renewed_and_stays_so_until_it_is() {
    let home = Home::new();
    let mut store = home.open();
    let statuses = [
        (GroupStatus::Founding, true),
        (GroupStatus::Invited, true),
        (GroupStatus::Active, true),
        (GroupStatus::Leaving, true),
        (GroupStatus::Left, false),
        (GroupStatus::Removed, false),
        (GroupStatus::Reinvited, true),
        (GroupStatus::Disbanded, false),
        (GroupStatus::Unrecoverable, false),
    ];
    for (n, (status, _)) in (0..).zip(statuses) {
        let mut row = group(n);
        row.status = status;
        write(&mut store, |tx| tx.insert_group(&row));
    }
    let must =
        |store: &mut Store, n| store.read(|tx| tx.must_update_after_restore(&group_id(n))).unwrap();
    assert!((0..9).all(|n| !must(&mut store, n)), "the original has nothing to renew");
    assert_eq!(store.read(|tx| tx.restored_at()).unwrap(), None);
    store.backup(&home.archive(), &passphrase(), &mut Progress::none()).unwrap();
    let report = bring_back(&home, &raw(1)).unwrap();
    let wanted: Vec<_> =
        (0..).zip(statuses).filter(|(_, (_, live))| *live).map(|(n, _)| group_id(n)).collect();
    assert_eq!(report.must_update, wanted);
    assert_eq!(report.groups.len(), 9);

    let mut restored = open(&home.restored(), &raw(1));
    for (n, (_, live)) in (0..).zip(statuses) {
        assert_eq!(must(&mut restored, n), live, "{n}");
    }
    write(&mut restored, |tx| tx.clear_must_update_after_restore(&group_id(2)));
    let before = restored.digest().unwrap();
    write(&mut restored, |tx| {
        tx.clear_must_update_after_restore(&group_id(2))?;
        tx.clear_must_update_after_restore(&group_id(77))
    });
    assert_eq!(restored.digest().unwrap(), before);
    restored.close().unwrap();
    let mut restored = open(&home.restored(), &raw(1));
    assert!(!must(&mut restored, 2) && must(&mut restored, 3) && must(&mut restored, 0));
    // No id of a group stands in the row.
    let row = restored.read(|tx| tx.meta(ROW)).unwrap().unwrap();
    assert!(!row.windows(8).any(|w| w.iter().all(|b| b == &w[0])), "{row:?}");
    // A row that something else wrote is not taken for "nothing to renew".
    restored.write(|tx| tx.set_meta(ROW, b"123456789")).unwrap();
    let found = restored.read(|tx| tx.must_update_after_restore(&group_id(3)));
    assert_eq!(found, Err(StoreError::Decode { what: ROW }));
}

#[test]
fn a_deleted_group_leaves_no_mark() {
    let (home, _original) = backed_up();
    bring_back(&home, &raw(1)).unwrap();
    let mut restored = open(&home.restored(), &raw(1));
    let row = |store: &mut Store| store.read(|tx| tx.meta(ROW)).unwrap().unwrap();
    let before = row(&mut restored);
    write(&mut restored, |tx| tx.delete_group(&group_id(2)));
    let must =
        |store: &mut Store, n| store.read(|tx| tx.must_update_after_restore(&group_id(n))).unwrap();
    assert!(must(&mut restored, 1) && !must(&mut restored, 2) && must(&mut restored, 3));
    assert_eq!(row(&mut restored).len(), before.len() - 16);
}

#[test]
fn a_key_file_is_made_for_it_and_an_old_one_is_not_used() {
    let (home, mut original) = backed_up();
    let key_file = home.dir().join("alice.key");
    let key = DatabaseKey::File(key_file.clone());
    bring_back(&home, &key).unwrap();
    assert_eq!(fs::metadata(&key_file).unwrap().mode() & 0o777, 0o600);
    let text = fs::read(&key_file).unwrap();
    let mut restored = open(&home.restored(), &key);
    assert_eq!(restored.read(|tx| tx.groups()).unwrap(), original.read(|tx| tx.groups()).unwrap());
    drop(restored);
    // One key file belongs to one database.
    fs::remove_dir_all(home.restored().parent().unwrap()).unwrap();
    let error = refused(&home, &key);
    assert_eq!(error, OpenError::DatabaseMissingButKeyPresent.into());
    assert_eq!(fs::read(&key_file).unwrap(), text);
}

#[test]
fn each_bad_input_has_its_own_error_and_leaves_nothing() {
    let (home, _original) = backed_up();
    let good = fs::read(home.archive()).unwrap();
    let key = DatabaseKey::File(home.dir().join("new.key"));
    let role = FileRole::Backup;

    for length in [0, 1025] {
        let bad = secret(&vec![b'x'; length]);
        let to = home.restored();
        let found = restore(&home.archive(), &to, &bad, &key, &mut Progress::none());
        assert_eq!(found, Err(VaultError::BadPassphrase { length, limit: 1024 }));
    }
    let found =
        restore(&home.archive(), &home.restored(), &secret(b"x"), &key, &mut Progress::none());
    assert_eq!(found, Err(VaultError::BackupRefused));

    let archive = home.archive();
    fs::remove_file(&archive).unwrap();
    assert_eq!(refused(&home, &key), VaultError::SourceMissing { role });
    fs::create_dir(&archive).unwrap();
    assert_eq!(refused(&home, &key), OpenError::NotAFile { role }.into());
    fs::remove_dir(&archive).unwrap();
    assert!(Command::new("mkfifo").arg(&archive).status().unwrap().success());
    assert_eq!(refused(&home, &key), OpenError::NotAFile { role }.into());
    fs::remove_file(&archive).unwrap();

    let mut newer = good.clone();
    newer[10] = 2;
    let mut cheap = good.clone();
    cheap[12..16].copy_from_slice(&u32::to_be_bytes(64 * 1024 - 1));
    let mut dear = good.clone();
    dear[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    let database = fs::read(home.db()).unwrap();
    for bad in [&b""[..], b"some text", &database, &good[..50], &newer, &cheap, &dear] {
        fs::write(&archive, bad).unwrap();
        assert_eq!(refused(&home, &key), VaultError::NotABackup);
    }
    let mut changed = [(); 6].map(|()| good.clone());
    changed[0][30] ^= 1;
    changed[1][200] ^= 1;
    *changed[2].last_mut().unwrap() ^= 1;
    changed[3].truncate(good.len() - 1);
    changed[4].truncate(108 + 65_552);
    changed[5].push(0);
    for bad in changed {
        fs::write(&archive, bad).unwrap();
        assert_eq!(refused(&home, &key), VaultError::BackupRefused);
    }
    assert!(!home.dir().join("new.key").exists());

    // A link to a good archive is as good as the archive.
    fs::remove_file(&archive).unwrap();
    fs::write(home.dir().join("elsewhere"), &good).unwrap();
    symlink("elsewhere", &archive).unwrap();
    bring_back(&home, &key).unwrap();
}

#[test]
fn whatever_stands_at_the_destination_stays() {
    let (home, mut original) = backed_up();
    let exists = Err(VaultError::DestinationExists { role: FileRole::Database });
    let onto =
        |to: &Path| restore(&home.archive(), to, &passphrase(), &raw(2), &mut Progress::none());
    let before = original.digest().unwrap();
    assert_eq!(onto(&home.db()), exists);
    assert_eq!(original.digest().unwrap(), before);
    let dir = home.restored().parent().unwrap().to_owned();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    symlink("nowhere", home.restored()).unwrap();
    assert_eq!(onto(&home.restored()), exists);
    fs::remove_file(home.restored()).unwrap();
    // The newest messages of a database that is missing may be in its log.
    let log = dir.join("alice.db-wal");
    fs::write(&log, b"precious").unwrap();
    assert_eq!(onto(&home.restored()), Err(OpenError::DatabaseMissingButLogPresent.into()));
    assert_eq!(fs::read(&log).unwrap(), b"precious");
    fs::remove_file(&log).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    onto(&home.restored()).unwrap();
    assert_eq!(onto(&home.restored()), exists);
}

#[test]
fn progress_is_told_in_order_and_may_cancel_everywhere() {
    let (home, _original) = backed_up();
    let key = DatabaseKey::File(home.dir().join("new.key"));
    let mut steps: Vec<Step> = Vec::new();
    let mut note = |step: Step| {
        steps.push(step);
        ControlFlow::Continue(())
    };
    let run = |progress: &mut Progress<'_>| {
        restore(&home.archive(), &home.restored(), &passphrase(), &key, progress)
    };
    run(&mut Progress::new(&mut note)).unwrap();
    fs::remove_dir_all(home.restored().parent().unwrap()).unwrap();
    fs::remove_file(home.dir().join("new.key")).unwrap();
    let mut stages: Vec<Stage> = steps.iter().map(|step| step.stage).collect();
    stages.dedup();
    assert_eq!(
        stages,
        [Stage::Deriving, Stage::Checking, Stage::Writing, Stage::Comparing],
        "everything is checked before anything is written"
    );
    for stop in 0..steps.len() {
        let mut turn = 0;
        let mut cancel = |_: Step| {
            turn += 1;
            if turn > stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let found = run(&mut Progress::new(&mut cancel));
        assert_eq!(found, Err(VaultError::Cancelled), "step {stop}");
        assert!(!home.restored().parent().unwrap().exists(), "step {stop}");
        assert!(!home.dir().join("new.key").exists(), "step {stop}");
    }
    run(&mut Progress::none()).unwrap();
}

#[test]
fn an_archive_that_changes_between_the_passes_is_refused() {
    let (home, _original) = backed_up();
    let good = fs::read(home.archive()).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    let mut change = |step: Step| {
        if step.stage == Stage::Writing {
            fs::write(home.archive(), &bad).unwrap();
        }
        ControlFlow::Continue(())
    };
    let mut progress = Progress::new(&mut change);
    let found = restore(&home.archive(), &home.restored(), &passphrase(), &raw(1), &mut progress);
    assert_eq!(found, Err(VaultError::BackupRefused));
    assert!(!home.restored().parent().unwrap().exists());
}

#[test]
fn killed_at_any_step_it_leaves_nothing_or_all_and_can_be_repeated() {
    let (home, original) = backed_up();
    drop(original);
    let key = DatabaseKey::File(home.dir().join("new.key"));
    let (mut finished, mut begun) = (0, 0);
    for step in 0..60 {
        let died = die_at(step, module_path!(), "child_restores", &home);
        assert_eq!(home.restored().exists(), !died, "step {step}");
        if died && !home.restored().parent().unwrap().exists() {
            // Nothing was begun, so there is nothing to come over.
            assert!(!home.dir().join("new.key").exists(), "step {step}");
            continue;
        }
        if died {
            begun += 1;
            let report = bring_back(&home, &key).unwrap();
            assert_eq!(report.groups.len(), 3, "step {step}");
        }
        let mut restored = open(&home.restored(), &key);
        assert_eq!(restored.read(|tx| tx.groups()).unwrap().len(), 3, "step {step}");
        drop(restored);
        fs::remove_dir_all(home.restored().parent().unwrap()).unwrap();
        fs::remove_file(home.dir().join("new.key")).unwrap();
        if !died {
            finished = step;
            break;
        }
    }
    assert!(finished > 8 && begun > 3, "it reports more often: {finished} {begun}");
}

/// Runs in a process of its own, for the test above.
#[test]
#[ignore = "the child of another test"]
fn child_restores() {
    let Some((home, mut progress)) = as_child() else { return };
    let key = DatabaseKey::File(home.dir().join("new.key"));
    let mut progress = Progress::new(&mut progress);
    restore(&home.archive(), &home.restored(), &passphrase(), &key, &mut progress).unwrap();
}

#[test]
fn too_little_room_is_said_in_numbers() {
    let (home, _original) = backed_up();
    let Some(small) = SmallDisk::mount(home.dir(), "1m") else { return };
    let to = small.path().join("deep/alice.db");
    match restore(&home.archive(), &to, &passphrase(), &raw(1), &mut Progress::none()) {
        Err(VaultError::NoSpace { needed, available, .. }) => {
            assert!(needed > 2 << 20 && available <= 1 << 20, "{needed} {available}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0);
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_nothing() {
    let (home, _original) = backed_up();
    let Some(small) = SmallDisk::mount(home.dir(), "12m") else { return };
    let mut fill_up = |step: Step| {
        if step.stage == Stage::Writing {
            small.fill_up();
        }
        ControlFlow::Continue(())
    };
    let to = small.path().join("deep/alice.db");
    let mut progress = Progress::new(&mut fill_up);
    let found = restore(&home.archive(), &to, &passphrase(), &raw(1), &mut progress);
    assert_eq!(found, Err(VaultError::Store(StoreError::DiskFull)));
    assert_eq!(small.names(), ["filler"]);
    fs::remove_file(small.path().join("filler")).unwrap();
    restore(&home.archive(), &to, &passphrase(), &raw(1), &mut Progress::none()).unwrap();
}
