//! Loaded groups, kept between calls.
//!
//! The database is the truth; what is here mirrors the last committed transaction. A group is *taken* while
//! it is worked on and *put* back only on success, so that every error path drops the possibly diverged copy.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use mdk_store::GroupRow;
use mdk_wire::{GroupId, PublicKey};
use openmls::group::MlsGroup;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider};

use crate::ctx::Ctx;
use crate::mls::stage_commit::Judged;
use crate::mls::{capabilities, views};
use crate::model::config::Config;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::state_id::Auth;
use crate::policy::GroupView;
use crate::state_store::buffered_memory::{Dates, Waits};
use crate::state_store::event_keys::Trials;
use crate::state_store::handshakes_tried::Tried;
use crate::state_store::message_order::Said;
use crate::state_store::timestamps::Paces;

/// A group in memory with its row.
pub(crate) struct LoadedGroup {
    pub(crate) mls: MlsGroup,
    pub(crate) row: GroupRow,
    /// The state in the terms of the rules, once it was asked for: building it lifts every member's key.
    view: Option<Arc<GroupView>>,
    /// Our pending commit as it was judged when it was staged.
    pub(crate) judged: Option<Judged>,
}

impl LoadedGroup {
    pub(crate) fn new(mls: MlsGroup, row: GroupRow) -> Self {
        Self { mls, row, view: None, judged: None }
    }

    /// The current state in the terms of the rules.
    pub(crate) fn view(&mut self) -> Arc<GroupView> {
        let mls = &self.mls;
        self.view.get_or_insert_with(|| Arc::new(views::view_of_group(mls))).clone()
    }

    /// A commit was merged that was to lead to `judged`.
    ///
    /// # Errors
    /// [`Error::Internal`]: it has led elsewhere. What was written is undone with its transaction.
    pub(crate) fn merged(&mut self, judged: Arc<GroupView>) -> Result<()> {
        // Who was removed has the state before, with the new context.
        self.view = Some(if self.mls.is_active() {
            let merged = views::view_of_merged(&self.mls, &judged);
            Arc::new(merged.map_err(|_| Error::Internal("a merged state is not what was judged"))?)
        } else {
            judged
        });
        Ok(())
    }

    /// The state has changed to one whose view is known.
    pub(crate) fn set_view(&mut self, view: Arc<GroupView>) {
        self.view = Some(view);
    }
}

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

pub(crate) struct GroupCache {
    groups: LruCache<GroupId, LoadedGroup>,
    /// What held events wait for: a flood of them is read once, not with every call.
    pub(crate) waits: HashMap<GroupId, Waits>,
    /// When held events were made.
    pub(crate) dates: HashMap<GroupId, Dates>,
    /// When what was refused for want of room last, and no key opened, was made: it is as much of a sign as what is held.
    pub(crate) refused: HashMap<GroupId, u64>,
    /// Groups whose dates were made or used up during the current transaction: made anew when it does not commit.
    dated: Vec<GroupId>,
    /// Groups of which a key has opened something during the current transaction that none had: all is tried once more
    /// when it does not commit.
    pub(crate) opened: Vec<GroupId>,
    /// What is to be listened to may be something else than when it was asked for last.
    pub(crate) rerouted: bool,
    /// Groups with branches that compete.
    pub(crate) undecided: HashMap<GroupId, Undecided>,
    /// Who spoke in contested states.
    pub(crate) counted: HashMap<Auth, BTreeSet<PublicKey>>,
    /// States in which somebody new has spoken during the current transaction: read again when it does not commit.
    spoken: Vec<Auth>,
    /// Keys that were tried on events.
    pub(crate) trials: Trials,
    /// Inputs that no state took so far.
    pub(crate) tried: Tried,
    /// When it was last looked for what a group holds for too long, and when it is worth looking again, Unix seconds.
    pub(crate) looked_for_old: HashMap<GroupId, Range<u64>>,
    /// How far our messages are dated ahead: known for longer than the groups are loaded.
    pub(crate) paces: Paces,
    /// Our last message of each group.
    pub(crate) said: Said,
    /// Groups in which nobody is back who was put out, as far as it was asked.
    pub(crate) uncontested: HashSet<GroupId>,
    /// Groups put back during the current transaction: evicted when it does not commit.
    touched: Vec<GroupId>,
}

