//! What comes back is what was backed up, or nothing does.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use mdk_store::{
    CommitStatus, DatabaseKey, FileRole, GroupStatus, OpenError, Progress, RestoreReport, Stage,
    Step, Store, StoreError, VaultError, restore,
};

use crate::kit::{
    backup::*, cancel_at, keys::Home, none, once_at, open, private, raw, rerun, rows::*, try_open,
    vault::without_mark, words,
};

const ROW: &str = "restored_at";

fn archive(home: &Home) -> PathBuf {
    home.path("alice.backup")
}

/// Where the tests restore to.
fn restored(home: &Home) -> PathBuf {
    home.path("restored/alice.db")
}

fn bring_back(home: &Home, key: &DatabaseKey) -> Result<RestoreReport, VaultError> {
    restore(&archive(home), &restored(home), &words(), key, &mut none())
}

/// A home with a database, its archive, and nothing else.
fn backed_up() -> (Home, Store) {
    let home = Home::new();
    let mut store = filled(&home);
    store.backup(&archive(&home), &words(), &mut none()).unwrap();
    (home, store)
}

/// The backup of a store comes back.
fn there_and_back(home: &Home, mut store: Store) -> (RestoreReport, Store) {
    store.backup(&archive(home), &words(), &mut none()).unwrap();
    let report = bring_back(home, &raw(1)).unwrap();
    (report, open(&restored(home), &raw(1)))
}

fn must(store: &mut Store, n: u8) -> bool {
    store.read(|tx| tx.must_update_after_restore(&group_id(n))).unwrap()
}

/// Restores, expects an error, and expects that nothing new is there.
fn refused(home: &Home, key: &DatabaseKey) -> VaultError {
    let error = bring_back(home, key).unwrap_err();
    assert!(!restored(home).parent().unwrap().exists(), "{error}");
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
    let dir = restored(&home).parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(restored(&home)).unwrap().mode() & 0o777, 0o600);
    for name in fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()) {
        let name = name.to_string_lossy().into_owned();
        assert!(["alice.db", "alice.db.lock", "alice.db.keyinfo"].contains(&&*name), "{name}");
    }

    let mut back = open(&restored(&home), &raw(2));
    // The mark is the one difference, and the digest tells it.
    assert_ne!(back.digest().unwrap(), original.digest().unwrap());
    assert!(back.read(|tx| tx.restored_at()).unwrap().unwrap() >= before);
    // An application may remember an event that came after the backup: what comes now has a higher number.
    let last = original.read(|tx| tx.last_event_seq()).unwrap();
    let next = write(&mut back, |tx| tx.append_event(None, None, 255, b"")).unwrap();
    assert!(next > last + (1 << 31), "{next} {last}");
    back.close().unwrap();
    without_mark(&restored(&home), 2);
    let mut back = open(&restored(&home), &raw(2));
    assert_eq!(back.digest().unwrap(), original.digest().unwrap());

    // It is a database like any other, and has a backup of its own.
    write(&mut back, |tx| tx.insert_group(&group(9)));
    let (second, to) = (home.path("second"), home.path("again.db"));
    back.backup(&second, &words(), &mut none()).unwrap();
    back.close().unwrap();
    assert_eq!(try_open(&restored(&home), &raw(1)).unwrap_err(), OpenError::WrongKey);
    let report = restore(&second, &to, &words(), &raw(3), &mut none()).unwrap();
    // Each restore marks them all anew.
    assert_eq!(report.must_update, [1, 2, 3, 9].map(group_id));
}

#[test]
fn an_empty_database_comes_back() {
    let home = Home::new();
    let store = home.open(&raw(1)).unwrap();
    let (report, _) = there_and_back(&home, store);
    assert_eq!((report.groups, report.rows), (vec![], 0));
}

