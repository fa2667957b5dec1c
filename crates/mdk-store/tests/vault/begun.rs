//! A database whose making was killed, and is continued with another key: the first one is not left behind.

use std::fs;

use mdk_store::{DatabaseKey, OpenError, Progress, Stage, encrypt_existing};

use crate::kit::{
    findings,
    keys::{DB, Files, Home, Made, RECORD, passphrase, raw},
    none, once_at, private, vault,
};

fn two_files(home: &Home) -> [DatabaseKey; 2] {
    ["1.key1", "2.key1"].map(|name| DatabaseKey::File(home.path(name)))
}

fn files_of(key: &DatabaseKey) -> Vec<String> {
    let mut names = vec![DB.to_owned(), RECORD.to_owned()];
    names.extend(match key {
        DatabaseKey::File(path) => Some(path.file_name().unwrap().to_str().unwrap().to_owned()),
        DatabaseKey::Passphrase(_) => Some("alice.db.key".to_owned()),
        _ => None,
    });
    names.sort_unstable();
    names
}

#[test]
fn a_restore_that_is_continued_with_another_key_leaves_none_of_the_first() {
    let made = Made::new();
    let home = &made.home;
    let [first, second] = two_files(home);
    let (x, y) = (passphrase("x"), passphrase("y"));
    for (from, to) in [
        (&first, &second),
        (&first, &raw(2)),
        (&first, &x),
        (&x, &first),
        (&x, &y),
        (&raw(2), &first),
        (&first, &first),
    ] {
        made.killed(from);
        let begun = home.files();
        made.restore(to);
        assert_eq!(home.names(), files_of(to), "{from:?} {to:?}");
        assert!(!home.says_left());
        assert!(home.record()["key"]["shared"].is_null(), "{from:?} {to:?}");
        home.opens(to);
        // Opening, too, begins anew, if what was begun is an empty database.
        home.put(&begun);
        made.forget_filling();
        home.create(to);
        home.opens(to);
        assert_eq!(home.names(), files_of(to), "{from:?} {to:?}");
    }
    // Killed while the key itself was being written.
    made.killed(&first);
    let key = fs::read(home.path("1.key1")).unwrap();
    fs::remove_file(home.path("1.key1")).unwrap();
    for text in [&key[..], &key[..20]] {
        private(&home.path("1.key1.tmp"), text);
        let begun = home.files();
        made.restore(&second);
        assert_eq!(home.names(), files_of(&second));
        home.put(&begun);
    }
}

/// Whoever waits for the account of the backup must not get an empty one, which would then stand in the way of the next try.
#[test]
fn nothing_is_opened_where_a_restore_was_cut_off() {
    let made = Made::new();
    let home = &made.home;
    for key in [raw(2), DatabaseKey::File(home.path("1.key1")), passphrase("x")] {
        made.killed(&key);
        let begun = home.files();
        for other in [&key, &raw(3)] {
            assert_eq!(home.refused(other), OpenError::RestoreInterrupted);
        }
        let said = findings(&home.db());
        let said = |text: &str| said.iter().any(|finding| finding.text.contains(text));
        assert!(said("was interrupted") && !said("a first opening"));
        // Killed before there was a file.
        fs::remove_file(home.path("alice.db.tmp")).unwrap();
        assert_eq!(home.refused(&key), OpenError::RestoreInterrupted);
        home.put(&begun);
        made.restore(&key);
        home.opens(&key);
        assert_eq!(home.names(), files_of(&key));
        assert_eq!(home.record()["stage"], "ready");
        // Killed between the name and the record: it is all there.
        fs::write(home.path(RECORD), &begun[RECORD]).unwrap();
        home.opens(&key);
        assert_eq!(home.record()["stage"], "ready");
    }
}

#[test]
fn an_encryption_that_is_continued_with_another_key_leaves_none_of_the_first() {
    let made = vault::Home::new();
    let bytes = fs::read(vault::plain(&made)).unwrap();
    let home = Home::new();
    let [first, second] = two_files(&home);
    for (from, to) in [(&first, &second), (&passphrase("x"), &passphrase("y"))] {
        home.put(&[(DB.to_owned(), bytes.clone())].into());
        let mut during = Files::new();
        let mut see = once_at(Stage::Comparing, || during = home.files());
        encrypt_existing(&home.db(), None, None, from, &mut Progress::new(&mut see)).unwrap();
        drop(see);
        during.retain(|name, _| !name.ends_with("-shm"));
        assert!(during.contains_key("alice.db.encrypt"));
        home.put(&during);
        encrypt_existing(&home.db(), None, None, to, &mut none()).unwrap();
        assert_eq!(home.names(), files_of(to));
        home.open(to).unwrap().close().unwrap();
        assert!(!home.says_left());
    }
}
