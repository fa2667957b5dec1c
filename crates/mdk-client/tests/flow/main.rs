//! Whole clients over real engines and the local relay.
#![allow(clippy::unwrap_used, missing_docs)]

mod backlog;
mod busy;
mod cursors;
mod faults;
mod kit;
mod late;
mod outages;
mod speed;
mod talk;
mod worlds;