#[test]
fn numbers_that_were_given_out_do_not_come_back() {
    let home = Home::new();
    let mut store = home.open(&raw(1)).unwrap();
    let last = write(&mut store, |tx| {
        for n in 1..=4 {
            tx.insert_pending(&pending(1, n, CommitStatus::Discarded))?;
        }
        let last = tx.insert_pending(&pending(1, 100, CommitStatus::Discarded))?;
        tx.prune_commits(&group_id(1), u64::MAX)?;
        Ok(last)
    });
    let (_, mut back) = there_and_back(&home, store);
    let next = write(&mut back, |tx| tx.insert_pending(&pending(1, 5, CommitStatus::Prepared)));
    assert_eq!(next, last + 1);
}

#[test]
fn every_leaf_that_can_be_used_must_be_renewed_and_stays_so_until_it_is() {
    let home = Home::new();
    let mut store = home.open(&raw(1)).unwrap();
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
        write(&mut store, |tx| tx.insert_group(&mdk_store::GroupRow { status, ..group(n) }));
    }
    assert!((0..9).all(|n| !must(&mut store, n)), "the original has nothing to renew");
    assert_eq!(store.read(|tx| tx.restored_at()).unwrap(), None);
    let (report, mut back) = there_and_back(&home, store);
    let live = |n: &u8| statuses[usize::from(*n)].1;
    let wanted: Vec<_> = (0..9).filter(live).map(group_id).collect();
    assert_eq!(report.must_update, wanted);
    assert_eq!(report.groups.len(), 9);
    for n in 0..9 {
        assert_eq!(must(&mut back, n), live(&n), "{n}");
    }
    write(&mut back, |tx| tx.clear_must_update_after_restore(&group_id(2)));
    let before = back.digest().unwrap();
    write(&mut back, |tx| {
        tx.clear_must_update_after_restore(&group_id(2))?;
        tx.clear_must_update_after_restore(&group_id(77))
    });
    assert_eq!(back.digest().unwrap(), before);
    back.close().unwrap();
    let mut back = open(&restored(&home), &raw(1));
    assert!(!must(&mut back, 2) && must(&mut back, 3) && must(&mut back, 0));
    // No id of a group stands in the row, and a deleted group leaves no mark.
    let row = |store: &mut Store| store.read(|tx| tx.meta(ROW)).unwrap().unwrap();
    let marked = row(&mut back);
    assert!(!marked.windows(8).any(|w| w.iter().all(|b| b == &w[0])), "{marked:?}");
    write(&mut back, |tx| tx.delete_group(&group_id(1)));
    assert!(must(&mut back, 0) && !must(&mut back, 1) && must(&mut back, 3));
    assert_eq!(row(&mut back).len(), marked.len() - 16);
    // A row that something else wrote is not taken for "nothing to renew".
    back.write(|tx| tx.set_meta(ROW, b"123456789")).unwrap();
    let found = back.read(|tx| tx.must_update_after_restore(&group_id(3)));
    assert_eq!(found, Err(StoreError::Decode { what: ROW }));
}

#[test]
fn a_key_file_is_made_for_it_and_an_old_one_is_not_used() {
    let (home, mut original) = backed_up();
    let key = home.in_file();
    bring_back(&home, &key).unwrap();
    assert_eq!(fs::metadata(home.key_file()).unwrap().mode() & 0o777, 0o600);
    let text = fs::read(home.key_file()).unwrap();
    let mut back = open(&restored(&home), &key);
    assert_eq!(back.read(|tx| tx.groups()).unwrap(), original.read(|tx| tx.groups()).unwrap());
    drop(back);
    // One key file belongs to one database.
    fs::remove_dir_all(restored(&home).parent().unwrap()).unwrap();
    assert_eq!(refused(&home, &key), OpenError::DatabaseMissingButKeyPresent.into());
    assert_eq!(fs::read(home.key_file()).unwrap(), text);
}

