//! Loaded groups, kept between calls.
//!
//! The database is the truth; what is here mirrors the last committed transaction. A group is *taken* while
//! it is worked on and *put* back only on success, so that every error path drops the possibly diverged copy.

use std::num::NonZeroUsize;
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
use crate::policy::GroupView;

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

/// Groups that stay loaded between calls.
pub(crate) struct LoadedGroups {
    groups: LruCache<GroupId, LoadedGroup>,
    /// Groups put back during the current transaction: evicted when it does not commit.
    touched: Vec<GroupId>,
}

impl LoadedGroups {
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = NonZeroUsize::new(capacity as usize).unwrap_or(NonZeroUsize::MIN);
        Self { groups: LruCache::new(capacity), touched: Vec::new() }
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
    }

    /// The transaction (or a savepoint that began with `mark` entries) was rolled back.
    pub(crate) fn forget_since(&mut self, mark: usize) {
        for id in self.touched.drain(mark.min(self.touched.len())..) {
            self.groups.pop(&id);
        }
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
        let mut group = match self.loaded.take(id) {
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
        match self.loaded.peek(id) {
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
        self.loaded.put(group);
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
