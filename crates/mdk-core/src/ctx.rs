//! What one engine call works with: the transaction, who we are, the time, and what it brings about.

use std::collections::HashMap;

use mdk_store::Tx;
use mdk_wire::{GroupId, OsRandom, PublicKey, Timestamp};
use openmls_rust_crypto::RustCrypto;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::provider::{Provider, TxProvider};
use crate::model::config::Config;
use crate::model::effects::Effects;
use crate::model::hints::Hints;
use crate::operations::retry_buffered::Drain;
use crate::state_store::event_keys::Looked;
use crate::state_store::memory::Memory;

pub(crate) struct Ctx<'a, 'tx> {
    pub(crate) tx: &'a Tx<'tx>,
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) config: &'a Config,
    /// Unix milliseconds.
    pub(crate) now_millis: u64,
    pub(crate) hints: &'a Hints,
    /// The database came from a backup: some leaves may have to be renewed.
    pub(crate) restored: bool,
    /// Nothing can be written.
    pub(crate) reading: bool,
    pub(crate) loaded: &'a mut LoadedGroups,
    pub(crate) memory: &'a mut Memory,
    pub(crate) random: OsRandom,
    /// The outcome of the call, as far as it has come.
    pub(crate) effects: Effects,
    /// Where, and when, a message was said that was just refused because its key is gone.
    pub(crate) behind: Option<(GroupId, Timestamp)>,
    /// Held events as they were parsed, with the keys that were tried on them.
    pub(crate) drain: HashMap<GroupId, Drain>,
    /// Which keys were tried on events of this call, and what came of it.
    pub(crate) looked: Looked,
    /// Several events are processed: what waits is tried when all of them are there.
    pub(crate) batching: bool,
    /// A commit that could be applied was left for the end of the batch.
    pub(crate) parked: bool,
    /// Everything that waits is tried, however much it is.
    pub(crate) thorough: bool,
    /// The event that is being processed was kept as it came.
    pub(crate) kept_raw: bool,
    /// Why the Welcome that is processed leads nowhere, if it is for want of a sign of the others: one that was made at
    /// this time, Unix seconds, or later.
    pub(crate) wants_sign: Option<u64>,
    /// What is to be published is put into the outbox.
    pub(crate) outbox: bool,
    /// How a refused event is undone when others share its transaction.
    pub(crate) undo: Undo,
}

/// What the engine lends to one call.
pub(crate) struct Parts<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) config: &'a Config,
    pub(crate) now_millis: u64,
    pub(crate) hints: &'a Hints,
    pub(crate) restored: bool,
    pub(crate) reading: bool,
    pub(crate) loaded: &'a mut LoadedGroups,
    pub(crate) memory: &'a mut Memory,
    pub(crate) outbox: bool,
}

/// Undoing one event of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Each event has a savepoint.
    Savepoint,
    /// Events are refused before anything is written, as nearly all are; the first that is not sets
    /// `Undo::Needed` and fails the transaction, which is then repeated with savepoints. SQLite keeps a copy of
    /// every page that changes under a savepoint, which costs a batch more than the events themselves.
    Unneeded,
    /// An event was refused after something was written.
    Needed,
}

impl<'a, 'tx> Ctx<'a, 'tx> {
    pub(crate) fn new(tx: &'a Tx<'tx>, parts: Parts<'a>) -> Self {
        Self {
            tx,
            identity: parts.identity,
            crypto: parts.crypto,
            config: parts.config,
            now_millis: parts.now_millis,
            hints: parts.hints,
            restored: parts.restored,
            reading: parts.reading,
            loaded: parts.loaded,
            memory: parts.memory,
            random: OsRandom,
            effects: Effects::default(),
            behind: None,
            drain: HashMap::new(),
            looked: Looked::default(),
            batching: false,
            parked: false,
            thorough: false,
            kept_raw: false,
            wants_sign: None,
            outbox: parts.outbox,
            undo: Undo::Savepoint,
        }
    }
}

impl<'a> Ctx<'a, '_> {
    /// The account that all of this is about.
    pub(crate) fn me(&self) -> PublicKey {
        self.identity.account()
    }

    /// The transaction, or a part of it that began with `mark` groups put back, was rolled back: what is in memory of it goes.
    pub(crate) fn forget_since(&mut self, mark: usize) {
        self.loaded.forget_since(mark);
        self.memory.rolled_back();
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        self.now_millis / 1000
    }

    pub(crate) fn provider(&self) -> TxProvider<'a> {
        Provider::new(self.crypto, self.tx.mls())
    }
}
