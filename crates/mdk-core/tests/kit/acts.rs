//! What members on disk do to a group, and what comes of it.

use mdk_core::{EventBody, Outcome};
use mdk_wire::GroupId;

use super::fork::Filed;
use super::received;

pub fn invited(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|e| matches!(e.body, EventBody::Invited { .. }))
}

/// Each of the two hears the other.
pub fn speak(one: &mut Filed, other: &mut Filed, group: &GroupId) {
    for (text, from, to) in [("from one", 0, 1), ("from the other", 1, 0)] {
        let both = [&mut *one, &mut *other];
        let said = both[from].member.says(group, text);
        assert_eq!(received(&both[to].member.applies(&said)), [text]);
    }
}
