//! Members who say more about a message than anybody reads: it costs so many rows and bytes, and no more.

use mdk_core::testing::{history_size, speakers};
use mdk_core::{Config, EventBody, NewMessage, Verdict};
use mdk_wire::budget::group::MAX_EXPIRED_AT_ONCE;
use mdk_wire::budget::member::{MAX_EDITS, MAX_REACTIONS};
use mdk_wire::{Event, EventId, GroupId, PublicKey, kind};

use crate::kit::{self, Member, chat, kept_for, pair, three};

fn about(of: &EventId, kind: u16, text: impl Into<String>, tags: usize) -> NewMessage {
    let mut message = NewMessage { kind, ..chat(text) };
    message.tags.push(vec!["e".into(), of.to_hex()]);
    message.tags.extend((0..tags).map(|_| vec![String::new(); 8]));
    message
}

fn says(member: &mut Member, group: &GroupId, message: NewMessage) -> Event {
    member.sends(group, message).event
}

fn reactions(member: &mut Member, group: &GroupId, of: &EventId) -> Vec<(PublicKey, String)> {
    let message = member.engine.message(group, of).unwrap();
    message.reactions.into_iter().map(|one| (one.sender, one.emoji)).collect()
}

// rule: 2.4-21
#[test]
fn of_one_members_reactions_to_a_message_so_many_are_kept() {
    let (mut alice, mut bob, mut carol, group) = three();
    let said = alice.utters(&group, "hello");
    for member in [&mut bob, &mut carol] {
        member.applies(&said.event);
    }
    let of = said.message.id;
    let before = history_size(&mut alice.engine).unwrap();
    let flood: Vec<Event> = (0..2 * MAX_REACTIONS)
        .map(|n| says(&mut bob, &group, about(&of, kind::REACTION, format!("{n}"), 500)))
        .collect();
    for outcome in alice.takes_all(&flood) {
        assert_eq!(outcome.verdict, Verdict::Applied, "it was said, and counts");
    }
    let after = history_size(&mut alice.engine).unwrap();
    assert!(after.0 - before.0 <= MAX_REACTIONS + 1, "rows: {after:?}");
    assert!(after.1 - before.1 <= 4_096 * MAX_REACTIONS, "bytes: {after:?}");
    let kept: Vec<_> = (0..MAX_REACTIONS).map(|n| (bob.key(), format!("{n}"))).collect();
    assert_eq!(reactions(&mut alice, &group, &of), kept);
    // Nobody else has less for it.
    let other = says(&mut carol, &group, about(&of, kind::REACTION, "+", 0));
    let told = alice.applies(&other).events;
    assert!(told.iter().any(|event| matches!(event.body, EventBody::ReactionAdded { .. })));
    assert_eq!(reactions(&mut alice, &group, &of).len(), MAX_REACTIONS + 1);
}

// shows: 2.4-21
#[test]
fn who_changes_his_mind_often_is_heard_all_the_same() {
    let (mut alice, mut bob, group) = pair();
    let said = alice.utters(&group, "hello");
    bob.applies(&said.event);
    let of = said.message.id;
    for n in 0..MAX_REACTIONS + 8 {
        let reaction = bob.engine.react(&group, &of, &format!("{n}")).unwrap();
        alice.applies(&reaction.event);
        assert_eq!(reactions(&mut alice, &group, &of), [(bob.key(), format!("{n}"))]);
        let back = bob.engine.delete(&group, &reaction.message.id).unwrap();
        alice.applies(&back.event);
        assert_eq!(reactions(&mut alice, &group, &of), []);
    }
}

// shows: 2.4-21
#[test]
fn of_a_messages_edits_the_newest_are_kept() {
    let (mut alice, mut bob, group) = pair();
    let said = bob.utters(&group, "hello");
    alice.applies(&said.event);
    let of = said.message.id;
    let before = history_size(&mut alice.engine).unwrap();
    let count = 2 * MAX_EDITS;
    let text = |n: usize| format!("{n} {}", "x".repeat(4_000));
    for n in 0..count {
        let edit = bob.engine.edit(&group, &of, &text(n)).unwrap();
        alice.applies(&edit.event);
    }
    assert_eq!(alice.texts(&group), [text(count - 1)]);
    let after = history_size(&mut alice.engine).unwrap();
    assert!(after.0 - before.0 <= MAX_EDITS + 1, "rows: {after:?}");
    assert!(after.1 - before.1 <= 5_000 * MAX_EDITS, "bytes: {after:?}");
    // An edit that goes gives way to the one before it.
    let newest = bob.engine.edit(&group, &of, "last").unwrap();
    alice.applies(&newest.event);
    let back = bob.engine.delete(&group, &newest.message.id).unwrap();
    alice.applies(&back.event);
    assert_eq!(alice.texts(&group), [text(count - 1)]);
}

