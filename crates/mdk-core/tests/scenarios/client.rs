//! A named client: an account with its engine, its mailbox, and what it has to do later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use mdk_core::{Config, Engine, EngineEvent, EventBody, GroupState, ManualClock};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{Event, EventId, GroupId, Keys, PublicKey, Secret};
use sha2::{Digest as _, Sha256};

use super::changes::Changes;
use super::compared::{self, Compared};
use super::format::{Class, Step};

/// One event on its way.
#[derive(Debug)]
pub struct Item {
    pub event: Event,
    pub json: String,
    pub sender: usize,
    pub class: Class,
    /// Name of the publication it belongs to.
    pub publication: Option<String>,
    /// `step-<index>:<type>` of the step that made it.
    pub action: String,
    /// Epoch of the group that it was made in. None for Welcomes.
    pub epoch: Option<u64>,
    /// Whom a Welcome is for.
    pub recipient: Option<PublicKey>,
}

/// A commit of a client by its name, until it is resolved.
#[derive(Debug)]
pub struct Publication {
    pub name: Option<String>,
    pub pending: i64,
    /// A founding is true at once.
    pub founding: bool,
    /// Made late, from a queued intent or by the engine itself.
    pub regenerated: bool,
    pub resolved: bool,
    pub items: Vec<Rc<Item>>,
}

/// What could not be done yet.
pub struct Intent {
    pub step: Step,
    pub group: GroupId,
    pub action: String,
}

/// How far a client was looked at: its cursor, the groups whose loss was told, and the comparison that was not.
pub type Mark = (i64, BTreeSet<GroupId>, Option<Compared>);

pub struct Client {
    pub name: String,
    pub keys: Keys,
    engine: Option<Engine>,
    /// The database's path; none in memory.
    path: Option<PathBuf>,
    clock: ManualClock,
    pub mailbox: Vec<Rc<Item>>,
    /// Not connected: what comes is only in the relays' history.
    pub offline: bool,
    pub missed: Vec<Rc<Item>>,
    pub intents: Vec<Intent>,
    pub publications: Vec<Publication>,
    /// Events up to here were observed or cleared.
    pub cursor: i64,
    /// The last comparison of branches.
    pub compared: Option<Compared>,
    /// In the order in which it came to know them.
    pub groups: Vec<GroupId>,
    /// Epochs of the Welcomes that it came by last.
    pub joined: BTreeMap<GroupId, u64>,
    /// Messages that it made itself: of those of its account, another device may have made others.
    pub sent: BTreeSet<EventId>,
    /// Groups whose loss it was told of, and of no return to.
    pub out_of: BTreeSet<GroupId>,
}

/// The key of a label, as the recordings have it: committers are compared by their key.
pub fn keys_of(label: &str) -> Keys {
    let mut padded = [0u8; 32];
    let n = label.len().min(32);
    padded[..n].copy_from_slice(&label.as_bytes()[..n]);
    for counter in 0u64.. {
        let mut hash = Sha256::new();
        hash.update(b"marmot-cgka-conformance-nostr-key-v1");
        hash.update(padded);
        hash.update(counter.to_be_bytes());
        if let Ok(keys) = Keys::from_secret(Secret::new(hash.finalize().into())) {
            return keys;
        }
    }
    unreachable!("one of 2^64 hashes is a key")
}

impl Client {
    pub fn new(name: &str, account: &str, path: Option<PathBuf>, clock: &ManualClock) -> Self {
        let mut client = Self {
            name: name.to_owned(),
            keys: keys_of(account),
            engine: None,
            path,
            clock: clock.clone(),
            mailbox: Vec::new(),
            offline: false,
            missed: Vec::new(),
            intents: Vec::new(),
            publications: Vec::new(),
            cursor: 0,
            compared: None,
            groups: Vec::new(),
            joined: BTreeMap::new(),
            sent: BTreeSet::new(),
            out_of: BTreeSet::new(),
        };
        client.start();
        client
    }

