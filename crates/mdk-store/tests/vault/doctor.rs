//! The doctor sees what is wrong, says what to do, and touches nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mdk_store::{DatabaseKey, DoctorReport, Finding, KeyringKey, KeyringStore, Level, doctor};
use tempfile::TempDir;

use crate::kit::{none, open, private, raw, set_mode};

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bob-at-home")).unwrap();
        let home = Self(dir);
        set_mode(&home.dir(), 0o700);
        home
    }
    fn with_database() -> Self {
        let home = Self::new();
        open(&home.db(), &raw(1)).write(|tx| tx.set_meta("who", b"bob")).unwrap();
        home
    }
    fn dir(&self) -> PathBuf {
        self.0.path().join("bob-at-home")
    }
    fn db(&self) -> PathBuf {
        self.dir().join("bobs-secret.db")
    }
    fn beside(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.db().display()))
    }
    /// Everything about every file: bytes, mode, inode, times of change.
    fn state(&self) -> BTreeMap<PathBuf, (u32, u64, i64, i64, Vec<u8>)> {
        let mut all = vec![self.0.path().to_owned(), self.dir()];
        for dir in all.clone() {
            all.extend(fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()));
        }
        let state = |path: PathBuf| {
            let meta = fs::symlink_metadata(&path).unwrap();
            let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            (path, (meta.mode(), meta.ino(), meta.ctime(), meta.ctime_nsec(), bytes))
        };
        all.into_iter().map(state).collect()
    }
    /// Asks the doctor; expects an answer in time that names no path, and that nothing has changed. A busy machine may
    /// hold up one of three answers; what waits for somebody holds up each.
    fn ask(&self, key: Option<&DatabaseKey>) -> DoctorReport {
        let before = self.state();
        let timed = || {
            let start = Instant::now();
            (doctor(&self.db(), key, &mut none()).unwrap(), start.elapsed())
        };
        let mut answers = (0..3).map(|_| timed());
        let late = |report: &DoctorReport| {
            report.findings.iter().any(|finding| finding.text.contains("not given in time"))
        };
        let mut report: Option<DoctorReport> = None;
        while report.as_ref().is_none_or(late)
            && let Some((given, took)) = answers.next()
        {
            if took < Duration::from_secs(2) {
                report = Some(given);
            }
        }
        let report = report.expect("one of three answers in time");
        assert_eq!(self.state(), before);
        let text = format!("{report:?}");
        for part in ["bob-at-home", "bobs-secret", self.0.path().to_str().unwrap(), "0101010101"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
        report
    }
}

/// The one finding of a topic that says `part`.
#[track_caller]
fn finding<'a>(report: &'a DoctorReport, topic: &str, part: &str) -> &'a Finding {
    let found = report.findings.iter().find(|f| f.topic == topic && f.text.contains(part));
    found.unwrap_or_else(|| panic!("{topic}: {part} is not in {report:#?}"))
}

#[track_caller]
fn expect(report: &DoctorReport, level: Level, topic: &str, part: &str) {
    let found = finding(report, topic, part);
    assert_eq!(found.level, level, "{found:?}");
    if level >= Level::Warning && topic != "filesystem" {
        assert!(found.hint.is_some(), "what to do? {found:?}");
    }
}

/// Topics that depend on the machine that runs the tests.
const OF_THE_MACHINE: [&str; 4] = ["filesystem", "space", "memory", "core"];

#[track_caller]
fn worst(report: &DoctorReport) -> Level {
    let ours = report.findings.iter().filter(|f| !OF_THE_MACHINE.contains(&f.topic));
    ours.map(|f| f.level).max().unwrap()
}

