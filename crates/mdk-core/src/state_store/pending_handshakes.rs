//! Commits and proposals whose parent or proposals are missing.

use mdk_store::{InputClass, InputRow, InputState, NodeRow, Tx};
use mdk_wire::budget::group::MAX_INPUTS;

use crate::fork_choice::settling::touch;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::model::state_id::Auth;
use crate::state_store::groups::{GroupRows, edit_row};

/// Handshake messages that wait.
pub(crate) struct PendingHandshakes<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) call: Call<'a>,
    pub(crate) rows: &'a mut GroupRows,
    /// Whether the event that is being processed was kept as it came.
    pub(crate) kept_raw: &'a mut bool,
}

impl PendingHandshakes<'_> {
    /// A commit of ours that was made where we have no memory of it (an older copy of the database): see
    /// `operations/settle_branches/runs_elsewhere.rs`.
    pub(crate) fn own_lost(
        &mut self,
        opened: &Opened,
        node: &NodeRow,
        epoch: u64,
    ) -> Result<Verdict, Halt> {
        let now = self.call.now_millis;
        edit_row(self.tx, self.rows, &opened.row.id, |row| touch(&mut row.pass, row.epoch, now))?;
        let parent = Some(node.authenticator);
        let reason = DeferredReason::CannotJudge;
        self.keep_input(
            opened,
            InputClass::Commit,
            epoch,
            (InputState::Verified, parent, None),
            reason,
        )
    }

    /// Keeps a handshake message that needs another state than those that are known.
    pub(crate) fn hold_input(
        &mut self,
        opened: &Opened,
        class: InputClass,
        epoch: u64,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        self.keep_input(opened, class, epoch, (InputState::Waiting, None, None), reason)
    }

    /// As [`PendingHandshakes::hold_input`], with the known facts: its progress, its state, and the time to look again.
    pub(crate) fn keep_input(
        &mut self,
        opened: &Opened,
        class: InputClass,
        epoch: u64,
        (state, parent_auth, due_at): (InputState, Option<Auth>, Option<u64>),
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        let input =
            InputRow { state, parent_auth, due_at, ..opened.input(class, epoch, self.call.now()) };
        let kept = self.tx.put_input(&input, self.call.config.max_held_events.min(MAX_INPUTS))?;
        if kept {
            return Ok(Verdict::Deferred(reason));
        }
        *self.kept_raw = true;
        Ok(Verdict::Deferred(DeferredReason::ResourceRefused))
    }
}