impl GroupCache {
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = NonZeroUsize::new(capacity as usize).unwrap_or(NonZeroUsize::MIN);
        Self {
            groups: LruCache::new(capacity),
            waits: HashMap::new(),
            dates: HashMap::new(),
            refused: HashMap::new(),
            dated: Vec::new(),
            opened: Vec::new(),
            rerouted: false,
            undecided: HashMap::new(),
            counted: HashMap::new(),
            spoken: Vec::new(),
            trials: Trials::default(),
            tried: Tried::default(),
            looked_for_old: HashMap::new(),
            paces: Paces::default(),
            said: Said::default(),
            uncontested: HashSet::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, id: &GroupId) -> Option<LoadedGroup> {
        self.groups.pop(id)
    }

    pub(crate) fn peek(&self, id: &GroupId) -> Option<&LoadedGroup> {
        self.groups.peek(id)
    }

    /// For what leaves no trace in the group.
    pub(crate) fn peek_mut(&mut self, id: &GroupId) -> Option<&mut LoadedGroup> {
        self.groups.peek_mut(id)
    }

    pub(crate) fn put(&mut self, group: LoadedGroup) {
        let id = group.row.id.clone();
        self.touched.push(id.clone());
        self.groups.put(id, group);
    }

    /// The transaction committed: what was put back is true.
    pub(crate) fn keep(&mut self) {
        self.touched.clear();
        self.dated.clear();
        self.opened.clear();
        self.spoken.clear();
        self.paces.keep();
    }

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

    /// The transaction (or a savepoint that began with `mark` entries) was rolled back.
    pub(crate) fn forget_since(&mut self, mark: usize) {
        for id in self.touched.drain(mark.min(self.touched.len())..) {
            self.groups.pop(&id);
        }
        for id in self.dated.drain(..) {
            self.dates.remove(&id);
        }
        for id in self.opened.drain(..) {
            self.waits.remove(&id);
        }
        for state in self.spoken.drain(..) {
            self.counted.remove(&state);
        }
        self.paces.undo();
    }

    pub(crate) fn mark(&self) -> usize {
        self.touched.len()
    }

    pub(crate) fn forget(&mut self, id: &GroupId) {
        self.groups.pop(id);
    }
}

impl<'a> Ctx<'a, '_> {
    /// Takes the group out of the cache, or loads it. Put it back with [`Ctx::put`] on success.
    pub(crate) fn take(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        let mut group = match self.cache.take(id) {
            Some(group) => group,
            None => self.load(self.row(id)?)?,
        };
        if !self.reading {
            configure(self.config, &mut group.mls, &self.tx.mls())?;
        }
        Ok(group)
    }

    /// As [`Ctx::take`], for an operation that needs an accepted, live membership.
    pub(crate) fn take_active(&mut self, id: &GroupId) -> Result<LoadedGroup> {
        match self.cache.peek(id) {
            Some(group) => membership::require_active(&group.row)?,
            None => membership::require_active(&self.row(id)?)?,
        }
        self.take(id)
    }

    pub(crate) fn load(&self, row: GroupRow) -> Result<LoadedGroup> {
        let mls_id = openmls::group::GroupId::from_slice(row.id.as_bytes());
        let mls = MlsGroup::load(&self.tx.mls(), &mls_id)?
            .ok_or(Error::Unrecoverable("MLS rows are missing"))?;
        Ok(LoadedGroup::new(mls, row))
    }

    pub(crate) fn put(&mut self, group: LoadedGroup) {
        self.cache.put(group);
    }
}

/// Gives a group the limits of today's [`Config`]: it keeps those that it was last used with.
pub(crate) fn configure<S: StorageProvider<CURRENT_VERSION>>(
    config: &Config,
    mls: &mut MlsGroup,
    storage: &S,
) -> std::result::Result<(), S::Error> {
    let wanted = capabilities::join_config(config);
    if *mls.configuration() == wanted { Ok(()) } else { mls.set_configuration(storage, &wanted) }
}

pub(crate) fn leaves_of(group: &LoadedGroup, account: &PublicKey) -> Vec<u32> {
    group
        .mls
        .members()
        .filter(|m| m.credential.serialized_content() == account.as_bytes())
        .map(|m| m.index.u32())
        .collect()
}