#[test]
fn each_bad_input_has_its_own_error_and_leaves_nothing() {
    let (home, _original) = backed_up();
    let (archive, key) = (archive(&home), home.in_file());
    let good = fs::read(&archive).unwrap();
    let role = FileRole::Backup;
    let with = |words: &[u8]| {
        restore(&archive, &restored(&home), &secret(words), &key, &mut none()).unwrap_err()
    };
    for length in [0, 1025] {
        assert_eq!(with(&vec![b'x'; length]), VaultError::BadPassphrase { length, limit: 1024 });
    }
    assert_eq!(with(b"x"), VaultError::BackupRefused);

    fs::remove_file(&archive).unwrap();
    assert_eq!(refused(&home, &key), VaultError::SourceMissing { role });
    fs::create_dir(&archive).unwrap();
    assert_eq!(refused(&home, &key), OpenError::NotAFile { role }.into());
    fs::remove_dir(&archive).unwrap();
    assert!(Command::new("mkfifo").arg(&archive).status().unwrap().success());
    assert_eq!(refused(&home, &key), OpenError::NotAFile { role }.into());
    fs::remove_file(&archive).unwrap();

    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let none_of_ours = [
        Vec::new(),
        b"some text".to_vec(),
        home.bytes(),
        good[..50].to_vec(),
        // Of a newer version, and with too cheap and too dear a derivation.
        changed(|b| b[10] = 2),
        changed(|b| b[12..16].copy_from_slice(&u32::to_be_bytes(64 * 1024 - 1))),
        changed(|b| b[12..16].copy_from_slice(&u32::MAX.to_be_bytes())),
    ];
    for bad in none_of_ours {
        fs::write(&archive, bad).unwrap();
        assert_eq!(refused(&home, &key), VaultError::NotABackup);
    }
    for bad in [
        changed(|b| b[30] ^= 1),
        changed(|b| b[200] ^= 1),
        changed(|b| *b.last_mut().unwrap() ^= 1),
        changed(|b| b.truncate(b.len() - 1)),
        changed(|b| b.truncate(108 + 65_552)),
        changed(|b| b.push(0)),
    ] {
        fs::write(&archive, bad).unwrap();
        assert_eq!(refused(&home, &key), VaultError::BackupRefused);
    }
    // It is changed between the two passes.
    fs::write(&archive, &good).unwrap();
    let bad = changed(|b| {
        let middle = b.len() / 2;
        b[middle] ^= 1;
    });
    let mut change = once_at(Stage::Writing, || fs::write(&archive, &bad).unwrap());
    let progress = &mut Progress::new(&mut change);
    let found = restore(&archive, &restored(&home), &words(), &key, progress);
    assert_eq!(found, Err(VaultError::BackupRefused));
    assert!(!restored(&home).parent().unwrap().exists() && !home.key_file().exists());

    // A link to a good archive is as good as the archive.
    fs::remove_file(&archive).unwrap();
    fs::write(home.path("elsewhere"), &good).unwrap();
    symlink("elsewhere", &archive).unwrap();
    bring_back(&home, &key).unwrap();
}

#[test]
fn whatever_stands_at_the_destination_stays() {
    let (home, mut original) = backed_up();
    let exists = Err(VaultError::DestinationExists { role: FileRole::Database });
    let onto = |to: &Path| restore(&archive(&home), to, &words(), &raw(2), &mut none());
    let before = original.digest().unwrap();
    assert_eq!(onto(&home.db()), exists);
    assert_eq!(original.digest().unwrap(), before);
    let to = restored(&home);
    let dir = to.parent().unwrap();
    fs::create_dir(dir).unwrap();
    crate::kit::set_mode(dir, 0o700);
    symlink("nowhere", &to).unwrap();
    assert_eq!(onto(&to), exists);
    fs::remove_file(&to).unwrap();
    // The newest messages of a database that is missing may be in its log.
    let log = dir.join("alice.db-wal");
    private(&log, b"precious");
    assert_eq!(onto(&to), Err(OpenError::DatabaseMissingButLogPresent.into()));
    assert_eq!(fs::read(&log).unwrap(), b"precious");
    fs::remove_file(&log).unwrap();
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    onto(&to).unwrap();
    assert_eq!(onto(&to), exists);
}