#[test]
fn a_healthy_database_with_its_key_is_all_well() {
    let home = Home::with_database();
    let report = home.ask(Some(&raw(1)));
    assert!(worst(&report) <= Level::Note, "{report:#?}");
    expect(&report, Level::Ok, "key", "opens the database");
    expect(&report, Level::Ok, "versions", "schema 1 of 1, application id 0x4d444b73");
    expect(&report, Level::Ok, "build", "SQLCipher 4.");
    expect(&report, Level::Ok, "build", "TEMP_STORE=3");
    expect(&report, Level::Ok, "directory", "0700");
    expect(&report, Level::Ok, "lock", "free");
    expect(&report, Level::Ok, "leftovers", "none");
    expect(&report, Level::Ok, "clock", "plausible");
    let mut topics: Vec<_> = report.findings.iter().map(|f| f.topic).collect();
    topics.dedup();
    let all = "directory filesystem space files leftovers lock database key versions build clock memory core";
    assert_eq!(topics.join(" "), all);
}

#[test]
fn without_a_key_and_without_a_database_it_works_too() {
    let home = Home::with_database();
    let report = home.ask(None);
    assert!(worst(&report) <= Level::Note, "{report:#?}");
    let home = Home::new();
    expect(&home.ask(None), Level::Note, "database", "no database yet");
    expect(&home.ask(Some(&raw(1))), Level::Note, "database", "no database yet");
    fs::remove_dir(home.dir()).unwrap();
    let report = doctor(&home.db(), None, &mut none()).unwrap();
    expect(&report, Level::Note, "directory", "does not exist");
    assert!(!home.dir().exists());
    for odd in ["/", "..", "", "/dev/null/x"] {
        let _ = doctor(Path::new(odd), Some(&raw(1)), &mut none()).unwrap();
    }
}

#[test]
fn an_open_database_is_looked_at_and_not_into() {
    let home = Home::with_database();
    let store = open(&home.db(), &raw(1));
    let report = home.ask(Some(&raw(1)));
    expect(&report, Level::Note, "lock", "open in this process");
    expect(&report, Level::Ok, "database", "in use");
    expect(&report, Level::Note, "key", "was not tried");
    drop(store);
    expect(&home.ask(Some(&raw(1))), Level::Ok, "lock", "free");
}

