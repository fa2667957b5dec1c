//! A commit of ours that nobody has: it is forgotten.

use mdk_store::CommitStatus;

use crate::mls::own_commit;
use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;

/// No relay has it and none will: forget it. Its bytes stay for the retention window, because a lost
/// acknowledgement may still bring it back (C2, the note on `discard`).
pub(crate) fn discard(work: &mut Work<'_>, id: i64) -> Result<()> {
    if work.records.commits().confirmed(id)?.is_some() {
        return Err(Error::NotAllowed("this commit was confirmed: make another change"));
    }
    let pending = work.records.commits().unresolved(id)?;
    if pending.status == CommitStatus::Exposed {
        return Err(Error::NotAllowed("a relay has this commit: confirm it"));
    }
    if pending.event_json.is_none() {
        work.records.memory.rows.forget(&pending.group);
        work.records.tx.delete_group(&pending.group)?;
        return Ok(());
    }
    let mut group = work.take(&pending.group)?;
    own_commit::discard_in_place(work, &mut group, id)?;
    work.put(group);
    work.records.effects.follow(FollowUp::RetryBuffered(pending.group.clone()));
    work.records.effects.follow(FollowUp::CloseIfDue(pending.group));
    Ok(())
}
