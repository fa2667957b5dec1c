//! A commit of ours that nobody has: it is forgotten.

use mdk_store::CommitStatus;

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;

impl Ctx<'_> {
    /// No relay has it and none will: forget it. Its bytes stay for the retention window, because a lost
    /// acknowledgement may still bring it back (C2, the note on `discard`).
    pub(crate) fn discard(&mut self, id: i64) -> Result<()> {
        if self.commits().confirmed(id)?.is_some() {
            return Err(Error::NotAllowed("this commit was confirmed: make another change"));
        }
        let pending = self.commits().unresolved(id)?;
        if pending.status == CommitStatus::Exposed {
            return Err(Error::NotAllowed("a relay has this commit: confirm it"));
        }
        if pending.event_json.is_none() {
            self.memory.rows.forget(&pending.group);
            self.tx.delete_group(&pending.group)?;
            return Ok(());
        }
        let mut group = self.take(&pending.group)?;
        self.discard_in_place(&mut group, id)?;
        self.put(group);
        self.effects.follow(FollowUp::RetryBuffered(pending.group.clone()));
        self.effects.follow(FollowUp::CloseIfDue(pending.group));
        Ok(())
    }
}
