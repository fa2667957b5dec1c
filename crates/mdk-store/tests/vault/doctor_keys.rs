//! The doctor tells a key from what has taken its place, without being given it.

use std::fs;

use mdk_store::{Finding, Level};

use crate::kit::{
    findings,
    keys::{Home, passphrase},
};

fn told(home: &Home) -> Vec<Finding> {
    findings(&home.db()).into_iter().filter(|finding| finding.topic == "key").collect()
}

#[track_caller]
fn is_good(home: &Home) {
    let told = told(home);
    assert!(told.iter().any(|finding| finding.text.ends_with("is there")), "{told:?}");
    assert!(told.iter().all(|finding| finding.level == Level::Ok), "{told:?}");
}

#[track_caller]
fn is_bad(home: &Home) {
    let told = told(home);
    let errors: Vec<_> = told.iter().filter(|finding| finding.level == Level::Error).collect();
    assert!(!errors.is_empty() && errors.iter().all(|error| error.hint.is_some()), "{told:?}");
    assert!(!told.iter().any(|finding| finding.text.ends_with("is there")), "{told:?}");
}

#[test]
fn a_key_file_that_was_emptied_cut_changed_or_replaced_is_an_error() {
    for name in ["alice.secret", "alice.db.key"] {
        let source = |home: &Home| match name {
            "alice.secret" => home.in_file(),
            _ => passphrase("words"),
        };
        let (home, other) = (Home::new(), Home::new());
        home.create(&source(&home));
        other.create(&source(&other));
        is_good(&home);
        let good = fs::read(home.path(name)).unwrap();
        let mut changed = good.clone();
        changed[40] = if good[40] == b'A' { b'B' } else { b'A' };
        let another = fs::read(other.path(name)).unwrap();
        for bad in [&b""[..], b"junk", &good[..40], &changed, &another] {
            fs::write(home.path(name), bad).unwrap();
            is_bad(&home);
            let store = home.open(&source(&home)).map(drop);
            assert!(store.is_err(), "{bad:?}");
        }
        fs::write(home.path(name), &good).unwrap();
        is_good(&home);
        // While the database is open, too.
        let store = home.open(&source(&home)).unwrap();
        is_good(&home);
        fs::write(home.path(name), &another).unwrap();
        is_bad(&home);
        drop(store);
    }
}

/// The record is not what counts.
#[test]
fn a_key_that_opens_the_database_is_good_whatever_the_record_says() {
    let home = Home::new();
    let key = home.in_file();
    home.create(&key);
    let before = home.files();
    home.rekey(&key, None).unwrap();
    for name in ["alice.db", "alice.secret"] {
        fs::write(home.path(name), &before[name]).unwrap();
    }
    let found = told(&home);
    assert!(found.iter().all(|finding| finding.level <= Level::Note), "{found:?}");
    assert!(found.iter().any(|finding| finding.text.contains("opens the database")), "{found:?}");
    home.opens(&key);
    is_good(&home);
}
