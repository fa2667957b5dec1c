//! Loaded groups, kept between calls.
//!
//! The database is the truth; the memory here mirrors the last committed transaction. A group is *taken* while
//! it is worked on and *put* back only on success, so that every error path drops the possibly diverged copy.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use mdk_store::GroupRow;
use mdk_wire::{GroupId, PublicKey};
use openmls::group::MlsGroup;

use crate::mls::capabilities::account_of;
use crate::mls::views;
use crate::model::error::{Error, Result};
use crate::policy::{CommitClass, CommitView, GroupView};
use crate::state_store::groups::GroupRows;

/// Our own commit as a peer would see it, and the state it leads to.
pub(crate) struct Judged {
    pub(crate) commit: CommitView,
    pub(crate) class: CommitClass,
    pub(crate) result: Arc<GroupView>,
}

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
    /// [`Error::Internal`]: it has led elsewhere. Its writes are undone with its transaction.
    pub(crate) fn merged(&mut self, judged: Arc<GroupView>) -> Result<()> {
        // A removed member has the state before, with the new context.
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

/// The parts of a group that stay in memory, apart from its row.
struct Loaded {
    mls: MlsGroup,
    view: Option<Arc<GroupView>>,
    judged: Option<Judged>,
}

/// Groups that stay loaded between calls. Each is good for as long as its row is in [`GroupRows`], where it goes with the
/// transaction that changed it.
pub(crate) struct LoadedGroups(LruCache<GroupId, Loaded>);

impl LoadedGroups {
    pub(crate) fn new(capacity: u32) -> Self {
        let capacity = NonZeroUsize::new(capacity as usize).unwrap_or(NonZeroUsize::MIN);
        Self(LruCache::new(capacity))
    }

    pub(crate) fn take(&mut self, rows: &mut GroupRows, id: &GroupId) -> Option<LoadedGroup> {
        let (loaded, row) = (self.0.pop(id), rows.take(id));
        let Loaded { mls, view, judged } = loaded?;
        Some(LoadedGroup { mls, row: row?, view, judged })
    }

    pub(crate) fn peek(&self, rows: &GroupRows, id: &GroupId) -> Option<&MlsGroup> {
        rows.get(id)?;
        self.0.peek(id).map(|loaded| &loaded.mls)
    }

    /// Lends a group for work that leaves no trace in it.
    pub(crate) fn peek_mut(&mut self, rows: &GroupRows, id: &GroupId) -> Option<&mut MlsGroup> {
        rows.get(id)?;
        self.0.peek_mut(id).map(|loaded| &mut loaded.mls)
    }

    pub(crate) fn put(&mut self, rows: &mut GroupRows, group: LoadedGroup) {
        let LoadedGroup { mls, row, view, judged } = group;
        let id = row.id.clone();
        rows.put(row, mls.pending_commit().is_none());
        if let Some((least_used, _)) = self.0.push(id.clone(), Loaded { mls, view, judged })
            && least_used != id
        {
            rows.forget(&least_used);
        }
    }

    /// A transaction has ended: groups that were forgotten meanwhile do not stay in memory.
    pub(crate) fn let_go(&mut self, rows: &mut GroupRows) {
        for id in rows.take_gone() {
            self.0.pop(&id);
        }
    }
}

/// All leaves, by their accounts.
pub(crate) fn leaves_by_account(group: &LoadedGroup) -> HashMap<PublicKey, Vec<u32>> {
    let mut leaves: HashMap<_, Vec<u32>> = HashMap::new();
    for member in group.mls.members() {
        if let Some(account) = account_of(&member.credential) {
            leaves.entry(account).or_default().push(member.index.u32());
        }
    }
    leaves
}

/// The leaves of one account.
pub(crate) fn leaves_of(group: &LoadedGroup, account: &PublicKey) -> Vec<u32> {
    group
        .mls
        .members()
        .filter(|m| m.credential.serialized_content() == account.as_bytes())
        .map(|m| m.index.u32())
        .collect()
}
