//! First open: nothing or a good database, at whatever point it was stopped, and whoever else opens at the same time.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use mdk_store::{DatabaseKey, OpenError, OpenOptions, Store};

use crate::kit::{
    keys::{Files, Home, json, passphrase, raw},
    rerun,
};

const ROLE: &str = "MDK_STORE_FIRST_OPEN";

/// The files of a finished first open, and its record as it was before the end.
fn finished(home: &Home, key: &DatabaseKey) -> (Files, Vec<u8>) {
    home.create(key);
    let mut record = home.record();
    assert_eq!(record["stage"], "ready");
    record["stage"] = "creating".into();
    (home.files(), json(&record))
}

fn only(files: &Files, names: &[&str]) -> Files {
    names.iter().map(|name| ((*name).to_owned(), files[*name].clone())).collect()
}

#[test]
fn after_a_crash_at_any_step_the_key_is_used_and_never_replaced() {
    let home = Home::new();
    for (key, key_file) in [
        (DatabaseKey::File(home.key_file()), "alice.secret"),
        (passphrase("correct horse"), "alice.db.key"),
    ] {
        home.put(&Files::new());
        let (whole, creating) = finished(&home, &key);
        let key_text = whole[key_file].clone();
        let with = |mut files: Files, more: &[(&str, &[u8])]| {
            let more = more.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
            files.extend(more);
            files
        };
        let record = ("alice.db.keyinfo", creating.as_slice());
        let half = &whole["alice.db"][..5000];
        let steps: [(&str, Files, bool); 7] = [
            (
                "record being written",
                with(Files::new(), &[("alice.db.keyinfo.tmp", b"{\"for")]),
                false,
            ),
            ("recorded", with(Files::new(), &[record]), false),
            (
                "key being written",
                with(Files::new(), &[record, (&format!("{key_file}.tmp"), b"mdk-")]),
                false,
            ),
            ("key stored", with(only(&whole, &[key_file]), &[record]), true),
            (
                "database begun",
                with(
                    only(&whole, &[key_file]),
                    &[record, ("alice.db.tmp", b""), ("alice.db.tmp-wal", b"half")],
                ),
                true,
            ),
            (
                "database half",
                with(only(&whole, &[key_file]), &[record, ("alice.db.tmp", half)]),
                true,
            ),
            ("renamed", with(only(&whole, &[key_file, "alice.db"]), &[record]), true),
        ];
        for (step, files, stored) in steps {
            home.put(&files);
            drop(home.open(&key).unwrap_or_else(|e| panic!("{step}: {e}")));
            let after = home.files();
            let mut names = vec!["alice.db", "alice.db.keyinfo", key_file];
            names.sort_unstable();
            assert_eq!(after.keys().collect::<Vec<_>>(), names, "{step}");
            assert_eq!(after[key_file] == key_text, stored, "{step}");
            assert_eq!(home.record()["stage"], "ready", "{step}");
            if step == "renamed" {
                home.opens(&key);
            }
        }
    }
}

#[test]
fn a_key_that_is_not_ours_is_not_adopted() {
    let home = Home::new();
    let key = DatabaseKey::File(home.key_file());
    let (whole, creating) = finished(&home, &key);
    // The record of another first open, and a key that is not the one it made.
    let other = Home::created(&DatabaseKey::File(home.key_file().with_extension("2")));
    drop(other);
    let foreign = fs::read(home.key_file().with_extension("2")).unwrap();
    let mut files = Files::new();
    files.insert("alice.db.keyinfo".into(), creating);
    files.insert("alice.secret".into(), foreign);
    home.put(&files);
    assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    // A key without a record is somebody's.
    home.put(&only(&whole, &["alice.secret"]));
    assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    // A record that says that there was a database.
    home.put(&only(&whole, &["alice.db.keyinfo"]));
    assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    home.put(&only(&whole, &["alice.db.keyinfo", "alice.secret"]));
    assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    // The same with a key that is given.
    home.put(&Files::new());
    home.create(&raw(1));
    fs::remove_file(home.db()).unwrap();
    assert_eq!(home.refused(&raw(1)), OpenError::DatabaseMissingButKeyPresent);
}

#[test]
fn another_source_after_a_crash_starts_anew() {
    let home = Home::new();
    let (_, creating) = finished(&home, &raw(1));
    home.put(&[("alice.db.keyinfo".to_owned(), creating)].into());
    let key = DatabaseKey::File(home.key_file());
    home.create(&key);
    home.opens(&key);
    assert_eq!(home.record()["key"]["source"], "file");
}

