//! What lies in the file: rows, their bounds and their history.
#![allow(clippy::unwrap_used, missing_docs)]

mod file_keys;
mod openmls_storage;
mod outgoing;
mod repositories;
mod repositories_bounds;
mod repositories_history;
#[path = "../repositories_kit/mod.rs"]
mod repositories_kit;
mod tx;
