//! The retained states of the groups in use, kept in memory so that no event has to read all of them.
//!
//! The states of a group are read once. Every change of a row changes the states here, too, and a change that is undone
//! is forgotten. A group retains some hundreds of states at most. Of several groups no more than [`MOST`] states are
//! kept.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mdk_wire::{GroupId, SecretVec};

use crate::store::tables::epoch_state_row::NodeRow;

/// The most states that are kept of all groups together, unless one group alone has more.
const MOST: usize = 2_048;

#[derive(Clone)]
struct Entry {
    node: Arc<NodeRow>,
    seq: i64,
    number: u64,
}

/// The states of a group at the time of the question, without their MLS rows.
#[derive(Clone, Default)]
pub struct States {
    /// The states as [`Tx::nodes`](crate::Tx::nodes) sorts them.
    entries: Arc<Vec<Entry>>,
    newest: u64,
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

impl States {
    /// The states, newest epoch first; within an epoch the one stored last first.
    pub fn iter(&self) -> impl Iterator<Item = &NodeRow> {
        self.entries.iter().map(|entry| &*entry.node)
    }

    /// The same, each with a number that is higher than the numbers of all states before it. A state whose key has
    /// changed, or that was removed and is there again, has a new number.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &NodeRow)> {
        self.entries.iter().map(|entry| (entry.number, &*entry.node))
    }

    /// The state with this authenticator.
    #[must_use]
    pub fn get(&self, authenticator: &[u8; 32]) -> Option<&NodeRow> {
        self.iter().find(|node| node.authenticator == *authenticator)
    }

    /// The highest number so far. Every later state gets a higher one.
    #[must_use]
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// The entry of the row with this number in the file.
    fn at(&mut self, seq: i64) -> Option<&mut Entry> {
        Arc::make_mut(&mut self.entries).iter_mut().find(|entry| entry.seq == seq)
    }

    fn sort(&mut self) {
        let entries = Arc::make_mut(&mut self.entries);
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse((entry.node.epoch, entry.seq)));
    }

    /// Stores a row, or replaces the one with its number in the file.
    pub(crate) fn store(&mut self, row: &NodeRow, seq: i64, numbers: &KnownStates) {
        match self.at(seq) {
            Some(entry) => {
                let same = entry.node.authenticator == row.authenticator
                    && entry.node.removed == row.removed
                    && entry.node.event_key == row.event_key;
                entry.node = Arc::new(bare(row));
                if !same {
                    entry.number = numbers.next();
                    self.newest = entry.number;
                }
            }
            None => {
                self.newest = numbers.next();
                let entry = Entry { node: Arc::new(bare(row)), seq, number: self.newest };
                Arc::make_mut(&mut self.entries).push(entry);
            }
        }
        self.sort();
    }

    /// Gives a row the number in the file of another row, which goes. A copy with the name `left_as` stays at the old
    /// number.
    pub(crate) fn relocate(&mut self, from: i64, to: i64, left_as: [u8; 32]) {
        let entries = Arc::make_mut(&mut self.entries);
        entries.retain(|entry| entry.seq != to);
        if let Some(at) = entries.iter().position(|entry| entry.seq == from) {
            let mut left = entries[at].clone();
            entries[at].seq = to;
            Arc::make_mut(&mut left.node).authenticator = left_as;
            entries.push(left);
        }
        self.sort();
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&NodeRow) -> bool) {
        if self.iter().any(|node| !keep(node)) {
            Arc::make_mut(&mut self.entries).retain(|entry| keep(&entry.node));
        }
    }

    pub(crate) fn set_canonical(&mut self, authenticator: &[u8; 32], canonical: bool) {
        let entries = Arc::make_mut(&mut self.entries);
        if let Some(entry) = entries.iter_mut().find(|e| e.node.authenticator == *authenticator) {
            Arc::make_mut(&mut entry.node).canonical = canonical;
        }
    }

    /// The number in the file of a state with this authenticator.
    pub(crate) fn seq(&self, authenticator: &[u8; 32]) -> Option<i64> {
        self.entries.iter().find(|e| e.node.authenticator == *authenticator).map(|entry| entry.seq)
    }

    /// The number in the file of the state with the lowest name among the states before an epoch, except one.
    pub(crate) fn before(&self, min_epoch: u64, except: &[u8; 32]) -> Option<i64> {
        let old = self.entries.iter().rev().take_while(|entry| entry.node.epoch < min_epoch);
        let old = old.filter(|entry| entry.node.authenticator != *except);
        old.min_by_key(|entry| entry.node.authenticator).map(|entry| entry.seq)
    }
}

