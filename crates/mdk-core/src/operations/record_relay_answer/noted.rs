//! An answer, taken down in a row.

use mdk_store::{OutgoingRow, SendState};

use crate::model::outbox::RelayVerdict;
use crate::state_store::outbox::add_target;

/// An answer that was taken down.
pub(crate) enum Noted {
    /// It says nothing new.
    Nothing,
    /// The event is not there any more, or finished.
    Finished,
    /// The consequences are still to be carried out; `first` if a relay has the event for the first time.
    Answered { row: Box<OutgoingRow>, first: bool },
}

/// Takes an answer down. False if it says nothing new.
pub(crate) fn note(row: &mut OutgoingRow, relay: &str, verdict: RelayVerdict) -> bool {
    row.attempts = row.attempts.saturating_add(1);
    if verdict == RelayVerdict::Accepted {
        add_target(&mut row.targets, relay);
    }
    let target = row.targets.iter_mut().find(|target| target.relay == relay);
    // A relay that has it has it.
    let Some(target) = target.filter(|target| target.state != SendState::Accepted) else {
        return false;
    };
    target.attempts = target.attempts.saturating_add(1);
    target.next_at = 0;
    match verdict {
        RelayVerdict::Accepted => {
            target.state = SendState::Accepted;
            target.reason = None;
        }
        RelayVerdict::Refused { reason } => {
            target.state = SendState::Refused;
            target.reason = Some(cut(reason));
        }
        RelayVerdict::Later { .. } if target.state == SendState::Refused => return false,
        RelayVerdict::Later { reason, next_at } => {
            target.next_at = next_at;
            target.reason = Some(cut(reason));
        }
    }
    true
}

/// Longest text of a relay that is kept, in bytes.
const MAX_REASON: usize = 512;

/// A relay may say anything, of any length.
fn cut(mut text: String) -> String {
    let mut end = text.len().min(MAX_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
