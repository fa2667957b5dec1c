//! SQLite's locks on a database that is open end when any descriptor of it is closed in the process. No call does that,
//! whatever it is given and however it ends.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mdk_store::*;

use crate::kit::{cancel_in, vault::*};

/// The locks of this process that end when any descriptor of their file is closed. The list is read while others change
/// it, and an entry may then be left out or come twice: so it is read often, until all that is expected was seen.
fn record_locks(files: &[PathBuf], expected: &BTreeSet<String>) -> BTreeSet<String> {
    let ends = || files.iter().map(|file| format!(":{}", fs::metadata(file).unwrap().ino()));
    let ends: Vec<String> = ends().collect();
    let ours = |line: &&str| {
        line.contains(" POSIX ")
            && line.split_whitespace().any(|word| ends.iter().any(|end| word.ends_with(end)))
    };
    let mut found = BTreeSet::new();
    for _ in 0..50 {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        found.extend(
            locks.lines().filter(ours).map(|line| line.split_once(": ").unwrap().1.to_owned()),
        );
        if !expected.is_empty() && found == *expected {
            break;
        }
    }
    found
}

/// How many descriptors of this process lead to the file.
fn descriptors(of: (u64, u64)) -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    all.filter(|entry| {
        let found = fs::metadata(entry.as_ref().unwrap().path());
        found.is_ok_and(|found| (found.dev(), found.ino()) == of)
    })
    .count()
}

/// A database that is open, another one that is not, plain and encrypted, and an archive.
struct World {
    home: Home,
    store: Store,
    other: Home,
    plain: PathBuf,
    archive: PathBuf,
}

impl World {
    fn new() -> Self {
        let (home, other) = (Home::new(), Home::new());
        let plain = plain(&other);
        let archive = other.beside("a.bak");
        // Its passphrase costs a derivation: made once and copied.
        static MADE: OnceLock<Vec<u8>> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            backup(&other.path, &raw(1), &archive, &words(), &mut none()).unwrap();
            fs::read(&archive).unwrap()
        });
        fs::write(&archive, made).unwrap();
        let mut store = open(&home.path, &raw(1));
        store.write(|tx| tx.set_meta("who", b"here")).unwrap();
        Self { home, store, other, plain, archive }
    }

    /// The file and the index of its log, which are what SQLite locks.
    fn locked(&self) -> [PathBuf; 2] {
        [self.home.path.clone(), self.home.beside("a.db-shm")]
    }
}

fn file_key(path: &Path) -> DatabaseKey {
    DatabaseKey::File(path.to_owned())
}

/// Calls it more than once: what is kept of a call is not to grow.
fn keeps_the_locks(what: &str, call: impl Fn(&mut World) -> Result<(), VaultError>) {
    let mut world = World::new();
    let meta = fs::metadata(&world.home.path).unwrap();
    let id = (meta.dev(), meta.ino());
    let none_yet = BTreeSet::new();
    let (before, open_before) = (record_locks(&world.locked(), &none_yet), descriptors(id));
    assert!(before.len() > 1, "{before:?}");
    for _ in 0..3 {
        call(&mut world).expect_err(what);
        assert_eq!(record_locks(&world.locked(), &before), before, "{what}");
    }
    assert!(descriptors(id) <= open_before + 1, "{what}");
    world.store.write(|tx| tx.set_meta("who", b"still here")).unwrap();
    let World { home, store, .. } = world;
    store.close().unwrap();
    assert_eq!(descriptors(id), 0, "{what}");
    assert_eq!(record_locks(&[home.path], &none_yet), none_yet, "{what}");
}

type Call = fn(&mut World) -> Result<(), VaultError>;

fn each_keeps_the_locks(calls: &[(&str, Call)]) {
    for (what, call) in calls {
        keeps_the_locks(what, call);
    }
}

#[test]
fn what_reads_it_is_refused_and_ends_no_lock() {
    each_keeps_the_locks(&[
        ("open", |w| Ok(try_open(&w.home.path, &raw(1)).map(drop)?)),
        ("verify", |w| verify(&w.home.path, &raw(1), &mut none()).map(drop)),
        ("salvage", |w| {
            salvage(&w.home.path, &raw(1), &w.other.elsewhere(), &raw(2), &mut none()).map(drop)
        }),
        ("backup", |w| {
            let to = w.other.beside("new.bak");
            backup(&w.home.path, &raw(1), &to, &words(), &mut none()).map(drop)
        }),
        ("encrypt", |w| encrypt_existing(&w.home.path, None, None, &raw(2), &mut none()).map(drop)),
        ("encrypt to", |w| {
            let (key, to) = (raw(1), w.other.elsewhere());
            encrypt_existing(&w.home.path, Some(&key), Some(&to), &raw(2), &mut none()).map(drop)
        }),
        ("restore from it", |w| {
            restore(&w.home.path, &w.other.elsewhere(), &words(), &raw(2), &mut none()).map(drop)
        }),
    ]);
}

