//! The rows of groups, and what the settling window of one allows.

use mdk_store::{GroupRow, PassRow};
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};
use crate::model::limits::MOST_FETCHED;
use crate::model::membership;
use crate::operations::send_message::MINUTE;

impl Ctx<'_, '_> {
    /// When an open pass is over, in Unix milliseconds. `None`: none is open.
    ///
    /// Closing lets go of states that the next page of a history may still be read in. So time in which we were at work is
    /// not counted, because nobody could give us that page meanwhile, and while a history is being fetched it waits on.
    pub(crate) fn deadline(&self, id: &GroupId, pass: &PassRow) -> Option<u64> {
        let after = |from: u64, millis: u64| {
            from.saturating_add(millis).saturating_add(self.worked.since(from))
        };
        (pass.opened != 0).then(|| {
            let quiet = after(pass.relevant, self.config.settle_quiet_millis);
            let over = quiet.min(after(pass.opened, self.config.settle_max_millis));
            let more = self.more.get(id).copied().unwrap_or(0);
            over.max(more.min(pass.opened.saturating_add(MOST_FETCHED)))
        })
    }

    /// Whether the open pass is to be closed. (rule: E5-2; a clock that went back closes it)
    pub(crate) fn is_due(&self, id: &GroupId, pass: &PassRow) -> bool {
        self.deadline(id, pass)
            .is_some_and(|at| at <= self.now_millis || self.now_millis < pass.relevant)
    }

    /// The pass of a group, read as cheaply as it can be: every event asks.
    pub(crate) fn pass_of(&self, id: &GroupId) -> Result<PassRow> {
        match self.cache.peek(id) {
            Some(group) => Ok(group.row.pass),
            None => Ok(self.row(id)?.pass),
        }
    }

    /// The row as this transaction has it.
    pub(crate) fn current_row(&self, id: &GroupId) -> Result<GroupRow> {
        self.cached_row(id).map_or_else(|| self.row(id), Ok)
    }

    /// Changes a group's row, in the cache too.
    pub(crate) fn edit_row(
        &mut self,
        id: &GroupId,
        edit: impl FnOnce(&mut GroupRow),
    ) -> Result<GroupRow> {
        if let Some(mut group) = self.cache.take(id) {
            edit(&mut group.row);
            self.tx.update_group(&group.row)?;
            let row = group.row.clone();
            self.put(group);
            return Ok(row);
        }
        let mut row = self.row(id)?;
        edit(&mut row);
        self.tx.update_group(&row)?;
        Ok(row)
    }

    /// Whether commits of ours have to wait.
    pub(crate) fn is_settling(&self, id: &GroupId) -> Result<bool> {
        let pass = self.pass_of(id)?;
        Ok(pass.opened != 0 && !self.is_due(id, &pass))
    }
}

impl<'a> Ctx<'a, '_> {
    /// The group's row, or `GroupNotFound`.
    pub(crate) fn row(&self, id: &GroupId) -> Result<GroupRow> {
        self.tx.group(id)?.ok_or(Error::GroupNotFound)
    }

    /// The row of a group that its user knows of, or `GroupNotFound`: one whose founding commit is not confirmed is not
    /// there yet, for any call.
    pub(crate) fn listed(&self, id: &GroupId) -> Result<GroupRow> {
        let row = self.cached_row(id).map_or_else(|| self.row(id), Ok)?;
        membership::state(row.status).ok_or(Error::GroupNotFound)?;
        Ok(row)
    }

    /// The row of a cached group, without touching the database.
    pub(crate) fn cached_row(&self, id: &GroupId) -> Option<GroupRow> {
        self.cache.peek(id).map(|group| group.row.clone())
    }
}

impl Ctx<'_, '_> {
    /// rule: C3-1 (not while a commit of the user's is unresolved)
    // rule: C3-9 while branches compete what a client says waits: on the one that loses nobody would read it
    /// Not for a loser of an earlier choice, and in a minute not for longer than one choice takes: where they follow each
    /// other without end it is said on the branch that is followed.
    pub(crate) fn require_decided(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        membership::require_active(&row)?;
        let now = self.now_millis;
        let Some(known) = self.cache.undecided.get_mut(id) else { return Ok(()) };
        let open = row.pass.opened != 0 && known.rival >= row.pass.opened;
        if self.config.speak_undecided || !open {
            return Ok(());
        }
        let waited = now.checked_sub(known.silent).filter(|waited| *waited < MINUTE).unwrap_or(0);
        known.silent = now - waited;
        let left = self.config.settle_max_millis.saturating_sub(waited);
        match self.require_settled(id) {
            Err(Error::Settling { millis }) if left > 0 => {
                Err(Error::Settling { millis: millis.min(left) })
            }
            Err(Error::Settling { .. }) => Ok(()),
            decided => decided,
        }
    }
}
