//! Who we are, when it is, and what was told to the engine: the same for all that one call does.

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
    /// What is to be published is put into the outbox.
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
