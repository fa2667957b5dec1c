//! The memory of the repositories between calls. The database is the truth. The memory mirrors the last committed
//! transaction, or costs no more than a second look when it is lost.

use std::collections::{BTreeSet, HashMap, HashSet};

use mdk_wire::GroupId;

use crate::media::recent_files::Recent;
use crate::state_store::buffered_memory::BufferedMemory;
use crate::state_store::event_keys::Trials;
use crate::state_store::groups::GroupRows;
use crate::state_store::handshakes_tried::Tried;
use crate::state_store::message_order::Said;
use crate::state_store::timestamps::Paces;
use crate::state_store::witnesses::Speakers;

/// The times of an open choice between branches, in Unix milliseconds. They are lost with the process, which costs
/// nothing: then messages do not wait.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Undecided {
    /// The time at which the last branch came that may still win.
    pub(crate) rival: u64,
    /// The time at which a message of ours last began to wait.
    pub(crate) silent: u64,
}

/// What the client asks for after a call.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ForClient {
    /// The relays and filters to listen to may have changed since they were asked for last.
    pub(crate) rerouted: bool,
    /// Messages and entries about push tokens that were dropped since the engine was opened.
    pub(crate) push_dropped: u64,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) rows: GroupRows,
    pub(crate) buffered: BufferedMemory,
    pub(crate) speakers: Speakers,
    /// Groups with branches that compete.
    pub(crate) undecided: HashMap<GroupId, Undecided>,
    /// Keys that were tried on events.
    pub(crate) trials: Trials,
    /// Inputs that no state took so far.
    pub(crate) tried: Tried,
    /// The seconds that our messages are dated ahead: known for longer than the groups are loaded.
    pub(crate) paces: Paces,
    /// Our last message of each group.
    pub(crate) said: Said,
    /// Files that were encrypted and not sent yet.
    pub(crate) recent: Recent,
    /// Groups in which no put-out account is back, as far as it was asked.
    pub(crate) uncontested: HashSet<GroupId>,
    /// Groups that time may change, as the last tick saw it. `None`: any may be one.
    pub(crate) awake: Option<BTreeSet<GroupId>>,
    pub(crate) for_client: ForClient,
}

impl Memory {
    /// The transaction committed.
    pub(crate) fn committed(&mut self) {
        self.buffered.committed();
        self.speakers.committed();
        self.rows.committed();
        self.paces.keep();
    }

    /// The transaction, or a part of it, was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.buffered.rolled_back();
        self.speakers.rolled_back();
        self.paces.undo();
    }
}
