//! How `mdk` moves: relays, outbox, catch-up and upkeep of one account. Beside the relay of tests
//! the only crate with sockets.
//!
//! The engine (`mdk-core`) decides; this crate carries. An event is read and verified once, by `mdk-wire`, where it
//! arrives; no type of the Nostr library is in a signature here.
#![forbid(unsafe_code)]

mod blossom;
mod catch_up;
mod client;
mod dial;
mod error;
mod known_groups;
mod lists;
mod options;
mod outbox_worker;
pub mod push;
mod relay_info;
mod relay_pool;
pub mod remembered;
mod sync;
#[cfg(test)]
mod testing;
mod upkeep;

pub use blossom::{Blossom, BlossomOptions, LOCATOR_KIND, Server, normal_server};
pub use client::{Client, PushStats, Stats};
pub use error::{ClientError, Result};
pub use known_groups::KnownGroups;
pub use options::{ClientOptions, EngineAccess, PoolOptions, SharedEngine, with_engine};
pub use relay_info::RelayInfo;
#[doc(hidden)]
pub use relay_pool::fuzzing;
pub use relay_pool::{
    Account, Arrived, Held, Origin, Page, Pool, Published, RelayState, RelayStatus, Room,
    normal_url,
};
