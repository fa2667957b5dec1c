//! The storage of the client: one SQLCipher database per account, its key, its files and its locks.
//!
//! A [`Store`] is one open database. All work happens in a [`Tx`]: [`Store::write`] commits or changes nothing,
//! [`Store::read`] never changes anything. The crate stores and finds; it decides no policy.
//!
//! On a full disk or quota what is stored can be read, and nothing is lost. A write fails with
//! [`StoreError::DiskFull`], is rolled back, and succeeds once there is room (`store/transaction.rs`;
//! `sqlcipher/errors.rs` tells it from other failures). Opening needs no room for what is there already: the index of
//! the log goes to memory (`sqlcipher/configure.rs`), the log is not primed (`store/checkpoint.rs`), the lock names no
//! holder (`files/owner_lock.rs`). Closing leaves the log to the next opening. Work that writes a file asks for room
//! first, with [`VaultError::NoSpace`], and leaves nothing behind when the room goes meanwhile (`vault/new_file.rs`,
//! `vault/backup.rs`). `vault/doctor/files.rs` reports the room; the tests are in `tests/vault/full_disk.rs`.
//!
//! `Store::in_memory` is the same code over SQLite's `:memory:`, which is **not** encrypted.

mod error;
mod files;
mod keys;
mod recovery;
mod sqlcipher;
mod store;
mod vault;

pub use error::{FileRole, OpenError, Result, StoreError};
pub use files::{let_go_in_child, open_to_read};
pub use keys::database_key::{DatabaseKey, Descriptor, KeyCallback, KeyringKey, KeyringStore};
pub use keys::location::on_signal;
pub use sqlcipher::APPLICATION_ID;
pub use store::epoch_state_cache::States;
pub use store::mls::{MlsMemory, MlsStorage, skipped_messages};
pub use store::open::OpenOptions;
pub use store::tables::about::*;
pub use store::tables::buffered_events::*;
pub use store::tables::epoch_state_row::*;
pub use store::tables::event_log::*;
pub use store::tables::groups::*;
pub use store::tables::key_packages::*;
pub use store::tables::message_expiry::*;
pub use store::tables::message_row::*;
pub use store::tables::messages::*;
pub use store::tables::outbox::*;
pub use store::tables::outgoing_welcomes::*;
pub use store::tables::own_commits::*;
pub use store::tables::past_memberships::*;
pub use store::tables::processed_ids::*;
pub use store::tables::push_tokens::*;
pub use store::tables::removals::*;
pub use store::tables::shares::*;
pub use store::transaction::Tx;
pub use store::{Store, StoreInfo};
pub use vault::*;
