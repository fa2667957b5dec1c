//! What becomes of members, devices and groups in the ordinary course of things.
#![allow(clippy::unwrap_used, missing_docs)]

mod accounts;
mod conversation;
mod deleting;
mod devices;
#[path = "../kit/foreign.rs"]
mod foreign;
#[path = "../kit/foreign_commits.rs"]
mod foreign_commits;
#[path = "../kit/mod.rs"]
mod kit;
mod leaving;
mod lifecycle;
mod readding;
mod recovery;
mod requirements;
mod rotation;
mod scramble;
mod settings;