#[test]
fn a_failure_leaves_no_file() {
    // The temporary name is taken by a directory.
    let home = Home::new();
    fs::create_dir(home.path("alice.db.tmp")).unwrap();
    for key in [raw(1), DatabaseKey::File(home.key_file()), passphrase("x")] {
        home.refused(&key);
        assert_eq!(home.names(), ["alice.db.tmp"]);
        assert!(!home.path("alice.db.lock").exists());
    }
    // The record cannot be written.
    let home = Home::new();
    fs::create_dir(home.path("alice.db.keyinfo.tmp")).unwrap();
    home.refused(&DatabaseKey::File(home.key_file()));
    // The key cannot be stored.
    let home = Home::new();
    fs::write(home.path("file"), b"").unwrap();
    home.refused(&DatabaseKey::File(home.path("file/key")));
    assert_eq!(home.names(), ["file"]);
    // Made directories go again.
    let home = Home::new();
    let deep = home.path("a/b/alice.db");
    let key = DatabaseKey::File("/proc/no/such/key".into());
    Store::open(&deep, &key, &OpenOptions::default()).map(drop).unwrap_err();
    assert!(home.names().is_empty());
}

/// Not a test of its own: opens each path that it is told, says how that went, and closes when told to.
#[test]
fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    println!("ready");
    let mut lines = std::io::stdin().lines().map(Result::unwrap);
    while let Some(path) = lines.next() {
        let opened = open(Path::new(&path));
        match &opened {
            Ok(_) => println!("owner"),
            Err(OpenError::Busy { pid: Some(_) }) => println!("busy"),
            Err(OpenError::Busy { pid: None }) => println!("by whom?"),
            Err(error) => println!("failed: {error}"),
        }
        lines.next();
        drop(opened);
        println!("closed");
    }
}

fn open(path: &Path) -> Result<Store, OpenError> {
    let key = DatabaseKey::File(path.with_extension("secret"));
    Store::open(path, &key, &OpenOptions::default())
}

struct Opener(Child, ChildStdin, BufReader<ChildStdout>);

impl Opener {
    fn start() -> Self {
        let mut child = rerun(module_path!(), "child")
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut opener = Self(child, input, BufReader::new(output));
        while !opener.hear().contains("ready") {}
        opener
    }
    fn say(&mut self, text: &str) {
        writeln!(self.1, "{text}").unwrap();
    }
    fn hear(&mut self) -> String {
        let mut line = String::new();
        assert!(self.2.read_line(&mut line).unwrap() > 0, "the child ended");
        line.trim_end().to_owned()
    }
}

/// K6: two processes open 200 databases for the first time at once.
#[test]
fn two_processes_at_once_end_with_one_owner_and_one_busy() {
    let dir = tempfile::tempdir().unwrap();
    let mut openers = [Opener::start(), Opener::start()];
    let (mut owners, mut unnamed) = ([0, 0], 0);
    for round in 0..200 {
        let path: PathBuf = dir.path().join(format!("{round}/alice.db"));
        openers.iter_mut().for_each(|o| o.say(path.to_str().unwrap()));
        let mut heard = [openers[0].hear(), openers[1].hear()];
        owners[usize::from(heard[0] != "owner")] += 1;
        // An owner that is held up when it has just taken the lock has not written its pid yet.
        for line in heard.iter_mut().filter(|line| *line == "by whom?") {
            unnamed += 1;
            *line = "busy".into();
        }
        heard.sort_unstable();
        assert_eq!(heard, ["busy", "owner"], "round {round}");
        openers.iter_mut().for_each(|o| o.say("close"));
        openers.iter_mut().for_each(|o| assert_eq!(o.hear(), "closed"));
        let mut store = open(&path).unwrap_or_else(|e| panic!("round {round}: {e}"));
        store.write(|tx| tx.set_meta("round", b"1")).unwrap();
    }
    println!("owners: {owners:?}");
    assert!(unnamed <= 20, "{unnamed} of 200 not by name");
    for mut opener in openers {
        drop(opener.1);
        assert!(opener.0.wait().unwrap().success());
    }
}

#[test]
fn a_database_that_was_made_for_nothing_is_taken_back_with_its_key() {
    let home = Home::new();
    for key in [DatabaseKey::File(home.key_file()), passphrase("correct horse")] {
        home.open(&key).unwrap().take_back();
        assert_eq!(fs::read_dir(home.dir.path()).unwrap().count(), 0);

        let mut store = home.open(&key).unwrap();
        store.write(|tx| tx.set_meta("who", b"alice")).unwrap();
        store.take_back();
        home.opens(&key);

        // One that was there before is not this call's to remove, even if it holds nothing.
        home.put(&Files::new());
        home.open(&key).unwrap().close().unwrap();
        let before = home.names();
        home.open(&key).unwrap().take_back();
        assert_eq!(home.names(), before);
        home.open(&key).unwrap().close().unwrap();
        home.put(&Files::new());
    }
}
