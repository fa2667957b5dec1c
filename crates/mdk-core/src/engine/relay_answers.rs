//! The consequences of a relay's answer. In the middle of it a commit of ours may become true, with all that follows
//! from that.

use crate::engine::ctx::Ctx;
use crate::engine::follow_ups::Due;
use crate::model::error::{Error, Result};
use crate::model::outbox::{CommitEnd, OutboxChange};
use crate::operations::record_relay_answer::noted::Noted;
use crate::operations::{confirm_commit, record_relay_answer};

impl Ctx<'_> {
    /// Does the work that follows from a noted answer.
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
        let published = if first {
            record_relay_answer::first_published(self.work.records.tx, &row)?
        } else {
            None
        };
        let end = published.map(|commit| self.settle_published(commit)).transpose()?;
        if let Some((row, commit)) =
            record_relay_answer::conclude(&mut self.work.records, row, first, end, &mut change)?
        {
            change.commit = Some(self.settle_published(commit)?);
            record_relay_answer::was_taken(self.work.records.tx, row)?;
        }
        Ok(change)
    }

    /// A relay has a commit of ours: it becomes true, or has lost.
    fn settle_published(&mut self, pending: i64) -> Result<CommitEnd> {
        if let Some(end) = record_relay_answer::known_end(&self.work.records, pending)? {
            return Ok(end);
        }
        let commit = self.work.records.commits().unresolved(pending)?;
        match confirm_commit::confirm(&mut self.work, pending) {
            Ok(_) => {
                self.work_off(Due::All)?;
                record_relay_answer::end_of(&self.work.records, &commit)
            }
            Err(Error::CommitLost) => {
                record_relay_answer::let_go_of_lost(&mut self.work, pending)?;
                self.work_off(Due::All)?;
                Ok(CommitEnd::Lost)
            }
            Err(error) => Err(error),
        }
    }
}