#[test]
fn the_holder_in_another_process_is_named() {
    let home = Home::with_database();
    fs::write(home.beside(".lock"), "").unwrap();
    let mut holder = Command::new("flock")
        .arg(home.beside(".lock"))
        .args(["sh", "-c", "echo $$ > \"$0\"; echo ready; cat"])
        .arg(home.beside(".lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let pid = fs::read_to_string(home.beside(".lock")).unwrap();
    expect(&home.ask(None), Level::Note, "lock", &format!("in process {}", pid.trim()));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    expect(&home.ask(None), Level::Ok, "lock", "ended without closing");
}

/// What is wrong inside of the file is in `bad_files`.
#[test]
fn each_odd_file_is_its_own_finding() {
    let home = Home::with_database();
    let other = home.dir().join("other");
    fs::hard_link(home.db(), &other).unwrap();
    expect(&home.ask(None), Level::Error, "files", "hard link");
    fs::remove_file(home.db()).unwrap();
    symlink("other", home.db()).unwrap();
    expect(&home.ask(Some(&raw(1))), Level::Error, "files", "symbolic link");
    fs::remove_file(home.db()).unwrap();
    assert!(Command::new("mkfifo").arg(home.db()).status().unwrap().success());
    expect(&home.ask(Some(&raw(1))), Level::Error, "files", "not a regular file");
    fs::remove_file(home.db()).unwrap();
    fs::write(home.beside("-wal"), b"x").unwrap();
    expect(&home.ask(None), Level::Error, "database", "log exists");
}

#[test]
fn modes_are_seen_and_left_alone() {
    let home = Home::with_database();
    for suffix in ["", ".keyinfo"] {
        set_mode(&home.beside(suffix), 0o644);
    }
    let report = home.ask(Some(&raw(1)));
    expect(&report, Level::Warning, "files", "database file has mode 0644");
    set_mode(&home.beside(""), 0o400);
    expect(&home.ask(None), Level::Error, "files", "mode 0400");
    set_mode(&home.beside(""), 0o600);
    set_mode(&home.dir(), 0o755);
    expect(&home.ask(None), Level::Warning, "directory", "mode 0755");
    fs::write(home.dir().join("holiday.jpg"), b"").unwrap();
    expect(&home.ask(None), Level::Error, "directory", "mode 0755");
    set_mode(&home.dir(), 0o700);
}

#[test]
fn leftovers_are_named() {
    let home = Home::with_database();
    for suffix in [".tmp", ".rekey", ".encrypt"] {
        private(&home.beside(suffix), b"");
    }
    let report = home.ask(None);
    expect(&report, Level::Note, "leftovers", "being created or restored");
    expect(&report, Level::Warning, "leftovers", "interrupted re-key");
    expect(&report, Level::Warning, "leftovers", "interrupted encryption");
}

#[test]
fn files_from_the_future_are_seen() {
    let home = Home::with_database();
    let file = fs::File::options().write(true).open(home.db()).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    expect(&home.ask(None), Level::Warning, "clock", "in the future");
}

#[test]
fn a_key_file_is_found_missed_and_judged() {
    let home = Home::new();
    let key_file = home.dir().join("my.key");
    let key = DatabaseKey::File(key_file.clone());
    drop(open(&home.db(), &key));
    expect(&home.ask(None), Level::Ok, "key", "the key from file is there");
    expect(&home.ask(Some(&key)), Level::Ok, "key", "opens the database");
    set_mode(&key_file, 0o644);
    expect(&home.ask(None), Level::Error, "key", "mode 644");
    set_mode(&key_file, 0o600);
    fs::rename(&key_file, home.0.path().join("away")).unwrap();
    expect(&home.ask(None), Level::Error, "key", "missing");
    expect(&home.ask(Some(&key)), Level::Error, "key", "missing");
    fs::rename(home.0.path().join("away"), &key_file).unwrap();
    fs::remove_file(home.db()).unwrap();
    expect(&home.ask(None), Level::Error, "key", "the database is not");
}

#[test]
fn a_source_that_does_not_answer_does_not_hold_it_up() {
    let home = Home::with_database();
    let slow = DatabaseKey::Callback(Arc::new(|| {
        std::thread::park_timeout(Duration::from_secs(60));
        Err("planted-secret".into())
    }));
    assert!(finding(&home.ask(Some(&slow)), "key", "not given in time").level >= Level::Warning);
    let bad = DatabaseKey::Callback(Arc::new(|| Err("planted-secret".into())));
    let report = home.ask(Some(&bad));
    expect(&report, Level::Error, "key", "callback");
    assert!(!format!("{report:?}").contains("planted"));
    // A descriptor can be read once, and not by the doctor.
    let (pipe, _) = std::io::pipe().unwrap();
    let report = home.ask(Some(&DatabaseKey::fd(pipe.as_raw_fd())));
    expect(&report, Level::Note, "key", "was not read");
}

#[test]
fn a_keyring_is_asked_in_time_whatever_it_says() {
    let home = Home::new();
    let mut ring = KeyringKey::default();
    ring.key_id = Some("doctor-test-without-a-key".into());
    let report = home.ask(Some(&DatabaseKey::Keyring(ring.clone())));
    assert!(report.findings.iter().any(|f| f.topic == "key"), "{report:#?}");
    // A record of a key in the kernel's keyring: the id appears, and that it is volatile.
    if cfg!(target_os = "linux") {
        private(&home.db(), &[7; 4096]);
        let record = r#"{"format":1,"stage":"ready","key":{"source":"keyring","store":"keyutils","service":"mdk",
            "key_id":"no-such-key-4711","check":"0000000000000000"}}"#;
        private(&home.beside(".keyinfo"), record.as_bytes());
        ring.store = KeyringStore::Keyutils;
        let report = home.ask(None);
        assert!(finding(&report, "key", "no-such-key-4711").level >= Level::Warning);
        expect(&report, Level::Warning, "key", "volatile");
    }
}
