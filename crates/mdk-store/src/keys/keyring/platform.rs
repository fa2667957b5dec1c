//! The store behind a [`KeyringStore`] on this system, and the meaning of its errors.
//!
//! The Linux stores are tested against a real GNOME Keyring and a real kernel. The stores of macOS and Windows are
//! written from the sources of their crates and were never run.

use std::{collections::HashMap, sync::Arc};

use keyring_core::{CredentialPersistence, CredentialStore, Error};
use zeroize::Zeroize;

use crate::{KeyringStore, OpenError};

/// A store that is open.
pub(super) type Backend = Arc<CredentialStore>;

/// The kind of a failure, without the store's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    NoEntry,
    Locked,
    Unavailable,
    Ambiguous,
    Malformed,
    BadService,
    BadKeyId,
    Volatile,
}

/// The names of the stores in the side record.
const NAMES: [(KeyringStore, &str); 4] = [
    (KeyringStore::SecretService, "secret-service"),
    (KeyringStore::Keyutils, "keyutils"),
    (KeyringStore::Keychain, "keychain"),
    (KeyringStore::CredentialManager, "credential-manager"),
];

/// The name of a store that was resolved.
pub(crate) fn store_name(store: KeyringStore) -> &'static str {
    NAMES.iter().find(|(s, _)| *s == store).map_or("platform", |(_, name)| name)
}

/// The store of this name.
pub(crate) fn store_from_name(name: &str) -> Option<KeyringStore> {
    NAMES.iter().find(|(_, n)| *n == name).map(|(store, _)| *store)
}

/// Returns the store that `Platform` means, and refuses stores that this system does not have.
pub(super) fn resolve(store: KeyringStore) -> Result<KeyringStore, OpenError> {
    let usual = if cfg!(target_os = "linux") {
        KeyringStore::SecretService
    } else if cfg!(target_os = "macos") {
        KeyringStore::Keychain
    } else if cfg!(windows) {
        KeyringStore::CredentialManager
    } else {
        return Err(OpenError::KeyringUnavailable);
    };
    match store {
        KeyringStore::Platform => Ok(usual),
        KeyringStore::Keyutils if cfg!(target_os = "linux") => Ok(store),
        store if store == usual => Ok(store),
        _ => Err(OpenError::KeyringUnavailable),
    }
}

/// Opens a store that was resolved. May hang.
pub(super) fn open(store: KeyringStore) -> Result<Backend, Failure> {
    let opened: Result<Backend, Error> = match store {
        #[cfg(target_os = "linux")]
        KeyringStore::SecretService => {
            zbus_secret_service_keyring_store::Store::new().map(|store| store as Backend)
        }
        // The divider is forbidden in the service, so `keyring:key id@service` names only one key.
        #[cfg(target_os = "linux")]
        KeyringStore::Keyutils => {
            let config = [("service_no_divider", "true")].into();
            linux_keyutils_keyring_store::Store::new_with_configuration(&config)
                .map(|store| store as Backend)
        }
        #[cfg(target_os = "macos")]
        KeyringStore::Keychain => {
            apple_native_keyring_store::keychain::Store::new().map(|store| store as Backend)
        }
        // The usual divider is a dot, which service ids often have.
        #[cfg(windows)]
        KeyringStore::CredentialManager => {
            let config = [("divider", "@"), ("service_no_divider", "true")].into();
            windows_native_keyring_store::Store::new_with_configuration(&config)
                .map(|store| store as Backend)
        }
        _ => return Err(Failure::Unavailable),
    };
    opened.map_err(|error| classify(store, error))
}

/// The query that lists the entries of a service. `None` where the store cannot list.
pub(super) fn listing(store: KeyringStore, service: &str) -> Option<HashMap<&'static str, &str>> {
    match store {
        KeyringStore::SecretService | KeyringStore::Keychain => Some([("service", service)].into()),
        KeyringStore::CredentialManager => Some(HashMap::new()),
        KeyringStore::Keyutils | KeyringStore::Platform => None,
    }
}

/// Whether the store forgets its keys at reboot or earlier.
pub(super) fn is_volatile(store: &Backend) -> bool {
    matches!(
        store.persistence(),
        CredentialPersistence::EntryOnly
            | CredentialPersistence::ProcessOnly
            | CredentialPersistence::UntilLogout
            | CredentialPersistence::UntilReboot
    )
}

