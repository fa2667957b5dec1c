//! From an event that anyone can send to an outcome: open, classify, apply.
//!
//! Each stage consumes the type of the one before, so nothing unverified can be applied. Everything runs in
//! the caller's savepoint: what ends as `Halt` leaves no trace.

pub(crate) mod apply;
pub(crate) mod classify;
pub(crate) mod deliver;
pub(crate) mod open;
mod retry;

use mdk_wire::{Event, kind};

use crate::ctx::Ctx;
use crate::halt::Halt;
use crate::outcome::{RejectCode, Rejection, Verdict};

impl Ctx<'_, '_> {
    /// Processes one verified event of any kind.
    pub(crate) fn process_event(&mut self, event: Event) -> Result<Verdict, Halt> {
        match event.kind() {
            kind::GROUP_MESSAGE => self.process_group_message(event),
            kind::GIFT_WRAP => self.process_gift_wrap(&event),
            // Our own KeyPackage coming back from a relay.
            kind::KEY_PACKAGE if event.pubkey() == self.identity.account() => Ok(Verdict::Duplicate),
            _ => Err(Rejection::new(
                RejectCode::TransportRejected,
                "2.4-1",
                "the engine takes kinds 445 and 1059",
            )
            .into()),
        }
    }
}
