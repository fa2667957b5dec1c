//! A backup is whole, private and encrypted, or it is not there.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use mdk_store::{
    BackupReport, FileRole, OpenError, Progress, Stage, Step, Store, StoreError, VaultError,
};
use memchr::memmem;

use crate::kit::backup::*;

const EXISTS: VaultError = VaultError::DestinationExists { role: FileRole::Backup };

fn backup(store: &mut Store, to: &Path) -> Result<BackupReport, VaultError> {
    store.backup(to, &passphrase(), &mut Progress::none())
}

#[test]
fn a_backup_is_one_private_encrypted_file() {
    let home = Home::new();
    let mut store = home.filled();
    let report = backup(&mut store, &home.archive()).unwrap();
    let meta = fs::metadata(home.archive()).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, report.bytes));
    assert!(report.rows > 20, "{report:?}");
    assert!(home.leftovers().is_empty());
    let bytes = fs::read(home.archive()).unwrap();
    assert!(bytes.starts_with(b"mdk-backup\x01\x01"));
    // 64 MiB, 3 passes, one lane.
    assert_eq!(bytes[12..24], [0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
    for marker in [&b"group 1"[..], MARKER, b"wss://", b"SQLite", b"messages", b"CREATE"] {
        assert!(memmem::find(&bytes, marker).is_none(), "{marker:?}");
    }
    // Nothing in a second one is like the first: salt, keys and nonces are fresh.
    backup(&mut store, &home.dir().join("second")).unwrap();
    let second = fs::read(home.dir().join("second")).unwrap();
    let same = bytes[24..].iter().zip(&second[24..]).filter(|(a, b)| a == b).count();
    assert!(same * 50 < bytes.len(), "{same} of {}", bytes.len());
}

#[test]
fn a_backup_changes_nothing_and_a_missing_directory_is_made_private() {
    let home = Home::new();
    let mut store = home.filled();
    let before = store.digest().unwrap();
    let to = home.dir().join("new/deep/archive");
    backup(&mut store, &to).unwrap();
    assert_eq!(store.digest().unwrap(), before);
    assert_eq!(fs::metadata(to.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    // In memory too: that is the way to keep such a database.
    let mut memory = Store::in_memory().unwrap();
    fill(&mut memory);
    backup(&mut memory, &home.archive()).unwrap();
}

#[test]
fn whatever_stands_at_the_destination_stays() {
    let home = Home::new();
    let mut store = home.filled();
    fs::write(home.archive(), b"mine").unwrap();
    assert_eq!(backup(&mut store, &home.archive()), Err(EXISTS));
    assert_eq!(fs::read(home.archive()).unwrap(), b"mine");
    let link = home.dir().join("link");
    symlink(home.dir().join("nowhere"), &link).unwrap();
    assert_eq!(backup(&mut store, &link), Err(EXISTS));
    assert!(link.is_symlink() && !link.exists());
    let dir = home.dir().join("folder");
    fs::create_dir(&dir).unwrap();
    assert_eq!(backup(&mut store, &dir), Err(EXISTS));
    assert_eq!(backup(&mut store, &home.db()), Err(EXISTS));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}

#[test]
fn a_name_that_belongs_to_a_database_is_refused() {
    let home = Home::new();
    let mut store = home.filled();
    let refused = |found| {
        let role = FileRole::Backup;
        matches!(found, Err(VaultError::Open(OpenError::BadName { role: r, .. })) if r == role)
    };
    for name in ["alice.db", "other.db", "y"] {
        for suffix in ["-journal", ".keyinfo", ".key", ".tmp", ".rekey", ".encrypt"] {
            let to = home.dir().join(format!("{name}{suffix}"));
            let before = fs::read(&to).ok();
            assert!(refused(backup(&mut store, &to)), "{name}{suffix}");
            assert_eq!(fs::read(&to).ok(), before, "{name}{suffix}");
        }
    }
    let bad = Err(OpenError::BadPath { role: FileRole::Backup }.into());
    assert_eq!(backup(&mut store, Path::new("/")), bad);
    // Room for the temporary name.
    assert!(refused(backup(&mut store, &home.dir().join("n".repeat(235)))));
    backup(&mut store, &home.dir().join("n".repeat(234))).unwrap();
}

#[test]
fn a_passphrase_has_1_to_1024_bytes() {
    let home = Home::new();
    let mut store = home.filled();
    for length in [0, 1025, 5000] {
        let found =
            store.backup(&home.archive(), &secret(&vec![b'x'; length]), &mut Progress::none());
        assert_eq!(found, Err(VaultError::BadPassphrase { length, limit: 1024 }));
        assert!(!home.archive().exists());
    }
    for length in [1, 1024] {
        let to = home.dir().join(length.to_string());
        store.backup(&to, &secret(&vec![b'x'; length]), &mut Progress::none()).unwrap();
    }
}

#[test]
fn what_a_crash_left_is_removed_and_what_is_not_ours_stays() {
    let home = Home::new();
    let mut store = home.filled();
    for left in [&b""[..], b"mdk-b", b"mdk-backup\x01\x01 and half of the rest"] {
        fs::write(home.temp(), left).unwrap();
        backup(&mut store, &home.archive()).unwrap();
        assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
        fs::remove_file(home.archive()).unwrap();
    }
    let again = |store: &mut Store, kept: &Path, content: &[u8]| {
        backup(store, &home.archive()).unwrap();
        assert_eq!(fs::read(kept).unwrap(), content, "{kept:?}");
        assert_eq!(home.leftovers(), [kept.file_name().unwrap()]);
        fs::remove_file(home.archive()).unwrap();
    };
    fs::write(home.temp(), b"my own notes").unwrap();
    again(&mut store, &home.temp(), b"my own notes");
    // Another backup to this name is running.
    fs::write(home.temp(), b"mdk-backup\x01\x01").unwrap();
    let other = File::open(home.temp()).unwrap();
    other.lock().unwrap();
    again(&mut store, &home.temp(), b"mdk-backup\x01\x01");
    drop(other);
    fs::remove_file(home.temp()).unwrap();
    // A name that a person gives, though no backup is made under it any more.
    backup(&mut store, &home.archive()).unwrap();
    let whole = fs::read(home.archive()).unwrap();
    for name in ["alice.backup.tmp", "alice.backup.1.tmp", "other.0123456789abcdef.tmp"] {
        let kept = home.dir().join(name);
        fs::write(&kept, &whole).unwrap();
        fs::remove_file(home.archive()).unwrap();
        backup(&mut store, &home.archive()).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), whole);
        fs::remove_file(kept).unwrap();
    }
}

#[test]
fn progress_is_told_in_order_and_may_cancel_everywhere() {
    let home = Home::new();
    let mut store = home.filled();
    let mut steps: Vec<Step> = Vec::new();
    let mut note = |step: Step| {
        steps.push(step);
        ControlFlow::Continue(())
    };
    store.backup(&home.archive(), &passphrase(), &mut Progress::new(&mut note)).unwrap();
    let stages: Vec<Stage> = steps.iter().map(|step| step.stage).collect();
    assert!(stages.starts_with(&[Stage::Deriving, Stage::Deriving, Stage::Writing]), "{stages:?}");
    let writing: Vec<&Step> = steps.iter().filter(|s| s.stage == Stage::Writing).collect();
    assert!(writing.is_sorted_by_key(|step| step.done) && writing.len() > 3);
    let last = writing.last().unwrap();
    assert_eq!(last.done, last.total);
    fs::remove_file(home.archive()).unwrap();

    let before = store.digest().unwrap();
    for stop in 0..steps.len() {
        let mut turn = 0;
        let mut cancel = |_: Step| {
            turn += 1;
            if turn > stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let to = home.dir().join("deep/archive");
        let found = store.backup(&to, &passphrase(), &mut Progress::new(&mut cancel));
        assert_eq!(found, Err(VaultError::Cancelled), "step {stop}");
        assert!(home.leftovers().is_empty(), "step {stop}: {:?}", home.leftovers());
        assert!(!home.dir().join("deep").exists(), "step {stop}");
    }
    assert_eq!(store.digest().unwrap(), before);
    backup(&mut store, &home.archive()).unwrap();
}

#[test]
fn killed_at_any_step_it_leaves_no_archive_and_the_next_one_succeeds() {
    let home = Home::new();
    let before = home.filled().digest().unwrap();
    let mut finished = 0;
    for step in 0..40 {
        let died = die_at(step, module_path!(), "child_backs_up", &home);
        assert_eq!(home.archive().exists(), !died, "step {step}");
        if !died {
            finished = step;
            break;
        }
        let mut store = home.open();
        assert_eq!(store.digest().unwrap(), before, "step {step}");
        backup(&mut store, &home.archive()).unwrap();
        assert!(home.leftovers().is_empty(), "step {step}: {:?}", home.leftovers());
        fs::remove_file(home.archive()).unwrap();
    }
    assert!(finished > 5, "it reports more often: {finished}");
}

/// Runs in a process of its own, for the test above.
#[test]
#[ignore = "the child of another test"]
fn child_backs_up() {
    let Some((home, mut progress)) = as_child() else { return };
    let mut store = home.open();
    store.backup(&home.archive(), &passphrase(), &mut Progress::new(&mut progress)).unwrap();
}

#[test]
fn a_damaged_database_is_not_backed_up() {
    let home = Home::new();
    home.filled().close().unwrap();
    let pages = fs::metadata(home.db()).unwrap().len() / 4096;
    let mut refused = 0;
    for page in (3..pages).step_by(29) {
        let mut file = File::options().read(true).write(true).open(home.db()).unwrap();
        let at = SeekFrom::Start(page * 4096 + 100);
        let mut byte = [0];
        file.seek(at).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(at).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        let found = backup(&mut home.open(), &home.archive());
        file.seek(at).unwrap();
        file.write_all(&byte).unwrap();
        match found {
            Err(VaultError::Damaged) => {
                refused += 1;
                assert!(!home.archive().exists() && home.leftovers().is_empty());
            }
            // An index page: the rows do not need it.
            Ok(_) => fs::remove_file(home.archive()).unwrap(),
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(refused > 5, "{refused} of {pages}");
}

#[test]
fn too_little_room_is_said_in_numbers() {
    let home = Home::new();
    let mut store = home.filled();
    let Some(small) = SmallDisk::mount(home.dir(), "256k") else { return };
    match backup(&mut store, &small.path().join("archive")) {
        Err(VaultError::NoSpace { needed, available, .. }) => {
            assert!(needed > 1 << 20 && available <= 256 << 10, "{needed} {available}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0);
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_nothing() {
    let home = Home::new();
    let mut store = home.filled();
    let Some(small) = SmallDisk::mount(home.dir(), "4m") else { return };
    let mut fill_up = |step: Step| {
        if step.stage == Stage::Writing {
            small.fill_up();
        }
        ControlFlow::Continue(())
    };
    let to = small.path().join("archive");
    let found = store.backup(&to, &passphrase(), &mut Progress::new(&mut fill_up));
    assert_eq!(found, Err(VaultError::Store(StoreError::DiskFull)));
    assert_eq!(small.names(), ["filler"]);
    fs::remove_file(small.path().join("filler")).unwrap();
    backup(&mut store, &to).unwrap();
}

#[test]
fn a_link_that_leads_nowhere_is_called_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    std::os::unix::fs::symlink(dir.path().join("gone.db"), &path).unwrap();
    let words = mdk_wire::SecretVec::new(b"words".to_vec());
    let to = dir.path().join("a.bak");
    let error = mdk_store::backup(&path, &crate::kit::raw(1), &to, &words, &mut Progress::none());
    assert_eq!(error.unwrap_err(), OpenError::Symlink { role: FileRole::Database }.into());
    assert!(!to.exists());
}
