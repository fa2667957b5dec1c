//! How Python sees the engine: unwrap, detach, call, map. No decisions are taken here.

use pyo3::prelude::*;

mod account_store;
mod ahead;
mod args;
mod batch;
mod client;
mod clock;
mod config;
mod database_key;
mod engine;
mod engine_guard;
mod errors;
mod event_views;
mod faults;
mod fork;
mod futures;
mod interrupts;
mod keys;
mod logging;
mod panics;
mod passphrase;
mod pending;
mod process;
mod progress;
mod public_key;
mod report_views;
mod secret_bytes;
mod signed_event;
mod text;
mod turn;
mod vault;
mod views;

// OpenMLS, serde and the standard library free memory that held secrets without wiping it. This allocator wipes
// every block of this library when it is freed; memory of the interpreter is not ours to wipe.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// The compiled half of `mdk`. Import from `mdk`.
#[pymodule(gil_used = false)]
mod _mdk {
    #[pymodule_export]
    use crate::account_store::AccountStore;
    #[pymodule_export]
    use crate::batch::{EventIterator, OutcomeIterator};
    #[pymodule_export]
    use crate::client::{_normal_server, _read_file, Client, GroupImage, LocalRelay, Pool};
    #[pymodule_export]
    use crate::clock::Clock;
    #[pymodule_export]
    use crate::database_key::DatabaseKey;
    #[pymodule_export]
    use crate::engine::{_open_account, Mdk};
    #[pymodule_export]
    use crate::errors::raise::_error_classes;
    #[pymodule_export]
    use crate::faults::{_panic, _panic_in_future, _set_state, _states};
    #[pymodule_export]
    use crate::keys::Keys;
    #[pymodule_export]
    use crate::pending::PendingCommit;
    #[pymodule_export]
    use crate::public_key::PublicKey;
    #[pymodule_export]
    use crate::signed_event::SignedEvent;
    #[pymodule_export]
    use crate::vault::{
        _remembered_relays, backup, doctor, encrypt_existing, rekey, restore, salvage, verify,
    };

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::panics::install_hook();
        crate::fork::install(module.py())?;
        crate::futures::install(module.py())?;
        crate::logging::install(module.py())
    }
}