/// The row as [`Tx::nodes`](crate::Tx::nodes) gives it.
fn bare(row: &NodeRow) -> NodeRow {
    NodeRow {
        group: row.group.clone(),
        authenticator: row.authenticator,
        epoch: row.epoch,
        parent: row.parent,
        commit: row.commit,
        committer: row.committer,
        privileged: row.privileged,
        canonical: row.canonical,
        removed: row.removed,
        history: row.history,
        made_at: row.made_at,
        sent_at: row.sent_at,
        event_key: row.event_key.clone(),
        nostr_group_id: row.nostr_group_id,
        relays: row.relays.clone(),
        retention: row.retention,
        state: SecretVec::new(Vec::new()),
    }
}

/// The known states: those of the last commit, with the changes of the open transaction.
#[derive(Default)]
pub(crate) struct KnownStates {
    groups: RefCell<HashMap<GroupId, States>>,
    /// Groups whose states the open transaction has changed. They are forgotten when it does not commit.
    touched: RefCell<Vec<GroupId>>,
    number: Cell<u64>,
    /// Rows that were read.
    read: Cell<u64>,
    /// Groups whose row was written, also by what was undone; see
    /// [`Tx::take_written_groups`](crate::Tx::take_written_groups).
    pub(crate) written: RefCell<BTreeSet<GroupId>>,
    /// See [`Tx::steps`](crate::Tx::steps).
    pub(crate) steps: Cell<u64>,
}

impl KnownStates {
    fn next(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// The known states of a group.
    pub(crate) fn of(&self, group: &GroupId) -> Option<States> {
        self.groups.borrow().get(group).cloned()
    }

    /// The states of a group that were just read, each with its number in the file, as
    /// [`Tx::nodes`](crate::Tx::nodes) sorts them.
    pub(crate) fn learn(&self, group: &GroupId, rows: Vec<(NodeRow, i64)>) -> States {
        let entries: Vec<_> = rows
            .into_iter()
            .map(|(node, seq)| Entry { node: Arc::new(node), seq, number: self.next() })
            .collect();
        self.read.set(self.read.get() + entries.len() as u64);
        let states = States { entries: Arc::new(entries), newest: self.number.get() };
        self.put(group, states.clone());
        // The rows may have been made by the open transaction.
        self.touched.borrow_mut().push(group.clone());
        states
    }

    /// Rows that were read so far.
    pub(crate) fn rows_read(&self) -> u64 {
        self.read.get()
    }

    /// Keeps the changes of the transaction.
    pub(crate) fn keep(&self) {
        self.touched.borrow_mut().clear();
    }

    /// Forgets the states of groups that the transaction has changed: it, or a part of it, was undone.
    pub(crate) fn undo(&self) {
        let mut groups = self.groups.borrow_mut();
        for group in self.touched.borrow_mut().drain(..) {
            groups.remove(&group);
        }
    }

    /// Forgets all states, after a change that is not followed here.
    pub(crate) fn forget(&self) {
        self.groups.borrow_mut().clear();
    }

    /// Takes out the known states of a group, to be put back when a change of the rows has been made. A change that
    /// fails leaves nothing here.
    pub(crate) fn take(&self, group: &GroupId) -> Option<States> {
        let known = self.groups.borrow_mut().remove(group)?;
        let mut touched = self.touched.borrow_mut();
        if !touched.contains(group) {
            touched.push(group.clone());
        }
        Some(known)
    }

    pub(crate) fn put(&self, group: &GroupId, states: States) {
        let mut groups = self.groups.borrow_mut();
        let known: usize = groups.values().map(|states| states.entries.len()).sum();
        if known + states.entries.len() > MOST {
            groups.clear();
        }
        groups.insert(group.clone(), states);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
