//! A relay of our own: NIP-01, 09, 11, 40, 42, 45, 70 and 77, in memory and on loopback, for tests and trials.
//!
//! It stands on `mdk-wire` alone and shares nothing else with the client. Faults are a layer around a connection, which
//! can be left out.
#![forbid(unsafe_code)]

mod auth;
mod clock;
mod connection;
mod error;
mod faults;
mod filters;
mod hub;
mod information;
mod negentropy;
mod options;
mod relay;
mod server;
mod session;
mod signals;
mod store;
mod voice;

pub use error::{RelayError, Result};
pub use faults::Faults;
pub use options::LocalRelayOptions;
pub use relay::LocalRelay;