#[test]
fn what_would_write_over_it_is_refused_and_ends_no_lock() {
    each_keeps_the_locks(&[
        ("salvage onto it", |w| {
            salvage(&w.other.path, &raw(1), &w.home.path, &raw(2), &mut none()).map(drop)
        }),
        ("backup onto it", |w| {
            backup(&w.other.path, &raw(1), &w.home.path, &words(), &mut none()).map(drop)
        }),
        ("its own backup", |w| w.store.backup(&w.home.path, &words(), &mut none()).map(drop)),
        ("restore onto it", |w| {
            restore(&w.archive, &w.home.path, &words(), &raw(2), &mut none()).map(drop)
        }),
        ("encrypt onto it", |w| {
            encrypt_existing(&w.plain, None, Some(&w.home.path), &raw(2), &mut none()).map(drop)
        }),
        ("copy onto it", |w| {
            let (key, to) = (raw(1), Some(&*w.home.path));
            encrypt_existing(&w.other.path, Some(&key), to, &raw(2), &mut none()).map(drop)
        }),
    ]);
}

#[test]
fn a_rekey_that_does_not_come_to_its_end_and_a_key_file_that_is_it_end_no_lock() {
    each_keeps_the_locks(&[
        ("cancelled at once", |w| cancelled(w, Stage::Writing)),
        ("cancelled later", |w| cancelled(w, Stage::Comparing)),
        ("the same key", |w| w.store.rekey(Some(&raw(1)), &mut none()).map(drop)),
        ("a key file that is the database", |w| {
            let key = file_key(&w.home.path);
            w.store.rekey(Some(&key), &mut none()).map(drop)
        }),
        ("another's key file that is it", |w| {
            Ok(try_open(&w.other.path, &file_key(&w.home.path)).map(drop)?)
        }),
        ("another's key file that is the index of its log", |w| {
            let key = file_key(&w.home.beside("a.db-shm"));
            Ok(try_open(&w.other.path, &key).map(drop)?)
        }),
    ]);
}

fn cancelled(world: &mut World, stage: Stage) -> Result<(), VaultError> {
    let mut stop = cancel_in(stage);
    world.store.rekey(Some(&raw(2)), &mut Progress::new(&mut stop)).map(drop)
}

#[test]
fn after_a_rekey_the_new_file_is_locked() {
    let mut world = World::new();
    let none_yet = BTreeSet::new();
    let before = record_locks(&world.locked(), &none_yet).len();
    world.store.rekey(Some(&raw(2)), &mut none()).unwrap();
    world.store.write(|tx| tx.set_meta("who", b"there")).unwrap();
    assert_eq!(record_locks(&world.locked(), &none_yet).len(), before);
}

#[test]
fn no_other_spelling_of_the_path_ends_a_lock() {
    let all = |path: &Path, world: &World| {
        let _ = doctor(path, Some(&raw(1)), &mut none()).unwrap();
        let _ = restore(path, &world.other.elsewhere(), &words(), &raw(2), &mut none());
        let _ = salvage(path, &raw(1), &world.other.elsewhere(), &raw(2), &mut none());
        let _ = backup(&world.other.path, &raw(1), path, &words(), &mut none());
        let _ = encrypt_existing(path, None, None, &raw(2), &mut none());
        verify(path, &raw(1), &mut none()).map(drop)
    };
    keeps_the_locks("dots", |world| {
        let path = world.home.path.parent().unwrap().join("../home/./a.db");
        all(&path, world)
    });
    keeps_the_locks("a link to the directory", |world| {
        let link = world.home.dir.path().join("link");
        let _ = symlink(world.home.path.parent().unwrap(), &link);
        all(&link.join("a.db"), world)
    });
    for hard in [true, false] {
        keeps_the_locks("a link to the file", |world| {
            let elsewhere = world.home.dir.path().join("elsewhere");
            let _ = fs::DirBuilder::new().mode(0o700).create(&elsewhere);
            let link = elsewhere.join("b.db");
            match hard {
                true => fs::hard_link(&world.home.path, &link).unwrap(),
                false => symlink(&world.home.path, &link).unwrap(),
            }
            // (with the log, the doctor looks further)
            let log = elsewhere.join("b.db-wal");
            fs::hard_link(world.home.beside("a.db-wal"), &log).unwrap();
            let done = all(&link, world);
            fs::remove_file(log).unwrap();
            fs::remove_file(link).unwrap();
            done
        });
    }
}

/// Under another name it has another owner lock, and nothing tells that it is open.
#[test]
fn a_database_that_was_renamed_while_it_is_open_keeps_its_locks() {
    let world = World::new();
    let none_yet = BTreeSet::new();
    let before = record_locks(&world.locked(), &none_yet);
    let moved = world.home.beside("moved.db");
    fs::rename(&world.home.path, &moved).unwrap();
    let locked = [moved.clone(), world.home.beside("a.db-shm")];
    let _ = verify(&moved, &raw(1), &mut none());
    assert_eq!(record_locks(&locked, &before), before);
    let log = world.home.beside("moved.db-wal");
    fs::hard_link(world.home.beside("a.db-wal"), &log).unwrap();
    let _ = doctor(&moved, Some(&raw(1)), &mut none()).unwrap();
    assert_eq!(record_locks(&locked, &before), before);
    fs::remove_file(log).unwrap();
    fs::rename(&moved, &world.home.path).unwrap();
    world.store.close().unwrap();
    assert_eq!(record_locks(&[world.home.path], &none_yet), none_yet);
}
