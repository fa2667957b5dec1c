//! Members whose processes end and start again.

use std::path::PathBuf;
use std::sync::Arc;

use mdk_core::{Config, Engine, ManualClock};
use mdk_store::{DatabaseKey, OpenOptions, Store};
use mdk_wire::{Keys, Secret};

use super::{Member, at_once, now};

/// An account on disk. Its clock goes on while no process has it open.
pub struct Disk {
    pub name: &'static str,
    pub keys: Keys,
    pub clock: ManualClock,
    place: tempfile::TempDir,
}

fn key() -> DatabaseKey {
    DatabaseKey::Raw(Secret::new([9; 32]))
}

impl Disk {
    pub fn new(name: &'static str) -> Self {
        let (place, keys) = (tempfile::tempdir().unwrap(), Keys::generate());
        Self { name, keys, clock: ManualClock::at(now()), place }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("mdk.db")
    }

    pub fn open(&self) -> Member {
        self.open_with(at_once())
    }

    pub fn open_with(&self, config: Config) -> Member {
        let (keys, clock) = (self.keys.clone(), Arc::new(self.clock.clone()));
        let options = OpenOptions::default();
        let engine = Engine::open(&self.path(), keys, &key(), &options, config, clock);
        Member { name: self.name, engine: engine.unwrap(), clock: self.clock.clone() }
    }

    /// The process ends in good order, and another one begins.
    pub fn again(&self, member: Member) -> Member {
        member.engine.close().unwrap();
        self.open()
    }

    /// The database itself, while no engine has it open.
    pub fn store(&self) -> Store {
        Store::open(&self.path(), &key(), &OpenOptions::default()).unwrap()
    }
}
