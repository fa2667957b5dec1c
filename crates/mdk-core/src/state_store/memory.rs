//! What the repositories keep in memory between calls. The database is the truth; what is here mirrors the last committed
//! transaction, or costs no more than a second look when it is lost.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use mdk_wire::{GroupId, PublicKey};

use crate::media::recent_files::Recent;
use crate::model::state_id::Auth;
use crate::state_store::buffered_memory::{Dates, Waits};
use crate::state_store::event_keys::Trials;
use crate::state_store::handshakes_tried::Tried;
use crate::state_store::message_order::Said;
use crate::state_store::timestamps::Paces;

/// States whose speakers are remembered. Of more they are read again.
const MOST_COUNTED: usize = 256;

/// What is known of an open choice between branches, in Unix milliseconds. Lost with the process, which costs nothing: then
/// messages do not wait.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Undecided {
    /// When a branch came last that may still win.
    pub(crate) rival: u64,
    /// When a message of ours began to wait last.
    pub(crate) silent: u64,
}

/// What is known of buffered events.
#[derive(Default)]
pub(crate) struct BufferedMemory {
    /// What held events wait for: a flood of them is read once, not with every call.
    pub(crate) waits: HashMap<GroupId, Waits>,
    /// When held events were made.
    pub(crate) dates: HashMap<GroupId, Dates>,
    /// When what was refused for want of room last, and no key opened, was made: it is as much of a sign as what is held.
    pub(crate) refused: HashMap<GroupId, u64>,
    /// When it was last looked for what a group holds for too long, and when it is worth looking again, Unix seconds.
    pub(crate) looked_for_old: HashMap<GroupId, Range<u64>>,
    /// Groups of which a key has opened something during the current transaction that none had: all is tried once more
    /// when it does not commit.
    pub(crate) opened: Vec<GroupId>,
    /// Groups whose dates were made or used up during the current transaction: made anew when it does not commit.
    dated: Vec<GroupId>,
}

impl BufferedMemory {
    pub(crate) fn put_dates(&mut self, id: &GroupId, dates: Dates) {
        self.dates.insert(id.clone(), dates);
    }

    /// For taking something from them.
    pub(crate) fn edit_dates(&mut self, id: &GroupId) -> Option<&mut Dates> {
        if !self.dated.contains(id) {
            self.dated.push(id.clone());
        }
        self.dates.get_mut(id)
    }

    fn committed(&mut self) {
        self.dated.clear();
        self.opened.clear();
    }

    fn rolled_back(&mut self) {
        for id in self.dated.drain(..) {
            self.dates.remove(&id);
        }
        for id in self.opened.drain(..) {
            self.waits.remove(&id);
        }
    }
}

/// Who spoke in contested states.
#[derive(Default)]
pub(crate) struct Speakers {
    pub(crate) counted: HashMap<Auth, BTreeSet<PublicKey>>,
    /// States in which somebody new has spoken during the current transaction: read again when it does not commit.
    spoken: Vec<Auth>,
}

impl Speakers {
    pub(crate) fn put_counted(&mut self, state: Auth, who: BTreeSet<PublicKey>) {
        if self.counted.len() >= MOST_COUNTED {
            self.counted.clear();
        }
        self.counted.insert(state, who);
    }

    /// Somebody has spoken in a state. True if that was not known, and not enough others had.
    pub(crate) fn count(&mut self, state: Auth, who: PublicKey, most: usize) -> bool {
        let counted = self.counted.entry(state).or_default();
        let new = counted.len() < most && counted.insert(who);
        if new {
            self.spoken.push(state);
        }
        new
    }

    fn rolled_back(&mut self) {
        for state in self.spoken.drain(..) {
            self.counted.remove(&state);
        }
    }
}

/// All of it.
#[derive(Default)]
pub(crate) struct Memory {
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
    /// What is to be listened to may be something else than when it was asked for last.
    pub(crate) rerouted: bool,
}

impl Memory {
    /// The transaction committed.
    pub(crate) fn committed(&mut self) {
        self.buffered.committed();
        self.speakers.spoken.clear();
        self.paces.keep();
    }

    /// The transaction, or a part of it, was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.buffered.rolled_back();
        self.speakers.rolled_back();
        self.paces.undo();
    }
}
