//! Loaded groups, kept between calls.
//!
//! The database is the truth; what is here mirrors the last committed transaction. A group is *taken* while
//! it is worked on and *put* back only on success, so that every error path drops the possibly diverged copy.

use std::num::NonZeroUsize;

use lru::LruCache;
use mdk_store::GroupRow;
use mdk_wire::GroupId;
use openmls::group::MlsGroup;

/// A group in memory with its row.
pub(crate) struct LoadedGroup {
    pub(crate) mls: MlsGroup,
    pub(crate) row: GroupRow,
}

pub(crate) struct GroupCache {
    groups: LruCache<GroupId, LoadedGroup>,
    /// Groups put back during the current transaction: evicted when it does not commit.
    touched: Vec<GroupId>,
}

impl GroupCache {
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
