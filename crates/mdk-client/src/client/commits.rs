//! A user's commit: staged, published, true.

use std::time::Duration;

use mdk_core::{CommitState, Engine, Error, GroupInfo, Pending};
use tokio::time::Instant;

use super::Client;
use crate::error::{ClientError, Result};

/// How long a group settles at most: while its history is being fetched, and by our own work.
const SETTLING: Duration = Duration::from_secs(25);
/// Longest wait before a group that was not ready is tried again, unless something happens before.
const TRY_AGAIN: Duration = Duration::from_millis(500);

impl Client {
    /// Stages a commit with `f` and waits until it is true. A group that is settling, or that has an unresolved commit,
    /// is waited for within `request_timeout`, or as long as a group may settle: `f` may be called several times.
    ///
    /// Cancelling the wait leaves the commit to the outbox.
    ///
    /// # Errors
    /// [`ClientError::CommitLost`], [`ClientError::NoRelayAccepted`] when every relay refused, [`ClientError::Closed`];
    /// errors of `f`.
    pub async fn commit(
        &self,
        f: impl FnMut(&mut Engine) -> mdk_core::Result<Pending> + Send + 'static,
    ) -> Result<GroupInfo> {
        let shared = &self.0.shared;
        let deadline = Instant::now() + shared.options.request_timeout.max(SETTLING);
        let mut changes = shared.changes.subscribe();
        let mut f = Some(f);
        let pending = loop {
            let mut stage = f.take().ok_or(ClientError::Internal("a commit without its maker"))?;
            let (staged, stage) = shared.engine(move |engine| Ok((stage(engine), stage))).await?;
            f = Some(stage);
            let wait = match staged {
                Ok(pending) => break pending,
                Err(Error::Settling { millis }) => Duration::from_millis(millis).min(TRY_AGAIN),
                Err(Error::CommitPending) => TRY_AGAIN,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(staged.err().unwrap_or(Error::CommitPending).into());
            }
            tokio::select! {
                () = shared.until_stopped() => return Err(shared.end()),
                () = tokio::time::sleep_until(deadline.min(now + wait)) => {}
                _ = changes.changed() => {}
            }
        };
        let (id, group) = (pending.id, pending.group_id);
        if pending.event.is_none() {
            // A founding has nobody to compete with.
            let info = shared.engine(move |engine| engine.confirm(id)).await?;
            self.nudge();
            return Ok(info);
        }
        self.nudge();
        self.commit_done(id).await?;
        shared.engine(move |engine| engine.group(&group)).await
    }

    /// Waits until a staged commit is decided, however long that takes.
    ///
    /// # Errors
    /// [`ClientError::CommitLost`], [`ClientError::NoRelayAccepted`], [`ClientError::Closed`].
    pub async fn commit_done(&self, pending: i64) -> Result<()> {
        let shared = &self.0.shared;
        let mut changes = shared.changes.subscribe();
        loop {
            changes.borrow_and_update();
            match shared.engine(move |engine| engine.commit_state(pending)).await? {
                CommitState::Confirmed => return Ok(()),
                CommitState::Lost => return Err(ClientError::CommitLost),
                CommitState::Refused { reasons } => {
                    return Err(ClientError::NoRelayAccepted { reasons });
                }
                CommitState::Waiting => {}
            }
            tokio::select! {
                () = shared.until_stopped() => return Err(shared.end()),
                _ = changes.changed() => {}
            }
        }
    }
}
