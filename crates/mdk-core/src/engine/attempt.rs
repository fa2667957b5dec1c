//! One event of several: refused, it leaves nothing behind.

use mdk_wire::Event;

use crate::ctx::{Ctx, Undo};
use crate::model::error::{Error, Result};
use crate::model::halt::Halt;
use crate::model::outcome::{Rejection, Verdict};

impl Ctx<'_> {
    /// Processes an event so that a rejection leaves nothing behind.
    pub(crate) fn attempt(
        &mut self,
        event: Event,
    ) -> Result<std::result::Result<Verdict, Rejection>> {
        self.records.input.behind = None;
        let verdict = self.guarded(|ctx| ctx.process_event(event))?;
        if let (Err(_), Some((id, at))) = (&verdict, self.records.input.behind.take()) {
            self.gaps().report_behind(&id, at)?;
        }
        Ok(verdict)
    }

    /// Does something so that a rejection leaves nothing behind.
    pub(crate) fn guarded(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<Verdict, Halt>,
    ) -> Result<std::result::Result<Verdict, Rejection>> {
        let mark = self.memory.rows.mark();
        let effects = self.effects.mark();
        let tx = self.tx;
        let written = tx.changes();
        let result = match self.undo {
            Undo::Savepoint => tx.savepoint(|_| f(self)),
            Undo::Unneeded | Undo::Needed => f(self),
        };
        match result {
            Ok(verdict) => Ok(Ok(verdict)),
            Err(halt) => {
                self.forget_since(mark);
                self.effects.undo_to(effects);
                match halt {
                    Halt::Rejected(_)
                        if self.undo != Undo::Savepoint && tx.changes() != written =>
                    {
                        self.undo = Undo::Needed;
                        Err(Error::Internal("an event has to be undone"))
                    }
                    Halt::Rejected(rejection) => Ok(Err(rejection)),
                    Halt::Failed(error) => Err(error),
                }
            }
        }
    }
}
