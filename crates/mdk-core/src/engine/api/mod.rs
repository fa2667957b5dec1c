//! The public methods of the engine, by subject.

pub(crate) mod account;
pub(crate) mod database;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod invites;
pub(crate) mod key_packages;
pub(crate) mod media;
pub(crate) mod messages;
pub(crate) mod outbox;
pub(crate) mod push;
pub(crate) mod receive;
