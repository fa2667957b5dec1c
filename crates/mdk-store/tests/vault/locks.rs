//! SQLite's locks on a database that is open end when any descriptor of it is closed in the process. No call does that,
//! whatever it is given and however it ends.

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, MetadataExt, symlink},
    path::{Path, PathBuf},
};

use mdk_store::*;
use mdk_wire::SecretVec;

use crate::kit::vault::*;

/// The locks of this process that end when any descriptor of their file is closed. The list is read while others change
/// it, and an entry may then be left out or come twice: so it is read often.
pub fn record_locks(files: &[PathBuf]) -> BTreeSet<String> {
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
        backup(&other.path, &raw(1), &archive, &words(), &mut Progress::none()).unwrap();
        let mut store = open(&home.path, &raw(1));
        store.write(|tx| tx.set_meta("who", b"here")).unwrap();
        Self { home, store, other, plain, archive }
    }

    /// The file and the index of its log, which are what SQLite locks.
    fn locked(&self) -> [PathBuf; 2] {
        [self.home.path.clone(), self.home.beside("a.db-shm")]
    }

    /// A place for a new database.
    fn new_place(&self) -> PathBuf {
        self.other.dir.path().join("new").join("b.db")
    }
}

fn words() -> SecretVec {
    SecretVec::new(b"words".to_vec())
}

fn file_key(path: &Path) -> DatabaseKey {
    DatabaseKey::File(path.to_owned())
}

/// Calls it more than once: what is kept of a call is not to grow.
fn keeps_the_locks(what: &str, call: impl Fn(&mut World) -> Result<(), VaultError>) {
    let mut world = World::new();
    let meta = fs::metadata(&world.home.path).unwrap();
    let id = (meta.dev(), meta.ino());
    let (before, open_before) = (record_locks(&world.locked()), descriptors(id));
    assert!(before.len() > 1, "{before:?}");
    for _ in 0..3 {
        call(&mut world).expect_err(what);
        assert_eq!(record_locks(&world.locked()), before, "{what}");
    }
    assert!(descriptors(id) <= open_before + 1, "{what}");
    world.store.write(|tx| tx.set_meta("who", b"still here")).unwrap();
    let World { home, store, .. } = world;
    store.close().unwrap();
    assert_eq!(descriptors(id), 0, "{what}");
    assert_eq!(record_locks(&[home.path]), BTreeSet::new(), "{what}");
}

fn none() -> Progress<'static> {
    Progress::none()
}

#[test]
fn what_reads_it_is_refused_and_ends_no_lock() {
    keeps_the_locks("open", |world| {
        Ok(Store::open(&world.home.path, &raw(1), &OpenOptions::default()).map(drop)?)
    });
    keeps_the_locks("verify", |world| verify(&world.home.path, &raw(1), &mut none()).map(drop));
    keeps_the_locks("salvage", |world| {
        salvage(&world.home.path, &raw(1), &world.new_place(), &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("backup", |world| {
        let to = world.other.beside("new.bak");
        backup(&world.home.path, &raw(1), &to, &words(), &mut none()).map(drop)
    });
    keeps_the_locks("encrypt", |world| {
        encrypt_existing(&world.home.path, None, None, &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("encrypt to", |world| {
        let (from, to) = (&world.home.path, world.new_place());
        encrypt_existing(from, Some(&raw(1)), Some(&to), &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("restore from it", |world| {
        restore(&world.home.path, &world.new_place(), &words(), &raw(2), &mut none()).map(drop)
    });
}

#[test]
fn what_would_write_over_it_is_refused_and_ends_no_lock() {
    keeps_the_locks("salvage", |world| {
        salvage(&world.other.path, &raw(1), &world.home.path, &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("backup", |world| {
        backup(&world.other.path, &raw(1), &world.home.path, &words(), &mut none()).map(drop)
    });
    keeps_the_locks("its own backup", |world| {
        world.store.backup(&world.home.path, &words(), &mut none()).map(drop)
    });
    keeps_the_locks("restore", |world| {
        restore(&world.archive, &world.home.path, &words(), &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("encrypt", |world| {
        let to = Some(world.home.path.as_path());
        encrypt_existing(&world.plain, None, to, &raw(2), &mut none()).map(drop)
    });
    keeps_the_locks("encrypt a copy", |world| {
        let to = Some(world.home.path.as_path());
        encrypt_existing(&world.other.path, Some(&raw(1)), to, &raw(2), &mut none()).map(drop)
    });
}

#[test]
fn a_rekey_that_does_not_come_to_its_end_ends_no_lock() {
    for stage in [Stage::Writing, Stage::Comparing] {
        keeps_the_locks("cancelled", |world| {
            let mut stop = |step: Step| match step.stage == stage {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            world.store.rekey(Some(&raw(2)), &mut Progress::new(&mut stop)).map(drop)
        });
    }
    keeps_the_locks("the same key", |world| {
        world.store.rekey(Some(&raw(1)), &mut none()).map(drop)
    });
    keeps_the_locks("a key file that is the database", |world| {
        let key = file_key(&world.home.path);
        world.store.rekey(Some(&key), &mut none()).map(drop)
    });
}

#[test]
fn after_a_rekey_the_new_file_is_locked() {
    let mut world = World::new();
    let before = record_locks(&world.locked()).len();
    world.store.rekey(Some(&raw(2)), &mut none()).unwrap();
    world.store.write(|tx| tx.set_meta("who", b"there")).unwrap();
    assert_eq!(record_locks(&world.locked()).len(), before);
}

#[test]
fn a_key_file_that_is_the_database_or_the_index_of_its_log_ends_no_lock() {
    for name in ["a.db", "a.db-shm"] {
        keeps_the_locks(name, |world| {
            let key = file_key(&world.home.beside(name));
            Ok(Store::open(&world.other.path, &key, &OpenOptions::default()).map(drop)?)
        });
    }
}

#[test]
fn no_other_spelling_of_the_path_ends_a_lock() {
    let all = |path: &Path, world: &World| {
        let _ = doctor(path, Some(&raw(1)), &mut Progress::none()).unwrap();
        let _ = restore(path, &world.new_place(), &words(), &raw(2), &mut none());
        let _ = salvage(path, &raw(1), &world.new_place(), &raw(2), &mut none());
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
    let before = record_locks(&world.locked());
    let moved = world.home.beside("moved.db");
    fs::rename(&world.home.path, &moved).unwrap();
    let locked = [moved.clone(), world.home.beside("a.db-shm")];
    let _ = verify(&moved, &raw(1), &mut none());
    assert_eq!(record_locks(&locked), before);
    let log = world.home.beside("moved.db-wal");
    fs::hard_link(world.home.beside("a.db-wal"), &log).unwrap();
    let _ = doctor(&moved, Some(&raw(1)), &mut Progress::none()).unwrap();
    assert_eq!(record_locks(&locked), before);
    fs::remove_file(log).unwrap();
    fs::rename(&moved, &world.home.path).unwrap();
    world.store.close().unwrap();
    assert_eq!(record_locks(&[world.home.path]), BTreeSet::new());
}
