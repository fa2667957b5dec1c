//! The rows of groups, and the rights that the settling window of one gives.

use std::collections::HashMap;

use mdk_store::{GroupRow, GroupStatus, PassRow, Tx};
use mdk_wire::GroupId;

use crate::fork_choice::settling::SettlingTimes;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::state_store::declined_invites::is_declined;

/// The facts of a group that is loaded.
struct Known {
    row: GroupRow,
    /// OpenMLS has no commit of ours that is pending.
    idle: bool,
}

/// The rows of loaded groups, as the current transaction has them. A group that is being worked on has none here: its
/// worker has it. A loaded group without a row is not used any more.
#[derive(Default)]
pub(crate) struct GroupRows {
    known: HashMap<GroupId, Known>,
    /// Groups put back during the current transaction: forgotten when it does not commit.
    touched: Vec<GroupId>,
    /// Groups that were forgotten, and may be loaded still.
    gone: Vec<GroupId>,
}

impl GroupRows {
    pub(crate) fn get(&self, id: &GroupId) -> Option<&GroupRow> {
        self.known.get(id).map(|known| &known.row)
    }

    pub(crate) fn take(&mut self, id: &GroupId) -> Option<GroupRow> {
        self.known.remove(id).map(|known| known.row)
    }

    pub(crate) fn put(&mut self, row: GroupRow, idle: bool) {
        let id = row.id.clone();
        self.touched.push(id.clone());
        self.known.insert(id, Known { row, idle });
    }

    /// For changing it, on disk too.
    fn edit(&mut self, id: &GroupId) -> Option<&mut GroupRow> {
        let known = self.known.get_mut(id)?;
        self.touched.push(id.clone());
        Some(&mut known.row)
    }

    pub(crate) fn forget(&mut self, id: &GroupId) {
        if self.known.remove(id).is_some() {
            self.gone.push(id.clone());
        }
    }

    /// The transaction committed: rows that were put back are true.
    pub(crate) fn committed(&mut self) {
        self.touched.clear();
    }

    /// The transaction (or a savepoint that began with `mark` entries) was rolled back.
    pub(crate) fn forget_since(&mut self, mark: usize) {
        for id in self.touched.split_off(mark.min(self.touched.len())) {
            self.forget(&id);
        }
    }

    pub(crate) fn mark(&self) -> usize {
        self.touched.len()
    }

    /// Groups of which nothing is to stay loaded.
    pub(crate) fn take_gone(&mut self) -> Vec<GroupId> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|id| !self.known.contains_key(id));
        gone
    }
}

/// The rows of groups.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) rows: &'a GroupRows,
}

impl Groups<'_> {
    /// The pass of a group, read as cheaply as it can be: every event asks.
    pub(crate) fn pass_of(&self, id: &GroupId) -> Result<PassRow> {
        match self.rows.get(id) {
            Some(row) => Ok(row.pass),
            None => Ok(self.row(id)?.pass),
        }
    }

    /// The row as this transaction has it.
    pub(crate) fn current_row(&self, id: &GroupId) -> Result<GroupRow> {
        self.cached_row(id).map_or_else(|| self.row(id), Ok)
    }

    /// The group's row, or `GroupNotFound`.
    pub(crate) fn row(&self, id: &GroupId) -> Result<GroupRow> {
        row(self.tx, id)
    }

    /// The row of a group that its user knows of, or `GroupNotFound`: one whose founding commit is not confirmed is not
    /// there yet, for any call.
    pub(crate) fn listed(&self, id: &GroupId) -> Result<GroupRow> {
        let row = self.current_row(id)?;
        membership::state(row.status).ok_or(Error::GroupNotFound)?;
        if row.status != GroupStatus::Active && is_declined(self.tx, id)? {
            return Err(Error::GroupNotFound);
        }
        Ok(row)
    }

    /// The row of a cached group, without touching the database.
    pub(crate) fn cached_row(&self, id: &GroupId) -> Option<GroupRow> {
        self.rows.get(id).cloned()
    }

    // rule: C2-4 while a commit of the user's is being published everything else waits
    pub(crate) fn publishing(&self, row: &GroupRow) -> Result<bool> {
        // OpenMLS has the pending commits too, except that of a founding: mostly none, which needs no query.
        let idle = self.rows.known.get(&row.id).is_some_and(|known| known.idle);
        if idle && row.status != GroupStatus::Founding {
            return Ok(false);
        }
        Ok(self.tx.pending_of(&row.id)?.is_some_and(|pending| !pending.automatic))
    }
}

