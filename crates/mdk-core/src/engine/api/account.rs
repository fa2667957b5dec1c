//! The account: its keys, and small values of the application.

use std::path::Path;
use std::sync::Arc;

use mdk_store::{DatabaseKey, OpenOptions, Store};
use mdk_wire::Keys;

use crate::engine::Engine;
use crate::mls::identity::Identity;
use crate::model::clock::Clock;
use crate::model::config::Config;
use crate::model::error::{Error, Result};
use crate::state_store::outbox::{MAX_STATE_BYTES, MAX_STATE_KEY};

/// Small durable values, in a table of their own.
impl Engine {
    /// The value that was stored under `key`.
    pub fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.look(|ctx| Ok(ctx.work.records.tx.client_state(key)?))
    }

    /// Stores a value of at most 1 MiB under a key of 1 to 256 bytes; `None` removes it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`].
    pub fn set_state(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        if key.is_empty() {
            return Err(Error::empty("key", "empty"));
        }
        if key.len() > MAX_STATE_KEY {
            return Err(Error::too_large("key", MAX_STATE_KEY, key.len()));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_STATE_BYTES) {
            return Err(Error::too_large("value", MAX_STATE_BYTES, value.len()));
        }
        self.act(|ctx| Ok(ctx.work.records.tx.set_client_state(key, value)?))
    }

    /// The values whose keys begin with `prefix`, by key.
    pub fn states(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.look(|ctx| Ok(ctx.work.records.tx.client_states(prefix)?))
    }
}

/// The account's keys.
impl Engine {
    /// Opens the account's database as [`Engine::open`] does. Without `keys` those that it keeps are used; a new
    /// database gets new ones and keeps them.
    ///
    /// # Errors
    /// As [`Engine::open`], and [`Error::KeysMissing`] when the database keeps none.
    pub fn open_account(
        path: &Path,
        keys: Option<Keys>,
        key: &DatabaseKey,
        options: &OpenOptions,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let mut store = Store::open(path, key, options)?;
        let keys = match keys {
            Some(keys) => keys,
            None => kept_keys(&mut store, clock.now())?,
        };
        Self::start(store, keys, config, clock)
    }

    /// Leaves the account's keys in the database: a person who can open it owns the account from now on.
    pub fn keep_keys(&mut self) -> Result<()> {
        let Self { store, identity, .. } = self;
        store.write(|tx| Ok(tx.keep_account_secret(identity.keys.secret())?))
    }

    /// The account's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.identity.keys
    }
}

/// The keys that the database keeps; a new database gets some, in one transaction with the account that they make.
fn kept_keys(store: &mut Store, now: u64) -> Result<Keys> {
    let kept = store.read(|tx| {
        let secret = tx.account_secret()?;
        Ok::<_, Error>((secret, Identity::is_there(tx)?))
    })?;
    match kept {
        (Some(secret), _) => {
            Keys::from_secret(secret).map_err(|_| Error::Unrecoverable("the account's key"))
        }
        (None, true) => Err(Error::KeysMissing),
        (None, false) => {
            let keys = Keys::generate();
            store.write(|tx| {
                tx.keep_account_secret(keys.secret())?;
                Identity::create(tx, keys.clone(), now)
            })?;
            Ok(keys)
        }
    }
}
