//! What breaks a rule, or was found to break a group: refused, and without a trace.
#![allow(clippy::unwrap_used, missing_docs)]

mod commits;
#[path = "../kit/foreign.rs"]
mod foreign;
#[path = "../kit/foreign_commits.rs"]
mod foreign_commits;
mod inbound;
mod invariants;
mod join;
mod key_packages;
#[path = "../kit/mod.rs"]
mod kit;
mod mutations;
mod regressions;
mod regressions_bounds;
mod rejoin;
mod storm;
#[path = "../kit/welcomes.rs"]
mod welcomes;
