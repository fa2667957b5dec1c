//! What stays: one SQLCipher database per account, its key, its files and its locks.
//!
//! A [`Store`] is one open database. All work happens in a [`Tx`]: [`Store::write`] commits or changes nothing,
//! [`Store::read`] never changes anything. The crate stores and finds; it decides no policy.
//!
//! `Store::in_memory` is the same code over SQLite's `:memory:`, which is **not** encrypted.

mod about;
mod cipher;
mod client_state;
mod connection;
mod digest;
mod ended;
mod error;
mod events;
mod file_keys;
mod files;
mod first_open;
mod groups;
mod held;
mod kept;
mod key;
mod key_packages;
mod key_source;
mod key_text;
mod keyring;
mod lifetimes;
mod lookaside;
mod messages;
mod meta;
mod migrate;
mod names;
mod open;
mod openmls;
mod outbox;
mod outgoing;
mod pace;
mod recovery;
mod removals;
mod ritual;
mod seen;
mod shares;
mod side_record;
mod snapshots;
mod sqlcipher;
mod states;
mod store;
mod tx;
mod undumped;
mod unread;
mod vault;
mod welcomes;

pub use about::*;
pub use ended::*;
pub use error::{FileRole, OpenError, StoreError};
pub use events::*;
pub use files::{let_go_in_child, open_to_read};
pub use groups::*;
pub use held::*;
pub use key::{DatabaseKey, Descriptor, KeyCallback, KeyringKey, KeyringStore};
pub use key_packages::*;
pub use key_source::on_signal;
pub use lifetimes::*;
pub use messages::*;
pub use open::{APPLICATION_ID, OpenOptions};
pub use openmls::{MlsMemory, MlsStorage};
pub use outbox::*;
pub use outgoing::*;
pub use removals::*;
pub use seen::*;
pub use shares::*;
pub use snapshots::*;
pub use states::States;
pub use store::{Store, StoreInfo};
pub use tx::Tx;
pub use vault::*;
pub use welcomes::*;

/// Result of an operation on an open database.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
