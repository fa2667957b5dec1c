//! The account, the time, and the caller's hints: the same for all work of one call.

use mdk_wire::{Keys, PublicKey};

use crate::model::config::Config;
use crate::model::hints::Hints;

/// Nothing in it changes during a call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) config: &'a Config,
    pub(crate) hints: &'a Hints,
    /// Unix milliseconds.
    pub(crate) now_millis: u64,
    /// The database came from a backup: some leaves may have to be renewed.
    pub(crate) restored: bool,
    /// Nothing can be written.
    pub(crate) reading: bool,
    /// Events to publish are put into the outbox.
    pub(crate) outbox: bool,
}

impl Call<'_> {
    /// The account that all of this is about.
    pub(crate) fn me(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// Unix seconds.
    pub(crate) const fn now(&self) -> u64 {
        self.now_millis / 1000
    }
}
