//! A database whose making was killed, and is continued with another key: the first one is not left behind.

use std::fs;

use mdk_store::{
    DatabaseKey, Level, OpenError, Progress, Stage, Step, doctor, encrypt_existing, restore,
};
use mdk_wire::SecretVec;
use serde_json::{Value, json};

use crate::kit::keys::{Files, Home, fill, passphrase, raw, set_mode};

const RECORD: &str = "alice.db.keyinfo";

/// A backup, and an empty directory to restore it to.
struct Made {
    home: Home,
    backup: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let (home, backup) = (Home::new(), tempfile::tempdir().unwrap());
        fill(&home, &raw(1));
        let mut store = home.open(&raw(1)).unwrap();
        store.backup(&backup.path().join("b"), &words("p"), &mut Progress::none()).unwrap();
        store.close().unwrap();
        home.put(&Files::new());
        Self { home, backup }
    }
    fn restore(&self, key: &DatabaseKey) {
        let mut none = Progress::none();
        let from = self.backup.path().join("b");
        restore(&from, &self.home.db(), &words("p"), key, &mut none).unwrap();
    }
    /// What is there when a restore is killed while it writes.
    fn killed(&self, key: &DatabaseKey) {
        self.home.put(&Files::new());
        let mut during = Files::new();
        let mut see = |step: Step| {
            if step.stage == Stage::Writing {
                during = self.home.files();
            }
            std::ops::ControlFlow::Continue(())
        };
        let from = self.backup.path().join("b");
        restore(&from, &self.home.db(), &words("p"), key, &mut Progress::new(&mut see)).unwrap();
        during.retain(|name, _| !name.ends_with("-shm"));
        assert!(during.contains_key("alice.db.tmp") && !during.contains_key("alice.db"));
        self.home.put(&during);
        assert_eq!(self.home.record()["stage"], "filling");
    }
    /// As if it were a first opening that was killed.
    fn forget_filling(&self) {
        let mut record = self.home.record();
        record["stage"] = json!("creating");
        self.home.write_record(&record);
    }
}

fn words(text: &str) -> SecretVec {
    SecretVec::new(text.as_bytes().to_vec())
}

fn says_left(home: &Home) -> bool {
    let told = doctor(&home.db(), None, &mut Progress::none()).unwrap().findings;
    told.iter().any(|finding| {
        finding.level == Level::Warning && finding.text.contains("was left where it is")
    })
}

fn files_of(key: &DatabaseKey) -> Vec<String> {
    let mut names = vec!["alice.db".to_owned(), RECORD.to_owned()];
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
    let (first, second) =
        (DatabaseKey::File(home.path("1.key1")), DatabaseKey::File(home.path("2.key1")));
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
        assert!(!says_left(home));
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
        fs::write(home.path("1.key1.tmp"), text).unwrap();
        set_mode(&home.path("1.key1.tmp"), 0o600);
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
        let said = doctor(&home.db(), None, &mut Progress::none()).unwrap().findings;
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
        let mut whole = home.files();
        whole.insert(RECORD.to_owned(), begun[RECORD].clone());
        home.put(&whole);
        home.opens(&key);
        assert_eq!(home.record()["stage"], "ready");
    }
}

#[test]
fn an_encryption_that_is_continued_with_another_key_leaves_none_of_the_first() {
    let made = crate::kit::vault::Home::new();
    let plain = crate::kit::vault::plain(&made);
    let home = Home::new();
    let (first, second) =
        (DatabaseKey::File(home.path("1.key1")), DatabaseKey::File(home.path("2.key1")));
    for (from, to) in [(&first, &second), (&passphrase("x"), &passphrase("y"))] {
        let bytes = fs::read(&plain).unwrap();
        home.put(&[("alice.db".to_owned(), bytes)].into());
        let mut during = Files::new();
        let mut see = |step: Step| {
            if step.stage == Stage::Comparing {
                during = home.files();
            }
            std::ops::ControlFlow::Continue(())
        };
        encrypt_existing(&home.db(), None, None, from, &mut Progress::new(&mut see)).unwrap();
        during.retain(|name, _| !name.ends_with("-shm"));
        assert!(during.contains_key("alice.db.encrypt"));
        home.put(&during);
        encrypt_existing(&home.db(), None, None, to, &mut Progress::none()).unwrap();
        assert_eq!(home.names(), files_of(to));
        home.open(to).unwrap().close().unwrap();
        assert!(!says_left(&home));
    }
}

/// What the record calls the key of a beginning is removed only if that key itself shows that it is so.
#[test]
fn no_other_key_is_taken_for_that_of_a_beginning() {
    let made = Made::new();
    let home = &made.home;
    let (first, second) =
        (DatabaseKey::File(home.path("1.key1")), DatabaseKey::File(home.path("2.key1")));
    // The key of a database that is there, with a record that says something else.
    home.create(&first);
    let key = fs::read(home.path("1.key1")).unwrap();
    let theirs = home.record();
    for change in
        [json!({}), json!({ "bound": "00".repeat(16) }), json!({ "file": theirs["key"]["check"] })]
    {
        let mut record = theirs.clone();
        record["stage"] = json!("creating");
        for (name, value) in change.as_object().unwrap() {
            record["key"][name] = value.clone();
        }
        home.put(&[("1.key1".to_owned(), key.clone())].into());
        home.write_record(&record);
        home.create(&second);
        assert_eq!(fs::read(home.path("1.key1")).unwrap(), key, "{change}");
        assert!(says_left(home), "{change}");
        home.opens(&second);
        assert!(says_left(home), "{change}");
        // Named, it may be used, as before, but it is not this database's alone.
        home.put(&[("1.key1".to_owned(), key.clone())].into());
        home.write_record(&record);
        home.create(&first);
        assert_eq!(home.record()["key"]["shared"], true);
    }
    // The record of a beginning under another name.
    made.killed(&first);
    made.forget_filling();
    let (record, key) = (home.record(), fs::read(home.path("1.key1")).unwrap());
    home.put(
        &[
            ("1.key1".to_owned(), key.clone()),
            ("bob.db.keyinfo".to_owned(), crate::kit::keys::json(&record)),
        ]
        .into(),
    );
    let bob = home.path("bob.db");
    let options = mdk_store::OpenOptions::default();
    mdk_store::Store::open(&bob, &second, &options).unwrap().close().unwrap();
    assert_eq!(fs::read(home.path("1.key1")).unwrap(), key);
    // A file that was put there instead.
    made.killed(&first);
    fs::write(home.path("1.key1"), b"a note\n").unwrap();
    made.restore(&second);
    assert_eq!(fs::read(home.path("1.key1")).unwrap(), b"a note\n");
    made.killed(&passphrase("x"));
    made.forget_filling();
    let begun = home.files();
    let other = Home::created(&passphrase("z"));
    fs::copy(other.path("alice.db.key"), home.path("alice.db.key")).unwrap();
    assert_eq!(home.open(&passphrase("y")).map(drop), Err(OpenError::WrongPassphrase));
    home.put(&begun);
    let mut record: Value = home.record();
    record["key"].as_object_mut().unwrap().remove("file");
    home.write_record(&record);
    assert_eq!(home.open(&passphrase("y")).map(drop), Err(OpenError::WrongPassphrase));
}
