//! The pool of connections, against relays that do what a test tells them.
#![allow(clippy::unwrap_used, missing_docs)]

mod auth;
mod delivery;
mod dial;
mod hostile;
mod kit;
mod panic;
mod publish;
mod refusals;
mod sharing;
#[path = "../kit/socks.rs"]
mod socks;