/// The meaning of a store's error. Nothing of its text survives, and bytes of a secret in it are wiped.
pub(super) fn classify(store: KeyringStore, error: Error) -> Failure {
    match error {
        Error::NoEntry => Failure::NoEntry,
        Error::NoStorageAccess(inner) => match store {
            // Keyutils has no lock. A process that may not use it has no keyring.
            KeyringStore::Keyutils => Failure::Unavailable,
            KeyringStore::SecretService => secret_service(&*inner).unwrap_or(Failure::Locked),
            _ => Failure::Locked,
        },
        Error::PlatformFailure(inner) => secret_service(&*inner).unwrap_or(Failure::Unavailable),
        Error::BadEncoding(mut bytes) | Error::BadDataFormat(mut bytes, _) => {
            bytes.zeroize();
            Failure::Malformed
        }
        Error::Ambiguous(_) => Failure::Ambiguous,
        Error::Invalid(what, _) | Error::TooLong(what, _) if what == "service" => {
            Failure::BadService
        }
        Error::Invalid(..) | Error::TooLong(..) => Failure::BadKeyId,
        _ => Failure::Unavailable,
    }
}

/// The error of the Secret Service behind an error of its store, which sorts some of them wrongly.
#[cfg(target_os = "linux")]
fn secret_service(inner: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Failure> {
    use secret_service::Error as Service;
    Some(match inner.downcast_ref::<Service>()? {
        Service::Locked | Service::Prompt | Service::PromptDisconnected => Failure::Locked,
        // The name of a D-Bus error is the beginning of its text.
        Service::Zbus(e) if e.to_string().contains("Secret.Error.IsLocked") => Failure::Locked,
        _ => Failure::Unavailable,
    })
}

#[cfg(not(target_os = "linux"))]
fn secret_service(_: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Failure> {
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keyutils_only_when_asked_for_by_name() {
        assert_ne!(resolve(KeyringStore::Platform), Ok(KeyringStore::Keyutils));
        for (store, name) in NAMES {
            assert_eq!(store_from_name(store_name(store)), Some(store), "{name}");
        }
        assert_eq!(store_from_name("platform"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_of_stores_become_ours_and_lose_what_they_carry() {
        use secret_service::Error as Service;
        let ss = |error| classify(KeyringStore::SecretService, error);
        assert_eq!(ss(Error::NoEntry), Failure::NoEntry);
        assert_eq!(ss(Error::NoStorageAccess(Box::new(Service::Locked))), Failure::Locked);
        assert_eq!(ss(Error::NoStorageAccess(Box::new(Service::Prompt))), Failure::Locked);
        assert_eq!(ss(Error::NoStorageAccess(Box::new(Service::NoResult))), Failure::Unavailable);
        assert_eq!(ss(Error::PlatformFailure(Box::new(Service::Locked))), Failure::Locked);
        assert_eq!(
            ss(Error::PlatformFailure(Box::new(Service::Unavailable))),
            Failure::Unavailable
        );
        assert_eq!(ss(Error::BadEncoding(b"secret".to_vec())), Failure::Malformed);
        let format = Error::BadDataFormat(b"secret".to_vec(), "secret".into());
        assert_eq!(ss(format), Failure::Malformed);
        assert_eq!(ss(Error::Ambiguous(vec![])), Failure::Ambiguous);
        assert_eq!(ss(Error::TooLong("service".into(), 9)), Failure::BadService);
        assert_eq!(ss(Error::Invalid("user".into(), "secret".into())), Failure::BadKeyId);
        assert_eq!(ss(Error::NoDefaultStore), Failure::Unavailable);
        let denied = Error::NoStorageAccess("denied".into());
        assert_eq!(classify(KeyringStore::Keyutils, denied), Failure::Unavailable);
        for store in [KeyringStore::Keychain, KeyringStore::CredentialManager] {
            assert_eq!(classify(store, Error::NoStorageAccess("x".into())), Failure::Locked);
            assert_eq!(resolve(store), Err(OpenError::KeyringUnavailable));
        }
    }
}