#[test]
fn progress_is_told_in_order_and_may_cancel_everywhere() {
    let (home, _original) = backed_up();
    let key = home.in_file();
    let mut steps: Vec<Step> = Vec::new();
    let mut note = |step: Step| {
        steps.push(step);
        ControlFlow::Continue(())
    };
    let run = |progress: &mut Progress<'_>| {
        restore(&archive(&home), &restored(&home), &words(), &key, progress)
    };
    run(&mut Progress::new(&mut note)).unwrap();
    fs::remove_dir_all(restored(&home).parent().unwrap()).unwrap();
    fs::remove_file(home.key_file()).unwrap();
    let stages: Vec<Stage> = steps.iter().map(|step| step.stage).collect();
    let firsts: Vec<usize> =
        (0..stages.len()).filter(|n| *n == 0 || stages[n - 1] != stages[*n]).collect();
    assert_eq!(
        firsts.iter().map(|n| stages[*n]).collect::<Vec<_>>(),
        [Stage::Deriving, Stage::Checking, Stage::Writing, Stage::Comparing],
        "everything is checked before anything is written"
    );
    // The first report of each stage, one in its middle, and the last.
    let middles = firsts.windows(2).map(|pair| (pair[0] + pair[1]) / 2);
    for stop in firsts.iter().copied().chain(middles).chain([steps.len() - 1]) {
        let mut cancel = cancel_at(stop);
        let found = run(&mut Progress::new(&mut cancel));
        assert_eq!(found, Err(VaultError::Cancelled), "step {stop}");
        assert!(!restored(&home).parent().unwrap().exists(), "step {stop}");
        assert!(!home.key_file().exists(), "step {stop}");
    }
    run(&mut none()).unwrap();
}

const STEP: &str = "MDK_TEST_DIE_AT";
const HOME: &str = "MDK_TEST_HOME";

#[test]
fn killed_at_any_step_it_leaves_nothing_or_all_and_can_be_repeated() {
    let (home, original) = backed_up();
    drop(original);
    let key = home.in_file();
    let (mut finished, mut begun) = (0, 0);
    for step in 0..60 {
        let mut child = rerun(module_path!(), "child_restores");
        let status = child.env(STEP, step.to_string()).env(HOME, home.dir.path()).output();
        let status = status.unwrap().status;
        assert!(status.success() || status.code().is_none(), "{status}");
        let died = !status.success();
        assert_eq!(restored(&home).exists(), !died, "step {step}");
        if died && !restored(&home).parent().unwrap().exists() {
            // Nothing was begun, so there is nothing to come over.
            assert!(!home.key_file().exists(), "step {step}");
            continue;
        }
        if died {
            begun += 1;
            assert_eq!(bring_back(&home, &key).unwrap().groups.len(), 3, "step {step}");
        }
        let mut back = open(&restored(&home), &key);
        assert_eq!(back.read(|tx| tx.groups()).unwrap().len(), 3, "step {step}");
        drop(back);
        fs::remove_dir_all(restored(&home).parent().unwrap()).unwrap();
        fs::remove_file(home.key_file()).unwrap();
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
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let step: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let mut turn = 0;
    let mut progress = |_: Step| {
        if turn == step {
            let me = std::process::id().to_string();
            Command::new("kill").args(["-9", &me]).status().unwrap();
            std::thread::park();
        }
        turn += 1;
        ControlFlow::Continue(())
    };
    let key = DatabaseKey::File(home.join("alice.secret"));
    let (from, to) = (home.join("alice.backup"), home.join("restored/alice.db"));
    restore(&from, &to, &words(), &key, &mut Progress::new(&mut progress)).unwrap();
}
