//! The number of unread messages of each group, kept so that they are not counted anew each time.
//!
//! The count of a group is kept in memory from the first question on, with the position up to which it goes. The next
//! question adds the messages since. Nothing of it is written, since a counter in the file would cost a page with every
//! message. A change of a message that is counted already changes the count with it.

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

/// The known counts: those of the last commit, with the changes of the open transaction.
#[derive(Default)]
pub(crate) struct UnreadCounts {
    known: RefCell<HashMap<GroupId, Count>>,
    /// Groups whose count the open transaction has changed. They are forgotten when it does not commit.
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

    /// The known count of the messages of a group above `after`. It is zero if nothing is known.
    pub(crate) fn above(&self, group: &GroupId, after: i64) -> Count {
        let known = self.known.borrow().get(group).copied();
        known.filter(|count| count.after == after).unwrap_or(Count {
            after,
            upto: after,
            unread: 0,
        })
    }

    /// Keeps the changes of the transaction.
    pub(crate) fn keep(&self) {
        self.touched.borrow_mut().clear();
    }

    /// Forgets the counts that the transaction has changed: it, or a part of it, was undone.
    pub(crate) fn undo(&self) {
        let mut known = self.known.borrow_mut();
        for group in self.touched.borrow_mut().drain(..) {
            known.remove(&group);
        }
    }

    /// Forgets a group that is gone: its positions may be given out again.
    pub(crate) fn forget(&self, group: &GroupId) {
        self.known.borrow_mut().remove(group);
    }

    pub(crate) fn put(&self, group: &GroupId, count: Count) {
        self.known.borrow_mut().insert(group.clone(), count);
        self.touched.borrow_mut().push(group.clone());
    }

    /// Notes that a message that counted (`was`) at one position now counts (`is`) at another one.
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
