//! What the repositories keep in memory between calls. The database is the truth; what is here mirrors the last committed
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

/// What is known of an open choice between branches, in Unix milliseconds. Lost with the process, which costs nothing: then
/// messages do not wait.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Undecided {
    /// When a branch came last that may still win.
    pub(crate) rival: u64,
    /// When a message of ours began to wait last.
    pub(crate) silent: u64,
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
    /// How far our messages are dated ahead: known for longer than the groups are loaded.
    pub(crate) paces: Paces,
    /// Our last message of each group.
    pub(crate) said: Said,
    /// Files that were encrypted and not sent yet.
    pub(crate) recent: Recent,
    /// Groups in which nobody is back who was put out, as far as it was asked.
    pub(crate) uncontested: HashSet<GroupId>,
    /// Groups that time may change, as the last tick saw it. `None`: any may be one.
    pub(crate) awake: Option<BTreeSet<GroupId>>,
    /// What is to be listened to may be something else than when it was asked for last.
    pub(crate) rerouted: bool,
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
