//! Deleted content leaves the write-ahead log, too.
//!
//! SQLite wipes what is deleted from the database file (`PRAGMA secure_delete`). The log keeps earlier copies of its
//! pages until it is cut.

use std::sync::atomic::Ordering;

use super::{Store, checkpoint};
use crate::Result;

/// The erased content that is still in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Erased {
    #[default]
    Nothing,
    /// States of epochs that are over; every commit leaves one. They wait for [`Store::forget_erased`], because a log
    /// that was cut is slow until it has its length again.
    ///
    /// [`Store::forget_erased`]: crate::Store::forget_erased
    Epochs,
    /// Content that a user deleted, or that has expired. It is gone when the log is next begun anew.
    Content,
}

impl Store {
    /// Moves the write-ahead log when it has become long. The earlier commit is durable, with any outcome of this.
    pub(super) fn tend_log(&mut self, before: i32) {
        // The next commit after a move begins the log anew, so the number tells when it is long again.
        let frames = self.log_frames.load(Ordering::Relaxed);
        // The first commit of a log syncs its head and its end. If it is long enough by itself, the next commit moves
        // the log: no call syncs more than twice.
        let begun = before == 0;
        let short = frames < checkpoint::CHECKPOINT_PAGES || frames == before;
        if begun || short || self.require_owner().is_err() {
            return;
        }
        match self.conn().and_then(checkpoint::move_log) {
            // Nothing in the log is needed now. If the commit that begins it anew fails, a recovery must not find that
            // commit: it is at the beginning, not behind the frames that were moved.
            Ok(true) => {
                self.log_was_emptied();
                let cut = self.erased.get() == Erased::Content;
                if cut && self.conn().is_ok_and(|conn| checkpoint::truncate(conn).is_ok()) {
                    self.erased.take();
                }
            }
            Ok(false) => {}
            Err(_) => self.broken = true,
        }
    }

    /// Takes deleted content out of the write-ahead log, too. The frames of the log are overwritten one by one as it is
    /// used again, and some of them hardly ever. It costs nothing where nothing was deleted since the last time.
    /// Otherwise it costs one sync, and the room of the log, which comes back by use.
    ///
    /// # Errors
    /// A [`StoreError`]; the next call tries it again.
    pub fn forget_erased(&mut self) -> Result<()> {
        if self.home.is_none() || self.erased.get() == Erased::Nothing {
            return Ok(());
        }
        self.require_owner()?;
        self.mend()?;
        match checkpoint::move_log(self.conn()?) {
            Ok(true) => {}
            // Another connection reads an old state.
            Ok(false) => return Ok(()),
            Err(error) => {
                self.broken = true;
                return Err(error);
            }
        }
        self.log_was_emptied();
        checkpoint::truncate(self.conn()?)?;
        self.erased.take();
        Ok(())
    }
}
