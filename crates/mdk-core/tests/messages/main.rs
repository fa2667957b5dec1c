//! What members say and send each other.
#![allow(clippy::unwrap_used, missing_docs)]

mod deletions;
#[path = "../kit/files.rs"]
mod files;
#[path = "../kit/foreign.rs"]
mod foreign;
#[path = "../kit/foreign_commits.rs"]
mod foreign_commits;
#[path = "../kit/fork.rs"]
mod fork;
#[path = "../kit/mod.rs"]
mod kit;
mod lifetimes;
mod limits;
mod media;
mod media_files;
mod pace;
mod talk;
mod words;
