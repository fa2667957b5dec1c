//! The client: its connections, blobs, and whole clients over real engines.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod blossom;
mod flow;
mod kit;
mod pool;

#[path = "../../../tests/sampling.rs"]
#[allow(dead_code)] // (each program uses some of it)
mod sampling;
#[path = "../../../tests/unlocked.rs"]
mod unlocked;
