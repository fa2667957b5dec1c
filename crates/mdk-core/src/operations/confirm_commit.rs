//! A commit of ours that a relay has: it becomes true.

use mdk_store::{CommitStatus, GroupStatus, NodeRow, PendingRow, Seen};
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::fork_choice::settling::touch;
use crate::mls::settings;
use crate::mls::stage_commit::{Judged, self_removed};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::stored_event::stored_event;
use crate::model::values::GroupInfo;
use crate::state_store::history;
use crate::state_store::log_entry::Stored;

impl Ctx<'_> {
    pub(crate) fn confirm_founding(&mut self, pending: &PendingRow) -> Result<GroupInfo> {
        let mut group = self.take(&pending.group)?;
        group.row.status = GroupStatus::Active;
        self.tx.update_group(&group.row)?;
        self.tx.set_commit_status(pending.id, mdk_store::CommitStatus::Confirmed)?;
        self.tx.release_welcomes(pending.id)?;
        self.post_welcomes(pending)?;
        self.put(group);
        self.log().emit(&pending.group, b"founded", &Stored::Joined)?;
        self.retry_held(&pending.group)?;
        history::info(self.groups(), self.me(), &pending.group)
    }

    /// A relay has the commit: merge it (C2, "Confirm"). Whoever cannot know whether that was done may do it again.
    pub(crate) fn confirm(&mut self, id: i64) -> Result<GroupInfo> {
        if let Some(done) = self.commits().confirmed(id)? {
            return history::info(self.groups(), self.me(), &done.group);
        }
        let pending = self.commits().unresolved(id)?;
        if pending.event_json.is_none() {
            return self.confirm_founding(&pending);
        }
        let mut group = self.take(&pending.group)?;
        if group.row.authenticator != pending.source_auth || group.mls.pending_commit().is_none() {
            return Err(Error::CommitLost);
        }
        let Judged { commit, class, result } = match group.judged.take() {
            Some(judged) => judged,
            None => self.judge_own(&mut group)?,
        };
        let before = settings::settings(group.mls.public_group().group_context())
            .map_err(|_| Error::Internal("own state does not decode"))?;
        let state = self.states().snapshot(&group.row)?;
        // rule: F1-3 what came while it was being published is taken up before the states that open it are let go:
        // the pass that keeps them is over as soon as that is done
        let came = !pending.automatic
            && !self.records.input.batching
            && group.row.pass.opened == 0
            && self.tx.held_count(&pending.group)? > 0;
        if came {
            touch(&mut group.row.pass, pending.source_epoch, self.call.now_millis);
        }
        self.states().retain(&group.row, &state)?;
        let left = self_removed(&commit, &group);
        group
            .mls
            .merge_pending_commit(&self.provider())
            .map_err(Error::bug("merging our commit"))?;
        group.merged(result)?;
        group.row.self_updated_at = self.now();
        let step = Step {
            digest: pending.digest,
            committer: Some(self.me()),
            privileged: class.privileged,
            left,
            sent_at: pending.created_at,
        };
        self.finish_epoch(&mut group, &before, &step)?;
        self.tx.confirm_commit(id)?;
        self.after_restore().note_renewed(&pending.group, id)?;
        if !pending.welcome.is_empty() {
            self.tx.release_welcomes(id)?;
            self.post_welcomes(&pending)?;
        }
        // Under another event it is known by the row of the commit, which stays as long as anything can open it.
        if let Some(event) = &pending.event_id {
            self.tx.mark_seen(event.as_bytes(), Seen::OwnEcho)?;
        }
        let group_id = pending.group.clone();
        let auth = group.row.authenticator;
        self.put(group);
        self.retry_held(&group_id)?;
        if came {
            self.close_unless_moved(&group_id, auth)?;
        }
        self.close_due(&group_id)?;
        history::info(self.groups(), self.me(), &group_id)
    }

    /// Takes up an automatic commit that gave way to another and that a relay has after all, as its own event would when it
    /// comes back: others may follow it (C2-7). Gives its group, if it is true by that.
    pub(crate) fn take_up_published(&mut self, id: i64) -> Result<Option<GroupId>> {
        let gave_way = |row: &PendingRow| row.automatic && row.status == CommitStatus::Discarded;
        let Some(row) = self.tx.pending(id)?.filter(gave_way) else { return Ok(None) };
        let Some(event) = &row.event_json else { return Ok(None) };
        // Whatever is said of it, it is no answer to an event that somebody has sent.
        let _ = self.attempt(stored_event(event)?)?;
        let is_true = |node: &NodeRow| node.canonical && node.commit == Some(row.digest);
        Ok(self.tx.nodes(&row.group)?.iter().any(is_true).then_some(row.group))
    }
}