    fn start(&mut self) {
        let clock = Arc::new(self.clock.clone());
        // What is said while branches compete is queued (protocol/messages.md C3), as clients do.
        let mut config = Config::default();
        config.settling.speak_undecided = false;
        let keys = self.keys.clone();
        let engine = match &self.path {
            None => Engine::in_memory(keys, config, clock),
            Some(path) => {
                let key = DatabaseKey::Raw(Secret::new([7; 32]));
                Engine::open(path, keys, &key, &OpenOptions::default(), config, clock)
            }
        };
        self.engine = Some(engine.expect("the engine starts"));
    }

    pub fn crash(&mut self) {
        assert!(self.path.is_some(), "only what is on disk can be started again");
        self.engine = None;
    }

    /// Undrained events are gone, the database's obligations are not.
    pub fn restart(&mut self) {
        self.crash();
        self.start();
        self.skip();
    }

    pub fn is_running(&self) -> bool {
        self.engine.is_some()
    }

    /// The engine. Every call is through here, so that no comparison is missed.
    pub fn call<T>(&mut self, f: impl FnOnce(&mut Engine) -> T) -> T {
        let _ = compared::take();
        let engine = self.engine.as_mut().expect("the process runs");
        let value = f(engine);
        if let Some(last) = compared::take() {
            self.compared = Some(last);
        }
        value
    }

    /// What was reported after the cursor.
    pub fn unseen(&mut self) -> Vec<EngineEvent> {
        let mut events: Vec<EngineEvent> = Vec::new();
        let mut after = self.cursor;
        loop {
            let page = self.call(|e| e.events(after, 500)).expect("the log can be read");
            let Some(last) = page.last() else { return events };
            after = last.cursor;
            events.extend(page);
        }
    }

    /// What was reported after the cursor, which moves on.
    pub fn drain(&mut self) -> (Vec<EngineEvent>, Changes) {
        let events = self.unseen();
        self.cursor = events.last().map_or(self.cursor, |e| e.cursor);
        let changes = Changes::of(&events, &self.keys.public_key(), &mut self.out_of);
        (events, changes)
    }

    /// What [`Client::drain`] and a look at what was compared change.
    pub fn mark(&self) -> Mark {
        (self.cursor, self.out_of.clone(), self.compared.clone())
    }

    pub fn back_to(&mut self, mark: Mark) {
        (self.cursor, self.out_of, self.compared) = mark;
    }

    fn skip(&mut self) {
        let _ = self.drain();
    }

    pub fn clear(&mut self) {
        self.compared = None;
        self.skip();
    }

    /// Accepts every invite, and learns of the groups.
    pub fn accept_all(&mut self) -> Result<Vec<(EventId, GroupId)>, String> {
        let invites = self.call(|e| e.invites()).map_err(|e| e.to_string())?;
        for invite in &invites {
            self.call(|e| e.accept(&invite.id)).map_err(|e| format!("accepting: {e}"))?;
            self.knows(&invite.group_id);
        }
        Ok(invites.into_iter().map(|invite| (invite.id, invite.group_id)).collect())
    }

    pub fn knows(&mut self, group: &GroupId) {
        if !self.groups.contains(group) {
            self.groups.push(group.clone());
        }
    }

    pub fn is_member(&mut self, group: &GroupId) -> bool {
        let info = self.call(|e| e.group(group));
        info.is_ok_and(|i| matches!(i.state, GroupState::Active | GroupState::Leaving))
    }

    /// Texts received among the events, its own ones excluded, in order.
    pub fn payloads(&self, events: &[EngineEvent]) -> Vec<String> {
        let text = |e: &EngineEvent| match &e.body {
            EventBody::MessageReceived { message } if !self.sent.contains(&message.id) => {
                Some(message.text.clone())
            }
            _ => None,
        };
        events.iter().filter_map(text).collect()
    }
}
