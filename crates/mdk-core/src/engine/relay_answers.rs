//! What follows from a relay's answer: in the middle of it a commit of ours may become true, with all that follows from that.

use crate::ctx::Ctx;
use crate::engine::follow_ups::Due;
use crate::model::error::{Error, Result};
use crate::model::outbox::{CommitEnd, OutboxChange};
use crate::operations::record_relay_answer::Noted;

impl Ctx<'_> {
    /// Does what follows from an answer that was taken down.
    pub(crate) fn follow_answer(&mut self, noted: Noted) -> Result<OutboxChange> {
        let mut change = OutboxChange::default();
        let (row, first) = match noted {
            Noted::Nothing => return Ok(change),
            Noted::Finished => {
                change.finished = true;
                return Ok(change);
            }
            Noted::Answered { row, first } => (*row, first),
        };
        let published = if first { self.first_published(&row)? } else { None };
        let end = published.map(|commit| self.settle_published(commit)).transpose()?;
        if let Some((row, commit)) = self.conclude(row, first, end, &mut change)? {
            change.commit = Some(self.settle_published(commit)?);
            self.was_taken(row)?;
        }
        Ok(change)
    }

    /// A relay has a commit of ours: it becomes true, or has lost.
    fn settle_published(&mut self, pending: i64) -> Result<CommitEnd> {
        if let Some(end) = self.known_end(pending)? {
            return Ok(end);
        }
        let commit = self.commits().unresolved(pending)?;
        match self.confirm(pending) {
            Ok(_) => {
                self.work_off(Due::All)?;
                self.end_of(&commit)
            }
            Err(Error::CommitLost) => {
                self.let_go_of_lost(pending)?;
                self.work_off(Due::All)?;
                Ok(CommitEnd::Lost)
            }
            Err(error) => Err(error),
        }
    }
}