// shows: 2.4-21
/// Nobody edits or deletes what is another's: of that nothing is kept but who spoke.
#[test]
fn what_does_nothing_is_not_kept_and_counts() {
    let (mut alice, mut bob, group) = pair();
    let said = alice.utters(&group, "hello");
    bob.applies(&said.event);
    let before = history_size(&mut alice.engine).unwrap();
    for _ in 0..20 {
        for kind in [kind::EDIT, kind::DELETE] {
            let word = says(&mut bob, &group, about(&said.message.id, kind, "x".repeat(999), 9));
            alice.applies(&word);
        }
    }
    let after = history_size(&mut alice.engine).unwrap();
    assert_eq!((after.0 - before.0, after.1), (1, before.1));
    assert!(speakers(&mut alice.engine, &group).unwrap().contains(&bob.key()));
    assert_eq!(alice.texts(&group), ["hello"]);
}

/// A group of alice, who keeps so little, and two others.
fn keeping(change: impl FnOnce(&mut Config)) -> (Member, Member, Member, GroupId) {
    let mut config = kit::at_once();
    change(&mut config);
    let (mut bob, mut carol) = (Member::new("bob"), Member::new("carol"));
    let mut alice = Member::with("alice", config);
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    (alice, bob, carol, group)
}

/// Whose messages went, as it was told in these.
fn trimmed(told: &[mdk_core::EngineEvent]) -> Vec<PublicKey> {
    let of = |event: &mdk_core::EngineEvent| match event.body {
        EventBody::HistoryTrimmed { sender } => Some(sender),
        _ => None,
    };
    told.iter().filter_map(of).collect()
}

// rule: 2.4-22
#[test]
fn who_says_too_much_loses_the_oldest_and_nobody_else_anything() {
    for by_bytes in [false, true] {
        let (mut alice, mut bob, mut carol, group) = keeping(|config| match by_bytes {
            false => config.history.max_sender_messages = 100,
            true => config.history.max_sender_bytes = 200_000,
        });
        let first = carol.says(&group, "of carol");
        alice.applies(&first);
        let mut told = Vec::new();
        for n in 0..150 {
            let said = bob.says(&group, &format!("{n} {}", "x".repeat(1_500)));
            told.extend(alice.applies(&said).events);
        }
        assert_eq!(trimmed(&told), [bob.key()], "told once in an hour");
        let texts = alice.texts(&group);
        assert!(texts.contains(&"of carol".to_owned()));
        assert!(texts.len() <= 102 && texts.len() > 90, "{}", texts.len());
        assert!(texts.last().unwrap().starts_with("149 "));
        let size = history_size(&mut alice.engine).unwrap();
        assert!(size.0 <= 103, "rows that only say who spoke are few: {size:?}");
        // It is told again in another hour.
        alice.clock.advance_millis(3_600_000);
        let mut told = Vec::new();
        for n in 0..20 {
            let said = bob.says(&group, &format!("more {n} {}", "x".repeat(1_500)));
            told.extend(alice.applies(&said).events);
        }
        assert_eq!(trimmed(&told), [bob.key()]);
        let later = alice.engine.events(0, 1_000).unwrap();
        assert_eq!(trimmed(&later).len(), 2, "and it is in the log");
    }
}

// shows: 2.4-22
#[test]
fn a_group_that_is_full_loses_the_oldest_of_who_has_most() {
    let (mut alice, mut bob, mut carol, group) =
        keeping(|config| config.history.max_group_bytes = 100_000);
    for n in 0..10 {
        let said = carol.says(&group, &format!("carol {n}"));
        alice.applies(&said);
    }
    for n in 0..200 {
        let said = bob.says(&group, &format!("bob {n} {}", "x".repeat(1_000)));
        alice.applies(&said);
    }
    let own = alice.says(&group, "mine is never counted");
    bob.applies(&own);
    let texts = alice.texts(&group);
    assert_eq!(texts.iter().filter(|text| text.starts_with("carol")).count(), 10);
    let bobs = texts.iter().filter(|text| text.starts_with("bob")).count();
    assert!((40..70).contains(&bobs), "{bobs}");
}

/// However many messages reach their time at once, all of them go in one call, and each is told.
#[test]
fn many_messages_expire_in_one_call() {
    let (mut alice, mut bob, group) = pair();
    let change = alice.changes(&group, kept_for(60), &mut []);
    bob.applies(change.event.as_ref().unwrap());
    let count = MAX_EXPIRED_AT_ONCE as usize + 40;
    let said: Vec<Event> = (0..count).map(|n| bob.says(&group, &format!("{n}"))).collect();
    alice.takes_all(&said);
    assert_eq!(alice.engine.messages(&group, 1_000, None, None).unwrap().len(), count);
    alice.clock.advance_millis(600_000);
    let told = alice.engine.tick().unwrap().events;
    let gone =
        |event: &mdk_core::EngineEvent| matches!(event.body, EventBody::MessageDeleted { .. });
    assert_eq!(told.iter().filter(|event| gone(event)).count(), count);
    assert!(alice.engine.messages(&group, 1_000, None, None).unwrap().is_empty());
}
