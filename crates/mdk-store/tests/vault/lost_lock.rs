//! The lock file is removed while the database is open, and another one opens it: what that one is told that it has written
//! stays, whatever the first one does.

use std::{fs, ops::ControlFlow};

use mdk_store::{
    DatabaseKey, OpenError, Progress, Stage, Step, Store, StoreError, VaultError, encrypt_existing,
    restore, verify,
};

use crate::kit::{
    keys::{Home, fill, passphrase, raw},
    none, once_at, open, try_open, vault, words,
};

const LOCK: &str = "alice.db.lock";
const LOST: VaultError = VaultError::Store(StoreError::LockLost);

#[track_caller]
fn is_lost(result: Result<(), VaultError>) {
    let lost = VaultError::Open(StoreError::LockLost.into());
    assert!([Err(LOST), Err(lost)].contains(&result), "{result:?}");
}

fn write(store: &mut Store, name: &str) {
    store.write(|tx| tx.set_meta(name, b"kept")).unwrap();
}

/// Everything that was acknowledged is there.
#[track_caller]
fn holds(home: &Home, key: &DatabaseKey, names: &[&str]) {
    let mut store = home.open(key).unwrap();
    for name in names {
        let found = store.read(|tx| tx.meta(name)).unwrap();
        assert_eq!(found.as_deref(), Some(&b"kept"[..]), "{name}");
    }
    store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
    store.close().unwrap();
}

fn sources(home: &Home) -> [(DatabaseKey, Option<DatabaseKey>); 4] {
    let (file, words) = (home.in_file(), passphrase("words"));
    [(file.clone(), None), (words.clone(), None), (raw(1), Some(file)), (words, Some(raw(2)))]
}

#[test]
fn a_rekey_of_the_former_owner_changes_nothing() {
    for n in 0..4 {
        let home = Home::new();
        let (key, to) = sources(&home).into_iter().nth(n).unwrap();
        fill(&home, &key);
        let mut first = home.open(&key).unwrap();
        write(&mut first, "one");
        fs::remove_file(home.path(LOCK)).unwrap();
        assert_eq!(first.write(|tx| tx.set_meta("one", b"2")), Err(StoreError::LockLost));
        assert_eq!(first.rekey(to.as_ref(), &mut none()), Err(LOST));
        let mut second = home.open(&key).unwrap();
        write(&mut second, "two");
        let (names, record) = (home.names(), home.record());
        assert_eq!(first.rekey(to.as_ref(), &mut none()), Err(LOST));
        assert_eq!(first.verify(&mut none()), Err(LOST));
        assert_eq!((home.names(), home.record()), (names, record));
        write(&mut second, "three");
        first.close().unwrap();
        write(&mut second, "four");
        drop(second);
        holds(&home, &key, &["one", "two", "three", "four"]);
        assert_eq!(home.open(&key).unwrap().rekey(to.as_ref(), &mut none()).err(), None);
    }
}

/// The lock is lost at this stage of a re-key; `meet` is what happens then.
fn lose_at(
    home: &Home,
    first: &mut Store,
    to: Option<&DatabaseKey>,
    stage: Stage,
    meet: &mut dyn FnMut(),
) {
    let mut lose = once_at(stage, || {
        fs::remove_file(home.path(LOCK)).unwrap();
        meet();
    });
    assert_eq!(first.rekey(to, &mut Progress::new(&mut lose)), Err(LOST));
    assert_eq!(first.write(|tx| tx.set_meta("a", b"b")), Err(StoreError::LockLost));
    assert_eq!(first.rekey(to, &mut none()), Err(LOST));
}

#[test]
fn a_lock_that_is_lost_while_the_copy_is_made_ends_the_rekey() {
    for n in 0..4 {
        for stage in [Stage::Writing, Stage::Comparing] {
            let home = Home::new();
            let (key, to) = sources(&home).into_iter().nth(n).unwrap();
            fill(&home, &key);
            let names = home.names();
            let mut first = home.open(&key).unwrap();
            write(&mut first, "one");
            let mut second = None;
            lose_at(&home, &mut first, to.as_ref(), stage, &mut || {
                let mut store = home.open(&key).unwrap();
                write(&mut store, "two");
                second = Some(store);
            });
            let mut second = second.unwrap();
            write(&mut second, "three");
            drop(first);
            write(&mut second, "four");
            second.close().unwrap();
            holds(&home, &key, &["one", "two", "three", "four"]);
            assert_eq!(home.names(), names, "nothing is left over");
        }
    }
}

