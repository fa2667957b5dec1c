//! First open: nothing or a good database, at whatever point it was stopped, and whoever else opens at the same time.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use mdk_store::{DatabaseKey, OpenError, OpenOptions, Store};

use crate::kit::{
    keys::{DB, Files, Home, RECORD, json, passphrase, raw},
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

/// Names and contents of files.
type There<'a> = &'a [(&'a str, &'a [u8])];

#[test]
fn after_a_crash_at_any_step_the_key_is_used_and_never_replaced() {
    let home = Home::new();
    for (key, key_file) in
        [(home.in_file(), "alice.secret"), (passphrase("correct horse"), "alice.db.key")]
    {
        home.put(&Files::new());
        let (whole, creating) = finished(&home, &key);
        let half_key = format!("{key_file}.tmp");
        let half = &whole[DB][..5000];
        let record = (RECORD, creating.as_slice());
        let stored = (key_file, whole[key_file].as_slice());
        let database = (DB, whole[DB].as_slice());
        // What is there after each step, and whether the key is.
        let steps: [(There<'_>, bool); 7] = [
            (&[("alice.db.keyinfo.tmp", b"{\"for")], false),
            (&[record], false),
            (&[record, (&half_key, b"mdk-")], false),
            (&[record, stored], true),
            (&[record, stored, ("alice.db.tmp", b""), ("alice.db.tmp-wal", b"half")], true),
            (&[record, stored, ("alice.db.tmp", half)], true),
            (&[record, stored, database], true),
        ];
        for (number, (files, is_stored)) in steps.into_iter().enumerate() {
            home.put(&files.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec())).collect());
            drop(home.open(&key).unwrap_or_else(|e| panic!("step {number}: {e}")));
            let after = home.files();
            let mut names = vec![DB, RECORD, key_file];
            names.sort_unstable();
            assert_eq!(after.keys().collect::<Vec<_>>(), names, "step {number}");
            assert_eq!(after[key_file] == whole[key_file], is_stored, "step {number}");
            assert_eq!(home.record()["stage"], "ready", "step {number}");
        }
        home.opens(&key);
    }
}

/// Neither that of another first open, nor one without a record, nor with one that says that there was a database.
#[test]
fn a_key_that_is_not_ours_is_not_adopted() {
    let home = Home::new();
    let key = home.in_file();
    let (whole, creating) = finished(&home, &key);
    let foreign = format!("mdk-key-1:{}=\n", "Q".repeat(43)).into_bytes();
    let (record, own) = (whole[RECORD].clone(), whole["alice.secret"].clone());
    for (record, key_text) in [
        (Some(creating), Some(foreign)),
        (None, Some(own.clone())),
        (Some(record.clone()), None),
        (Some(record), Some(own)),
    ] {
        let key_text = key_text.map(|text| ("alice.secret".to_owned(), text));
        let record = record.map(|record| (RECORD.to_owned(), record));
        home.put(&record.into_iter().chain(key_text).collect());
        assert_eq!(home.refused(&key), OpenError::DatabaseMissingButKeyPresent);
    }
}

#[test]
fn another_source_after_a_crash_starts_anew() {
    let home = Home::new();
    let (_, creating) = finished(&home, &raw(1));
    home.put(&[(RECORD.to_owned(), creating)].into());
    let key = home.in_file();
    home.create(&key);
    home.opens(&key);
    assert_eq!(home.record()["key"]["source"], "file");
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
    for key in [home.in_file(), passphrase("correct horse")] {
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
