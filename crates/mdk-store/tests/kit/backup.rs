//! A directory with a database in it, and a child process that dies when it is told to.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};

use mdk_store::{CommitStatus, Step, Store};
use mdk_wire::SecretVec;
use tempfile::TempDir;

pub use super::raw;
use super::{open, rerun, rows::*};

/// Content of every message of `fill`.
pub const MARKER: &[u8] = b"planted-marker";

pub fn secret(bytes: &[u8]) -> SecretVec {
    SecretVec::new(bytes.to_vec())
}

pub fn passphrase() -> SecretVec {
    secret("correct horse bättery".as_bytes())
}

pub struct Home {
    path: PathBuf,
    _temp: Option<TempDir>,
}

impl Home {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { path: temp.path().to_owned(), _temp: Some(temp) }
    }
    pub fn dir(&self) -> &Path {
        &self.path
    }
    pub fn db(&self) -> PathBuf {
        self.path.join("alice.db")
    }
    pub fn archive(&self) -> PathBuf {
        self.path.join("alice.backup")
    }
    /// A file as a backup that was killed leaves it.
    pub fn temp(&self) -> PathBuf {
        self.path.join("alice.backup.0123456789abcdef.tmp")
    }
    /// Where the tests restore to.
    pub fn restored(&self) -> PathBuf {
        self.path.join("restored/alice.db")
    }
    pub fn open(&self) -> Store {
        open(&self.db(), &raw(1))
    }
    /// A database with rows in every table, some of them larger than a chunk, 1.5 MiB in all.
    pub fn filled(&self) -> Store {
        let mut store = self.open();
        fill(&mut store);
        store
    }
    /// Files whose name says that something was not finished.
    pub fn leftovers(&self) -> Vec<OsString> {
        let names = fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".tmp")).collect()
    }
}

/// Puts rows into every table.
pub fn fill(store: &mut Store) {
    write(store, |tx| {
        tx.set_meta("who", b"alice")?;
        tx.set_meta("empty", b"")?;
        for n in 1..=3 {
            tx.insert_group(&group(n))?;
            tx.put_route(&routing(n), &group_id(n), u64::MAX)?;
            tx.put_node(&node(n, n, 5))?;
            for id in 0..20 {
                let mut message = message(n, id, 9);
                message.content = "planted-marker ".repeat(1 + usize::from(id) * 10);
                tx.insert_message(&message)?;
            }
            tx.hold(&held(n, n), 10)?;
            tx.put_input(&input(n, n), 10)?;
        }
        for n in 0..5 {
            let mut node = node(1, 100 + n, 6);
            node.state = secret(&vec![n; 256 << 10]);
            tx.put_node(&node)?;
        }
        let pending = tx.insert_pending(&pending(1, 9, CommitStatus::Exposed))?;
        tx.insert_welcome(&welcome(pending, 3))?;
        tx.put_key_package(&key_package(4))?;
        Ok(())
    });
}

const STEP: &str = "MDK_TEST_DIE_AT";
const HOME: &str = "MDK_TEST_HOME";

/// Runs a child in a process that dies at the given step of progress. Says whether it died.
pub fn die_at(step: usize, module: &str, test: &str, home: &Home) -> bool {
    let status = rerun(module, test)
        .env(STEP, step.to_string())
        .env(HOME, home.dir())
        .output()
        .unwrap()
        .status;
    assert!(status.success() || status.code().is_none(), "{status}");
    !status.success()
}

/// In a process that `die_at` started: its directory, and the progress that kills it.
pub fn as_child() -> Option<(Home, impl FnMut(Step) -> ControlFlow<()>)> {
    let step: usize = std::env::var(STEP).ok()?.parse().unwrap();
    let home = Home { path: std::env::var_os(HOME)?.into(), _temp: None };
    let mut turn = 0;
    let progress = move |_| {
        if turn == step {
            let me = std::process::id().to_string();
            Command::new("kill").args(["-9", &me]).status().unwrap();
            std::thread::park();
        }
        turn += 1;
        ControlFlow::Continue(())
    };
    Some((home, progress))
}

/// A file system of a given size, until dropped. Says so if there can be none.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(below: &Path, size: &str) -> Option<Self> {
        let path = below.join("small");
        fs::create_dir(&path).unwrap();
        let options = format!("size={size},mode=700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .output();
        let mounted = mount.is_ok_and(|done| done.status.success()).then_some(Self(path));
        if mounted.is_none() {
            eprintln!("skipped: mounting a small file system needs root");
        }
        mounted
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Another program takes all the room that is left.
    pub fn fill_up(&self) {
        let mut filler =
            fs::File::options().create(true).append(true).open(self.0.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
    }
    pub fn names(&self) -> Vec<OsString> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}
