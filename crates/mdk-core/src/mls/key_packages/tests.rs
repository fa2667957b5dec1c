//! KeyPackages: ours as published, and recorded ones. Broken rules are tested in `tests/adversarial/key_packages.rs`.

#![allow(clippy::unwrap_used)]

pub(crate) mod ours;
pub(crate) mod recorded;

use mdk_store::Store;
use mdk_wire::Keys;
use openmls_rust_crypto::RustCrypto;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::clock::{Clock as _, SystemClock};
use crate::model::config::Config;
use crate::model::error::{Error, Result};
use crate::model::hints::Hints;
use crate::state_store::memory::Memory;
use crate::state_store::records::Records;

/// OpenMLS judges lifetimes by the system clock, so tests start from it.
pub(crate) fn now() -> u64 {
    SystemClock.now()
}

/// An account with a database in memory.
pub(crate) struct Account {
    store: Store,
    keys: Keys,
    crypto: RustCrypto,
    config: Config,
}

impl Account {
    fn new() -> Self {
        Self {
            store: Store::in_memory().unwrap(),
            keys: Keys::generate(),
            crypto: RustCrypto::default(),
            config: Config::default(),
        }
    }

    /// One engine call at `now`.
    fn at<T>(&mut self, now: u64, act: impl FnOnce(&mut Work<'_>) -> Result<T>) -> Result<T> {
        let Self { store, keys, crypto, config } = self;
        store.write::<T, Error>(|tx| {
            let identity = match Identity::load(tx, keys)? {
                Some(identity) => identity,
                None => Identity::create(tx, keys.clone(), now)?,
            };
            let mut loaded = LoadedGroups::new(1);
            let hints = Hints::default();
            let call = Call {
                keys,
                config,
                hints: &hints,
                now_millis: now * 1000,
                restored: false,
                reading: false,
                outbox: false,
            };
            let mut memory = Memory::default();
            let records = Records::new(tx, call, &mut memory);
            act(&mut Work { identity: &identity, crypto, loaded: &mut loaded, records })
        })
    }
}
