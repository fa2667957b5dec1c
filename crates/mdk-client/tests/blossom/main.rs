//! Blobs on servers, good ones and hostile ones.
#![allow(clippy::unwrap_used, missing_docs)]

mod hostile;
mod kit;
#[path = "../kit/socks.rs"]
mod socks;
mod transfers;
