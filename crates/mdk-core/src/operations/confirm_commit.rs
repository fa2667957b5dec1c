//! A commit of ours that a relay has: it becomes true.

use mdk_store::{CommitStatus, GroupStatus, NodeRow, PendingRow, Seen};
use mdk_wire::{Event, GroupId};

use crate::ctx::Ctx;
use crate::fork_choice::settling::touch;
use crate::mls::settings;
use crate::mls::stage_commit::{Judged, self_removed};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::stored_event::stored_event;
use crate::state_store::log_entry::Stored;

impl Ctx<'_> {
    pub(crate) fn confirm_founding(&mut self, pending: &PendingRow) -> Result<GroupId> {
        let mut group = self.take(&pending.group)?;
        group.row.status = GroupStatus::Active;
        self.tx.update_group(&group.row)?;
        self.tx.set_commit_status(pending.id, mdk_store::CommitStatus::Confirmed)?;
        self.tx.release_welcomes(pending.id)?;
        self.post_welcomes(pending)?;
        self.put(group);
        self.log().emit(&pending.group, b"founded", &Stored::Joined)?;
        self.effects.follow(FollowUp::RetryBuffered(pending.group.clone()));
        Ok(pending.group.clone())
    }

    /// A relay has the commit: merge it (C2, "Confirm"). Whoever cannot know whether that was done may do it again.
    pub(crate) fn confirm(&mut self, id: i64) -> Result<GroupId> {
        if let Some(done) = self.commits().confirmed(id)? {
            return Ok(done.group);
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
        self.effects.follow(FollowUp::RetryBuffered(group_id.clone()));
        if came {
            self.effects.follow(FollowUp::EndHold(group_id.clone(), auth));
        }
        self.effects.follow(FollowUp::CloseIfDue(group_id.clone()));
        Ok(group_id)
    }

    /// An automatic commit that gave way to another and that a relay has after all, with its event: it is taken up as that
    /// event would be when it comes back, since others may follow it (C2-7).
    pub(crate) fn published_after_all(&self, id: i64) -> Result<Option<(PendingRow, Event)>> {
        let gave_way = |row: &PendingRow| row.automatic && row.status == CommitStatus::Discarded;
        let Some(row) = self.tx.pending(id)?.filter(gave_way) else { return Ok(None) };
        let event = row.event_json.as_deref().map(stored_event).transpose()?;
        Ok(event.map(|event| (row, event)))
    }

    /// Whether a commit of ours is one of the branch that is followed.
    pub(crate) fn is_followed(&self, commit: &PendingRow) -> Result<bool> {
        let is_true = |node: &NodeRow| node.canonical && node.commit == Some(commit.digest);
        Ok(self.tx.nodes(&commit.group)?.iter().any(is_true))
    }
}