fn row(tx: &Tx<'_>, id: &GroupId) -> Result<GroupRow> {
    tx.group(id)?.ok_or(Error::GroupNotFound)
}

/// Changes a group's row, in memory too.
pub(crate) fn edit_row(
    tx: &Tx<'_>,
    rows: &mut GroupRows,
    id: &GroupId,
    edit: impl FnOnce(&mut GroupRow),
) -> Result<GroupRow> {
    if let Some(row) = rows.edit(id) {
        edit(row);
        tx.update_group(row)?;
        return Ok(row.clone());
    }
    let mut row = row(tx, id)?;
    edit(&mut row);
    tx.update_group(&row)?;
    Ok(row)
}

/// The settling windows of groups.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a> {
    pub(crate) groups: Groups<'a>,
    pub(crate) call: Call<'a>,
}

impl<'a> Windows<'a> {
    /// The times that a pass of a group waits.
    fn settling_times(&self, id: &GroupId) -> SettlingTimes<'a> {
        let Call { config, hints, .. } = self.call;
        SettlingTimes {
            quiet: config.settling.quiet_millis,
            hard: config.settling.max_millis,
            fetching_until: hints.more.get(id).copied().unwrap_or(0),
            worked: &hints.worked,
        }
    }

    /// The end of an open pass, in Unix milliseconds. `None`: none is open.
    pub(crate) fn deadline(&self, id: &GroupId, pass: &PassRow) -> Option<u64> {
        self.settling_times(id).deadline(pass)
    }

    /// Whether the open pass is to be closed.
    pub(crate) fn is_due(&self, id: &GroupId, pass: &PassRow) -> bool {
        self.settling_times(id).is_due(pass, self.call.now_millis)
    }

    /// Whether commits of ours have to wait.
    pub(crate) fn is_settling(&self, id: &GroupId) -> Result<bool> {
        let pass = self.groups.pass_of(id)?;
        Ok(pass.opened != 0 && !self.is_due(id, &pass))
    }
}

#[cfg(test)]
mod tests {
    use mdk_wire::{NostrGroupId, Secret};

    use super::*;

    fn row(number: u8) -> GroupRow {
        GroupRow {
            id: GroupId::from_bytes(&[number; 16]).expect("a group id"),
            profile: 2,
            status: GroupStatus::Active,
            epoch: 1,
            join_epoch: 0,
            authenticator: [number; 32],
            event_key: Secret::new([number; 32]),
            nostr_group_id: NostrGroupId::from_bytes([number; 32]),
            name: String::new(),
            description: String::new(),
            relays: Vec::new(),
            admins: Vec::new(),
            members: Vec::new(),
            retention: 0,
            has_image: false,
            welcomer: None,
            created_at: 0,
            self_updated_at: 0,
            last_read: 0,
            welcome: None,
            pass: PassRow::default(),
        }
    }

    /// A savepoint that is rolled back takes with it the rows that were put back or changed since, and none from
    /// before.
    #[test]
    fn what_was_touched_goes_with_its_savepoint() {
        let (old, edited, new) = (row(1), row(2), row(3));
        let mut rows = GroupRows::default();
        rows.put(old.clone(), true);
        rows.put(edited.clone(), true);
        rows.committed();
        let mark = rows.mark();
        rows.edit(&edited.id).expect("a row").epoch = 9;
        rows.put(new.clone(), true);
        rows.forget_since(mark);
        assert_eq!(rows.get(&old.id).map(|row| row.epoch), Some(1));
        assert!(rows.get(&edited.id).is_none() && rows.get(&new.id).is_none());
        assert_eq!(rows.take_gone(), [edited.id, new.id]);
    }

    /// A group that is put back after it was forgotten stays loaded.
    #[test]
    fn what_is_back_is_not_gone() {
        let there = row(1);
        let mut rows = GroupRows::default();
        rows.put(there.clone(), true);
        rows.forget(&there.id);
        rows.put(there.clone(), true);
        assert!(rows.take_gone().is_empty() && rows.take(&there.id).is_some());
    }
}
