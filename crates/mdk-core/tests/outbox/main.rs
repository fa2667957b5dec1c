//! What waits for relays.
#![allow(clippy::unwrap_used, missing_docs)]

mod commits;
mod dated;
mod edges;
#[path = "../kit/files.rs"]
mod files;
#[path = "../kit/fork.rs"]
mod fork;
mod invites;
#[path = "../kit/mod.rs"]
mod kit;
mod messages;
mod relays;
mod stale;
mod witnesses;
