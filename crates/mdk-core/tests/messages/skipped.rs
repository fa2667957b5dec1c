//! Messages that a relay has swallowed are counted, once they cannot come any more.

use mdk_core::{EventBody, Verdict};

use crate::kit::{Member, pair, received};

/// The counts of all losses that were told.
fn losses(member: &mut Member) -> Vec<u64> {
    let count = |body| match body {
        EventBody::HistoryGap { count, .. } => Some(count),
        _ => None,
    };
    let log = member.engine.events(0, 1_000).unwrap();
    log.into_iter().filter_map(|event| count(event.body)).collect()
}

// shows: F1-15
#[test]
fn messages_that_a_relay_has_swallowed_are_counted() {
    let (mut alice, mut bob, group) = pair();
    let said = ["one", "two", "three", "four", "five"].map(|text| alice.says(&group, text));
    bob.applies(&said[0]);
    bob.applies(&said[4]);
    for epoch in 0..5 {
        alice.updates(&group, &mut [&mut bob]);
        bob.waits(10_000);
        assert_eq!(losses(&mut bob), [0; 0], "they may still come, {epoch}");
    }
    // One of them was only late.
    assert_eq!(received(&bob.applies(&said[2])), ["three"]);
    for _ in 0..3 {
        alice.updates(&group, &mut [&mut bob]);
        bob.waits(10_000);
    }
    bob.engine.settle().unwrap();
    assert_eq!(losses(&mut bob), [2]);
    assert_eq!(losses(&mut alice), [0; 0]);
}

/// Nothing in it says that it is one of those: its epoch stands under the seal, and the keys of the seal are gone too.
// shows: F1-15, F1-5
#[test]
fn a_message_that_was_counted_and_comes_too_late_is_counted_again() {
    let (mut alice, mut bob, group) = pair();
    let said = ["one", "two"].map(|text| alice.says(&group, text));
    bob.applies(&said[1]);
    for _ in 0..8 {
        alice.waits(10_000);
        alice.updates(&group, &mut [&mut bob]);
        bob.waits(10_000);
    }
    bob.engine.settle().unwrap();
    assert_eq!(losses(&mut bob), [1]);
    for _ in 0..2 {
        let verdict = bob.takes(&said[0]).verdict;
        assert!(!matches!(verdict, Verdict::Applied), "{verdict:?}");
        bob.engine.settle().unwrap();
        bob.engine.settle().unwrap();
        assert_eq!(losses(&mut bob), [1, 1], "not once more for each time that it comes");
    }
}
