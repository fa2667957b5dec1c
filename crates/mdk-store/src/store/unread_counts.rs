//! What is known of how many messages of each group are unread, so that they are not counted anew each time.
//!
//! The count of a group is kept in memory from when it was first asked for, with the position up to which it goes; what
//! came since is added by the next question. Nothing of it is written, since a counter in the file would cost a page with
//! every message. What changes a message that is counted already changes the count with it.

use std::cell::RefCell;
use std::collections::HashMap;

use mdk_wire::GroupId;

/// The unread messages of one group above `after`, as far as `upto`.
#[derive(Clone, Copy)]
pub(crate) struct Count {
    after: i64,
    pub(crate) upto: i64,
    pub(crate) unread: u64,
}

impl Count {
    fn covers(&self, seq: i64) -> bool {
        self.after < seq && seq <= self.upto
    }
}

/// The counts that are known. They are those of the last commit, and what the open transaction made of them.
#[derive(Default)]
pub(crate) struct UnreadCounts {
    known: RefCell<HashMap<GroupId, Count>>,
    /// Groups whose count the open transaction has changed: forgotten when it does not commit.
    touched: RefCell<Vec<GroupId>>,
    /// Messages that were looked at.
    #[cfg(test)]
    pub(crate) looked_at: std::cell::Cell<u64>,
}

impl UnreadCounts {
    /// Whether no count is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.borrow().is_empty()
    }

    /// What is known of the messages of a group above `after`: none counted, if nothing is.
    pub(crate) fn above(&self, group: &GroupId, after: i64) -> Count {
        let known = self.known.borrow().get(group).copied();
        known.filter(|count| count.after == after).unwrap_or(Count {
            after,
            upto: after,
            unread: 0,
        })
    }

    /// What the transaction did is true.
    pub(crate) fn keep(&self) {
        self.touched.borrow_mut().clear();
    }

    /// What the transaction did, or a part of it, is undone.
    pub(crate) fn undo(&self) {
        let mut known = self.known.borrow_mut();
        for group in self.touched.borrow_mut().drain(..) {
            known.remove(&group);
        }
    }

    /// The group is gone: its positions may be given out again.
    pub(crate) fn forget(&self, group: &GroupId) {
        self.known.borrow_mut().remove(group);
    }

    pub(crate) fn put(&self, group: &GroupId, count: Count) {
        self.known.borrow_mut().insert(group.clone(), count);
        self.touched.borrow_mut().push(group.clone());
    }

    /// A message that counted (`was`) at one position counts (`is`) at another one now.
    pub(crate) fn change(&self, group: &GroupId, (from, was): (i64, bool), (to, is): (i64, bool)) {
        let Some(mut count) = self.known.borrow().get(group).copied() else { return };
        if was && count.covers(from) {
            count.unread = count.unread.saturating_sub(1);
        }
        if is && count.covers(to) {
            count.unread = count.unread.saturating_add(1);
        }
        self.put(group, count);
    }
}
