//! Keys in the keyring of the operating system.
//!
//! A store is built for each opening; there is no process-wide one. Every call runs on a thread of its own under a
//! timeout. Errors of the stores are never shown: some of them carry the secret.

mod alone;
mod call;
mod platform;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{sync::OnceLock, time::Duration};

use keyring_core::{Entry, Error};
use mdk_wire::Secret;
use zeroize::Zeroizing;

use crate::{KeyringStore, OpenError, keys::text_format};
pub(crate) use platform::{Failure, store_from_name, store_name};

const SOURCE: &str = "keyring";
/// The longest service id or key id in bytes.
const MAX_ID: usize = 512;

/// One keyring and a service in it.
#[derive(Clone)]
pub(crate) struct Keyring {
    pub(crate) store: KeyringStore,
    pub(crate) service: String,
    pub(crate) allow_volatile: bool,
    pub(crate) timeout: Duration,
    backend: std::sync::Arc<OnceLock<platform::Backend>>,
}

/// Checks an identifier: 1 to 512 bytes without NUL.
pub(crate) fn check_id(which: &'static str, id: &str) -> Result<(), OpenError> {
    if id.is_empty() || id.len() > MAX_ID || id.contains('\0') {
        return Err(OpenError::BadIdentifier { which, limit: MAX_ID });
    }
    Ok(())
}

impl Keyring {
    pub(crate) fn new(
        store: KeyringStore,
        service: &str,
        allow_volatile: bool,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        check_id("service", service)?;
        let store = platform::resolve(store)?;
        let service = service.to_owned();
        Ok(Self { store, service, allow_volatile, timeout, backend: Default::default() })
    }

