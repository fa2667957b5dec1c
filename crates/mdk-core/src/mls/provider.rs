//! The provider for OpenMLS: its cryptography, and our storage inside the current transaction.

use std::cell::Cell;

use mdk_store::MlsStorage;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider};

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// The number of times that OpenMLS has asked for cryptography in this thread: tests count it instead of judging time.
pub(crate) fn asked() -> u64 {
    ASKED.get()
}

/// An OpenMLS provider over any storage.
pub(crate) struct Provider<'a, S> {
    crypto: &'a RustCrypto,
    storage: S,
}

/// The usual one: storage inside the current transaction.
pub(crate) type TxProvider<'a> = Provider<'a, MlsStorage<'a>>;

impl<'a, S> Provider<'a, S> {
    pub(crate) fn new(crypto: &'a RustCrypto, storage: S) -> Self {
        Self { crypto, storage }
    }
}

impl<S: StorageProvider<CURRENT_VERSION>> OpenMlsProvider for Provider<'_, S> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = S;

    fn storage(&self) -> &S {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        ASKED.set(ASKED.get() + 1);
        self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto
    }
}