/// The next owner may come later, or be about to encrypt it anew itself.
#[test]
fn what_it_leaves_is_settled_by_the_next_owner() {
    let home = Home::new();
    let key = home.in_file();
    fill(&home, &key);
    let names = home.names();
    let mut first = home.open(&key).unwrap();
    write(&mut first, "one");
    lose_at(&home, &mut first, None, Stage::Comparing, &mut || ());
    drop(first);
    holds(&home, &key, &["one"]);
    assert_eq!(home.names(), names);

    let mut first = home.open(&key).unwrap();
    lose_at(&home, &mut first, None, Stage::Writing, &mut || {
        let mut second = home.open(&key).unwrap();
        second.rekey(None, &mut none()).unwrap();
        write(&mut second, "two");
        second.close().unwrap();
    });
    // It still has the file of before, which was overwritten: that is no damage.
    let read = first.read(|tx| tx.meta("row 20"));
    assert!(matches!(read, Ok(_) | Err(StoreError::LockLost)), "{read:?}");
    first.close().unwrap();
    holds(&home, &key, &["one", "two"]);
    assert_eq!(home.names(), names);
}

#[test]
fn a_database_that_another_one_has_opened_is_not_taken_back() {
    let home = Home::new();
    let key = home.in_file();
    let first = home.open(&key).unwrap();
    fs::remove_file(home.path(LOCK)).unwrap();
    let mut second = home.open(&key).unwrap();
    write(&mut second, "one");
    first.take_back();
    write(&mut second, "two");
    drop(second);
    holds(&home, &key, &["one", "two"]);
}

#[test]
fn the_lock_file_of_the_next_owner_stays() {
    let home = vault::Home::new();
    let mut second = None;
    let lock = home.beside("a.db.lock");
    let mut lose = |_: Step| {
        if second.is_none() {
            fs::remove_file(&lock).unwrap();
            second = Some(open(&home.path, &raw(1)));
        }
        ControlFlow::Continue(())
    };
    verify(&home.path, &raw(1), &mut Progress::new(&mut lose)).unwrap();
    let third = try_open(&home.path, &raw(1));
    let pid = Some(std::process::id());
    assert_eq!(third.map(drop), Err(OpenError::Busy { pid }));
    drop(second);
}

/// Two that make the same database have the same names for what is half made.
#[test]
fn what_is_being_made_does_not_appear_half_made() {
    let home = vault::Home::new();
    let words = words();
    let backup = home.beside("backup");
    open(&home.path, &raw(1)).backup(&backup, &words, &mut none()).unwrap();
    let key = DatabaseKey::File(home.beside("k"));
    let to = home.beside("new.db");
    let again = |progress: &mut Progress<'_>| restore(&backup, &to, &words, &key, progress);
    let mut lost = false;
    let mut lose = once_at(Stage::Comparing, || {
        lost = true;
        fs::remove_file(home.beside("new.db.lock")).unwrap();
        assert!(again(&mut none()).is_ok());
    });
    is_lost(again(&mut Progress::new(&mut lose)).map(drop));
    drop(lose);
    assert!(lost);
    assert!(verify(&to, &key, &mut none()).unwrap().is_intact());
    open(&to, &key).close().unwrap();
    // And where nobody comes the next call makes it.
    for name in ["new.db", "new.db.keyinfo", "k"] {
        fs::remove_file(home.beside(name)).unwrap();
    }
    let mut lose = once_at(Stage::Comparing, || {
        fs::remove_file(home.beside("new.db.lock")).unwrap();
    });
    is_lost(again(&mut Progress::new(&mut lose)).map(drop));
    assert!(!to.exists());
    again(&mut none()).unwrap();
    open(&to, &key).close().unwrap();
}

#[test]
fn an_encryption_in_place_goes_no_further() {
    let home = vault::Home::new();
    let plain = vault::plain(&home);
    let before = fs::read(&plain).unwrap();
    let key = DatabaseKey::File(home.beside("k"));
    let mut lose = |_: Step| {
        let _ = fs::remove_file(home.beside("plain.db.lock"));
        ControlFlow::Continue(())
    };
    let lost = encrypt_existing(&plain, None, None, &key, &mut Progress::new(&mut lose));
    is_lost(lost.map(drop));
    assert_eq!(fs::read(&plain).unwrap(), before);
    encrypt_existing(&plain, None, None, &key, &mut none()).unwrap();
    let mut store = open(&plain, &key);
    assert_eq!(store.digest().unwrap(), home.digest);
    store.close().unwrap();
    assert!(!home.beside("plain.db.encrypt").exists());
}
