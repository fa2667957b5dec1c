//! The context of one engine call: the transaction, our identity, the time, and the effects.

use std::collections::HashMap;

use mdk_store::Tx;
use mdk_wire::GroupId;
use openmls_rust_crypto::RustCrypto;

use crate::mls::identity::Identity;
use crate::mls::loaded_groups::LoadedGroups;
use crate::mls::work::Work;
use crate::model::call::Call;
use crate::operations::retry_buffered::Drain;
use crate::state_store::memory::Memory;
use crate::state_store::records::Records;

pub(crate) struct Ctx<'a> {
    pub(crate) work: Work<'a>,
    /// Held events as they were parsed, with the keys that were tried on them.
    pub(crate) drain: HashMap<GroupId, Drain>,
    /// The way to undo a refused event when others share its transaction.
    pub(crate) undo: Undo,
}

/// The parts that the engine lends to one call.
pub(crate) struct Parts<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) crypto: &'a RustCrypto,
    pub(crate) call: Call<'a>,
    pub(crate) loaded: &'a mut LoadedGroups,
    pub(crate) memory: &'a mut Memory,
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

impl<'a> Ctx<'a> {
    pub(crate) fn new(tx: &'a Tx<'a>, parts: Parts<'a>) -> Self {
        let Parts { identity, crypto, call, loaded, memory } = parts;
        Self {
            work: Work { identity, crypto, loaded, records: Records::new(tx, call, memory) },
            drain: HashMap::new(),
            undo: Undo::Savepoint,
        }
    }
}
