//! Released peers and OpenMLS: what they do, as recorded or as made again.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../kit/foreign.rs"]
mod foreign;
#[path = "../kit/foreign_commits.rs"]
mod foreign_commits;
mod inbound_variants;
#[path = "../kit/mod.rs"]
mod kit;
mod openmls_facts;
mod seen_by_foreign;
mod welcome_variants;
