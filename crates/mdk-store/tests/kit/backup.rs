//! A database that fills a backup, and a disk of a given size.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use mdk_store::{CommitStatus, Store};
use mdk_wire::SecretVec;

use super::{keys::Home, open, raw, rows::*};

/// Content of every message of `fill`.
pub const MARKER: &[u8] = b"planted-marker";

pub fn secret(bytes: &[u8]) -> SecretVec {
    SecretVec::new(bytes.to_vec())
}

/// A database with rows in every table, some of them larger than a chunk, 1.5 MiB in all.
pub fn filled(home: &Home) -> Store {
    let mut store = open(&home.db(), &raw(1));
    fill(&mut store);
    store
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
