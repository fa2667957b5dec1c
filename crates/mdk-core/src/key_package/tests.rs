//! KeyPackages: ours as published, and recorded ones. What breaks a rule is in `tests/adversarial/key_packages.rs`.

#![allow(clippy::unwrap_used)]

mod ours;
mod recorded;

use mdk_store::Store;
use mdk_wire::Keys;
use openmls_rust_crypto::RustCrypto;

use crate::cache::GroupCache;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::ctx::{Ctx, Parts};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::media::Recent;

/// OpenMLS judges lifetimes by the system clock, so tests start from it.
fn now() -> u64 {
    SystemClock.now()
}

/// An account with a database in memory.
struct Account {
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
    fn at<T>(&mut self, now: u64, call: impl FnOnce(&mut Ctx<'_, '_>) -> Result<T>) -> Result<T> {
        let Self { store, keys, crypto, config } = self;
        store.write::<T, Error>(|tx| {
            let identity = match Identity::load(tx, keys)? {
                Some(identity) => identity,
                None => Identity::create(tx, keys.clone(), now)?,
            };
            let mut cache = GroupCache::new(1);
            let parts = Parts {
                identity: &identity,
                crypto,
                config,
                now_millis: now * 1000,
                worked: &crate::worked::Worked::default(),
                more: &std::collections::HashMap::new(),
                restored: false,
                reading: false,
                cache: &mut cache,
                recent: &Recent::default(),
                outbox: false,
                invite_limits: &std::collections::HashMap::new(),
                inviters: &crate::Inviters::default(),
            };
            call(&mut Ctx::new(tx, parts))
        })
    }
}