    /// The key under this name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Secret<32>>, OpenError> {
        let read = self.call(name, |entry| entry.get_secret().map(Zeroizing::new), |_, _| ());
        match read {
            Ok(text) => text_format::decode_own(&text, SOURCE).map(Some),
            Err(Failed::Store(Failure::NoEntry)) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// Stores a key under a name that must be free, reads it back and compares. The stores have no operation that only
    /// creates. So the check comes right before the write, under a lock.
    pub(crate) fn put_new(&self, name: &str, key: &Secret<32>) -> Result<(), OpenError> {
        let text = text_format::encode(key);
        let late_text = text.clone();
        let (service, own, wait) = (self.service.clone(), name.to_owned(), self.timeout);
        let put = self.call(
            name,
            move |entry| {
                let _alone = alone::alone(&service, &own, wait)
                    .map_err(|busy| Error::PlatformFailure(Box::new(busy)))?;
                match entry.get_secret().map(Zeroizing::new) {
                    Err(Error::NoEntry) => {
                        let put = entry.set_secret(text.as_bytes());
                        // The store may have the key all the same.
                        put.inspect_err(|_| {
                            remove_if(entry, |found| found == text.as_bytes());
                        })?;
                        Ok(true)
                    }
                    Ok(_) => Ok(false),
                    Err(other) => Err(other),
                }
            },
            // Nobody waits any more: the opening has failed, and must leave no key.
            move |entry, put| {
                if matches!(put, Ok(true)) {
                    remove_if(entry, |found| found == late_text.as_bytes());
                }
            },
        );
        match put {
            Ok(true) => {}
            Ok(false) => return Err(OpenError::DatabaseMissingButKeyPresent),
            Err(other) => return Err(other.into()),
        }
        match self.get(name) {
            Ok(Some(found)) if found == *key => Ok(()),
            Ok(_) | Err(OpenError::KeyMalformed { .. } | OpenError::KeyLength { .. }) => {
                self.remove(name, key);
                Err(OpenError::KeyReadBack)
            }
            Err(error) => {
                // A keyring that does not answer is not asked again. A keyring that answers shall not keep the key.
                if !matches!(error, OpenError::KeyringTimeout { .. }) {
                    self.remove(name, key);
                }
                Err(error)
            }
        }
    }

    /// Removes the key under this name if it is `key`. Returns whether it is gone.
    pub(crate) fn remove(&self, name: &str, key: &Secret<32>) -> bool {
        let text = text_format::encode(key);
        self.call(
            name,
            move |entry| Ok(remove_if(entry, |found| found.trim_ascii_end() == text.as_bytes())),
            |_, _| (),
        )
        .unwrap_or(false)
    }

    /// Makes sure that `key` is not under this name: removes it, or finds another one or none. Returns whether that is
    /// known.
    pub(crate) fn forget(&self, name: &str, key: &Secret<32>) -> bool {
        let text = text_format::encode(key);
        self.call(
            name,
            move |entry| {
                Ok(match entry.get_secret().map(Zeroizing::new) {
                    Ok(found) if found.trim_ascii_end() == text.as_bytes() => {
                        entry.delete_credential().is_ok()
                    }
                    Ok(_) | Err(Error::NoEntry) => true,
                    Err(_) => false,
                })
            },
            |_, _| (),
        )
        .unwrap_or(false)
    }

    /// The results of `pick` for the names in this service. None where the store cannot list them.
    pub(crate) fn names(
        &self,
        pick: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Result<Vec<String>, OpenError> {
        let (store, service) = (self.store, self.service.clone());
        let listed = self.ask(
            move |backend| {
                let Some(spec) = platform::listing(store, &service) else { return Ok(Vec::new()) };
                let entries = match backend.search(&spec) {
                    Err(Error::NotSupportedByStore(_)) => return Ok(Vec::new()),
                    found => found.map_err(|error| platform::classify(store, error))?,
                };
                let own = |entry: &Entry| {
                    entry.get_specifiers().filter(|(of, _)| *of == service).map(|(_, name)| name)
                };
                Ok(entries.iter().filter_map(own).filter_map(|name| pick(&name)).collect())
            },
            |_| (),
        );
        Ok(listed?)
    }

    fn call<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
        late: impl FnOnce(&Entry, &Result<T, Failure>) + Send + 'static,
    ) -> Result<T, Failed> {
        let store = self.store;
        let (service, name) = (self.service.clone(), name.to_owned());
        let (_, result) = self.ask(
            move |backend| {
                let classify = |error| platform::classify(store, error);
                let entry = backend.build(&service, &name, None).map_err(classify)?;
                let result = work(&entry).map_err(classify);
                Ok((entry, result))
            },
            move |done: Result<(Entry, Result<T, Failure>), Failure>| {
                if let Ok((entry, result)) = done {
                    late(&entry, &result);
                }
            },
        )?;
        result.map_err(Failed::Store)
    }

    /// Runs `work` on the store in time, or hands a late result to `late`.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&platform::Backend) -> Result<T, Failure> + Send + 'static,
        late: impl FnOnce(Result<T, Failure>) + Send + 'static,
    ) -> Result<T, Failed> {
        let (backend, store, allow_volatile) =
            (self.backend.clone(), self.store, self.allow_volatile);
        let job = move || {
            let backend = match backend.get() {
                Some(backend) => backend,
                None => {
                    let new = platform::open(store)?;
                    backend.get_or_init(|| new)
                }
            };
            if platform::is_volatile(backend) && !allow_volatile {
                return Err(Failure::Volatile);
            }
            work(backend)
        };
        match call::within(self.timeout, job, late) {
            call::Outcome::Done(done) => done.map_err(Failed::Store),
            call::Outcome::Broken => Err(Failed::Store(Failure::Unavailable)),
            call::Outcome::Late => {
                let seconds = self.timeout.as_millis().div_ceil(1000);
                Err(Failed::Late { seconds: u64::try_from(seconds).unwrap_or(u64::MAX) })
            }
        }
    }
}

fn remove_if(entry: &Entry, ours: impl FnOnce(&[u8]) -> bool) -> bool {
    match entry.get_secret().map(Zeroizing::new) {
        Ok(found) if ours(&found) => entry.delete_credential().is_ok(),
        Err(Error::NoEntry) => true,
        _ => false,
    }
}

enum Failed {
    Store(Failure),
    Late { seconds: u64 },
}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Late { seconds } => Self::KeyringTimeout { seconds },
            Failed::Store(Failure::NoEntry) => Self::KeyMissing { source: SOURCE },
            Failed::Store(Failure::Locked) => Self::KeyringLocked,
            Failed::Store(Failure::Unavailable) => Self::KeyringUnavailable,
            Failed::Store(Failure::Ambiguous) => Self::KeyringAmbiguous,
            Failed::Store(Failure::Malformed) => Self::KeyMalformed { source: SOURCE },
            Failed::Store(Failure::BadService) => {
                Self::BadIdentifier { which: "service", limit: MAX_ID }
            }
            Failed::Store(Failure::BadKeyId) => {
                Self::BadIdentifier { which: "key id", limit: MAX_ID }
            }
            Failed::Store(Failure::Volatile) => Self::VolatileStore,
        }
    }
}
