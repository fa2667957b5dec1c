//! The groups of an account as they stand, for callers that must not wait for the engine.
//!
//! Each entry is written with the engine in hand, so a later write is never older than an earlier one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mdk_core::{Engine, Error, GroupInfo, Result};
use mdk_wire::GroupId;

/// Snapshots of the groups that the engine was asked for.
#[derive(Debug, Default)]
pub struct KnownGroups(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// With the place in which it is listed: the oldest group first.
    groups: HashMap<GroupId, (u64, GroupInfo)>,
    next: u64,
}

impl KnownGroups {
    /// Reads every group. Returns the cursor of the last event that they have seen.
    ///
    /// # Errors
    /// As [`Engine::groups`].
    pub fn read_all(&self, engine: &mut Engine) -> Result<i64> {
        let (last, groups) = (engine.last_cursor()?, engine.groups(None)?);
        let mut known = self.lock();
        known.groups.clear();
        for group in groups {
            known.keep(group);
        }
        Ok(last)
    }

    /// Reads one group, and keeps it. `None` if there is none with this id; then it is forgotten.
    ///
    /// # Errors
    /// As [`Engine::group`], but for [`Error::GroupNotFound`].
    pub fn read(&self, engine: &mut Engine, id: &GroupId) -> Result<Option<GroupInfo>> {
        match engine.group(id) {
            Ok(group) => {
                self.lock().keep(group.clone());
                Ok(Some(group))
            }
            Err(Error::GroupNotFound) => {
                self.lock().groups.remove(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One group as it was last read.
    #[must_use]
    pub fn get(&self, id: &GroupId) -> Option<GroupInfo> {
        self.lock().groups.get(id).map(|(_, group)| group.clone())
    }

    /// Whether there is a group with this id.
    #[must_use]
    pub fn contains(&self, id: &GroupId) -> bool {
        self.lock().groups.contains_key(id)
    }

    /// Every group as it was last read, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<GroupInfo> {
        let mut groups: Vec<_> = self.lock().groups.values().cloned().collect();
        groups.sort_unstable_by_key(|(place, _)| *place);
        groups.into_iter().map(|(_, group)| group).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No step between two writes of it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn keep(&mut self, group: GroupInfo) {
        let place = self.groups.get(&group.id).map_or(self.next, |(place, _)| *place);
        self.next = self.next.max(place + 1);
        self.groups.insert(group.id.clone(), (place, group));
    }
}
