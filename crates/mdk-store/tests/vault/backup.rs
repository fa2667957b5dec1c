//! A backup is whole, private and encrypted, or it is not there.

use std::{
    fs::{self, File},
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};

use mdk_store::{BackupReport, FileRole, OpenError, Progress, Stage, Step, Store, VaultError};
use memchr::memmem;

use crate::kit::{backup::*, cancel_at, keys::Home, none, words};

const EXISTS: VaultError = VaultError::DestinationExists { role: FileRole::Backup };

fn archive(home: &Home) -> std::path::PathBuf {
    home.path("alice.backup")
}

fn backup(store: &mut Store, to: &Path) -> Result<BackupReport, VaultError> {
    store.backup(to, &words(), &mut none())
}

/// Files whose name says that something was not finished.
fn leftovers(home: &Home) -> Vec<String> {
    home.names().into_iter().filter(|name| name.ends_with(".tmp")).collect()
}

#[test]
fn a_backup_is_one_private_encrypted_file() {
    let home = Home::new();
    let mut store = filled(&home);
    let before = store.digest().unwrap();
    let report = backup(&mut store, &archive(&home)).unwrap();
    let meta = fs::metadata(archive(&home)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, report.bytes));
    assert!(report.rows > 20, "{report:?}");
    assert!(leftovers(&home).is_empty());
    let bytes = fs::read(archive(&home)).unwrap();
    assert!(bytes.starts_with(b"mdk-backup\x01\x01"));
    // 64 MiB, 3 passes, one lane.
    assert_eq!(bytes[12..24], [0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
    for marker in [&b"group 1"[..], MARKER, b"wss://", b"SQLite", b"messages", b"CREATE"] {
        assert!(memmem::find(&bytes, marker).is_none(), "{marker:?}");
    }
    // Nothing in a second one is like the first: salt, keys and nonces are fresh. A missing directory is made private.
    let second = home.path("new/deep/archive");
    backup(&mut store, &second).unwrap();
    let again = fs::read(&second).unwrap();
    let same = bytes[24..].iter().zip(&again[24..]).filter(|(a, b)| a == b).count();
    assert!(same * 50 < bytes.len(), "{same} of {}", bytes.len());
    assert_eq!(fs::metadata(second.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(store.digest().unwrap(), before);
    // In memory too: that is the way to keep such a database.
    let mut memory = Store::in_memory().unwrap();
    fill(&mut memory);
    backup(&mut memory, &home.path("third")).unwrap();
}

#[test]
fn whatever_stands_at_the_destination_stays() {
    let home = Home::new();
    let mut store = filled(&home);
    fs::write(archive(&home), b"mine").unwrap();
    let (link, dir) = (home.path("link"), home.path("folder"));
    symlink(home.path("nowhere"), &link).unwrap();
    fs::create_dir(&dir).unwrap();
    for taken in [&archive(&home), &link, &dir, &home.db()] {
        assert_eq!(backup(&mut store, taken), Err(EXISTS));
    }
    assert_eq!(fs::read(archive(&home)).unwrap(), b"mine");
    assert!(link.is_symlink() && !link.exists());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    assert_eq!(leftovers(&home), Vec::<String>::new());
}

#[test]
fn a_passphrase_has_8_characters_and_no_more_than_1024_bytes() {
    let home = Home::new();
    let mut store = filled(&home);
    for length in [0, 1025, 5000] {
        let found = store.backup(&archive(&home), &secret(&vec![b'x'; length]), &mut none());
        assert_eq!(found, Err(VaultError::BadPassphrase { length, limit: 1024 }));
        assert!(!archive(&home).exists());
    }
    for short in ["x", "seven77", "é77777"] {
        let length = short.chars().count();
        let found = store.backup(&archive(&home), &secret(short.as_bytes()), &mut none());
        assert_eq!(found, Err(OpenError::ShortPassphrase { length, least: 8 }.into()));
        assert!(!archive(&home).exists());
    }
    for length in [8, 1024] {
        let to = home.path(&length.to_string());
        store.backup(&to, &secret(&vec![b'x'; length]), &mut none()).unwrap();
    }
}

/// As a backup leaves it that was killed: a part of an archive, under this name.
#[test]
fn what_a_crash_left_is_removed_and_what_is_not_ours_stays() {
    let home = Home::new();
    let mut store = filled(&home);
    let temp = "alice.backup.0123456789abcdef.tmp";
    backup(&mut store, &archive(&home)).unwrap();
    let whole = fs::read(archive(&home)).unwrap();
    let half = b"mdk-backup\x01\x01 and half of the rest";
    let cases: [(&str, &[u8], bool); 7] = [
        (temp, b"", false),
        (temp, b"mdk-b", false),
        (temp, half, false),
        (temp, b"my own notes", true),
        // A name that a person gives, though no backup is made under it any more.
        ("alice.backup.tmp", &whole, true),
        ("alice.backup.1.tmp", &whole, true),
        ("other.0123456789abcdef.tmp", &whole, true),
    ];
    let mut again = |name: &str, left: &[u8], stays: bool| {
        fs::remove_file(archive(&home)).unwrap();
        backup(&mut store, &archive(&home)).unwrap();
        assert_eq!(leftovers(&home), if stays { vec![name.to_owned()] } else { vec![] });
        assert!(!stays || fs::read(home.path(name)).unwrap() == left);
    };
    for (name, left, stays) in cases {
        fs::write(home.path(name), left).unwrap();
        again(name, left, stays);
        let _ = fs::remove_file(home.path(name));
    }
    // Another backup to this name is running.
    fs::write(home.path(temp), half).unwrap();
    let other = File::open(home.path(temp)).unwrap();
    other.lock().unwrap();
    again(temp, half, true);
}

#[test]
fn progress_is_told_in_order_and_may_cancel_everywhere() {
    let home = Home::new();
    let mut store = filled(&home);
    let mut steps: Vec<Step> = Vec::new();
    let mut note = |step: Step| {
        steps.push(step);
        ControlFlow::Continue(())
    };
    store.backup(&archive(&home), &words(), &mut Progress::new(&mut note)).unwrap();
    let stages: Vec<Stage> = steps.iter().map(|step| step.stage).collect();
    assert!(stages.starts_with(&[Stage::Deriving, Stage::Deriving, Stage::Writing]), "{stages:?}");
    let writing: Vec<&Step> = steps.iter().filter(|s| s.stage == Stage::Writing).collect();
    assert!(writing.is_sorted_by_key(|step| step.done) && writing.len() > 3);
    let last = writing.last().unwrap();
    assert_eq!(last.done, last.total);

    let before = store.digest().unwrap();
    let to = home.path("deep/archive");
    for stop in [0, 1, 2, 3, steps.len() / 2, steps.len() - 1] {
        let mut cancel = cancel_at(stop);
        let found = store.backup(&to, &words(), &mut Progress::new(&mut cancel));
        assert_eq!(found, Err(VaultError::Cancelled), "step {stop}");
        assert!(!home.path("deep").exists(), "step {stop}");
    }
    assert_eq!(store.digest().unwrap(), before);
    backup(&mut store, &to).unwrap();
}

#[test]
fn a_damaged_database_is_not_backed_up() {
    let home = Home::new();
    filled(&home).close().unwrap();
    let good = home.bytes();
    let pages = good.len() / 4096;
    let mut refused = 0;
    for page in (3..pages).step_by(29) {
        let mut bad = good.clone();
        bad[page * 4096 + 100] ^= 1;
        fs::write(home.db(), &bad).unwrap();
        match backup(&mut crate::kit::open(&home.db(), &crate::kit::raw(1)), &archive(&home)) {
            Err(VaultError::Damaged) => {
                refused += 1;
                assert!(!archive(&home).exists() && leftovers(&home).is_empty());
            }
            // An index page: the rows do not need it.
            Ok(_) => fs::remove_file(archive(&home)).unwrap(),
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(refused > 5, "{refused} of {pages}");
}

/// Room for the temporary name; names that belong to databases are in `names`.
#[test]
fn a_name_that_is_too_long_or_none_is_refused() {
    let home = Home::new();
    let mut store = home.open(&crate::kit::raw(1)).unwrap();
    let bad = Err(OpenError::BadPath { role: FileRole::Backup }.into());
    assert_eq!(backup(&mut store, Path::new("/")), bad);
    let found = backup(&mut store, &home.path(&"n".repeat(235)));
    let role = FileRole::Backup;
    assert!(
        matches!(found, Err(VaultError::Open(OpenError::BadName { role: r, .. })) if r == role)
    );
    backup(&mut store, &home.path(&"n".repeat(234))).unwrap();
}
