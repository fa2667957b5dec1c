//! The local relay, looked at with a WebSocket client of its own.
#![allow(clippy::unwrap_used, missing_docs)]

mod faults;
mod kit;
mod life;
mod speed;
