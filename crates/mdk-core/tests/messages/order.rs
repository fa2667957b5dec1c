//! Apps sort a group by (second, id): our messages stand in their order there.

use mdk_core::{Message, NewMessage};
use mdk_wire::{EventId, GroupId};

use crate::kit::fork::two_admins_and;
use crate::kit::{Member, chat, folder, pair};

fn places(member: &mut Member, group: &GroupId) -> Vec<(u64, EventId)> {
    let place = |message: &Message| (message.times.created_at, message.id);
    member.engine.messages(group, 1_000, None, None).unwrap().iter().map(place).collect()
}

fn now(member: &Member) -> u64 {
    mdk_core::Clock::now_millis(&member.clock) / 1000
}

/// Ten parts stand in ten seconds; of a longer burst those of a second have rising ids.
// shows: OB-21
#[test]
fn what_is_said_at_once_stands_in_its_order() {
    let (mut alice, mut bob, group) = pair();
    for part in 0..100 {
        let event = alice.says(&group, &part.to_string());
        bob.applies(&event);
    }
    for member in [&mut alice, &mut bob] {
        let places = places(member, &group);
        assert_eq!(places.len(), 100);
        assert!(places.is_sorted());
        let begin = places[0].0;
        assert!((0..10u64).all(|second| places[second as usize].0 == begin + second));
        assert!(places[99].0 <= begin + 60, "a hundred messages are no hour ahead");
    }
}

/// It is known after a restart, and what only says something about a message takes no place.
// shows: OB-21
#[test]
fn the_last_message_is_known_after_a_restart() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let said = all[0].utters(&group, "a").message;
    all[0].utters(&group, "b");
    all[0].engine.react(&group, &said.id, "+").unwrap();
    all[0].restarts();
    all[0].utters(&group, "c");
    let places = places(&mut all[0], &group);
    assert_eq!(places.iter().map(|(at, _)| at - places[0].0).collect::<Vec<_>>(), [0, 1, 2]);
}

/// An answer stands below its question also where the clock of who asks is ahead. What is not answered is followed by a
/// minute, and what no clock could mean is not.
// shows: OB-21
#[test]
fn an_answer_stands_below_its_question() {
    for (ahead, answered, follows) in [
        (0, false, true),
        (60, false, true),
        (61, false, false),
        (61, true, true),
        (900, true, true),
        (901, true, false),
    ] {
        let (mut alice, mut bob, group) = pair();
        bob.clock.set(now(&alice) + ahead);
        let asked = bob.utters(&group, "well?");
        alice.applies(&asked.event);
        let reply_to = answered.then_some(asked.message.id);
        let said = alice.sends(&group, NewMessage { reply_to, ..chat("yes") }).message;
        let place =
            (said.times.created_at, said.id) > (asked.message.times.created_at, asked.message.id);
        assert_eq!(place, follows, "{ahead} s ahead, answered: {answered}");
        if !follows {
            assert_eq!(said.times.created_at, now(&alice));
        }
    }
}
