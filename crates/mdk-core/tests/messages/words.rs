//! What is said twice, changed and taken back: one place in the history, and nothing left of what was deleted.

use std::path::Path;

use mdk_core::{Clock as _, Error, EventBody, NewMessage, Verdict, testing};
use mdk_store::{DatabaseKey, MessageRow, OpenOptions, Store, StoreError};
use mdk_wire::{EventId, GroupId, Secret, UnsignedEvent, kind};

use crate::kit::cast::Cast;
use crate::kit::foreign_commits::{World, self_update};
use crate::kit::fork::{Filed, orders};
use crate::kit::{Member, folder, named, pair, received};

/// All that lies in a member's file.
pub(crate) fn rows(path: &Path) -> Vec<MessageRow> {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    store.read::<_, StoreError>(|tx| tx.messages_after(0, 1_000)).unwrap()
}

/// The pages of a history from the newest to the oldest, as a program walks through them.
fn pages(member: &mut Member, group: &GroupId, limit: u32) -> Vec<String> {
    let (mut all, mut before): (Vec<String>, Option<EventId>) = (Vec::new(), None);
    loop {
        let page = member.engine.messages(group, limit, before.as_ref(), None).unwrap();
        let Some(first) = page.first() else { return all };
        before = Some(first.id);
        all.splice(0..0, page.into_iter().map(|m| m.text));
        assert!(all.len() < 100, "it ends");
    }
}

fn tag(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

// rule: 2.5-10
#[test]
fn what_is_said_twice_in_a_state_is_there_once() {
    let mut w = World::new();
    let group = w.id.clone();
    let payload = w.max.payload("twice");
    let first = w.max.sends(payload.to_json().as_bytes());
    assert_eq!(received(&w.us.applies(&first)), ["twice"]);
    for n in 0..5 {
        let said = w.max.says(&n.to_string());
        w.us.applies(&said);
    }
    let before = w.us.info(&group).unread_count;
    for _ in 0..3 {
        let again = w.max.sends(payload.to_json().as_bytes());
        let outcome = w.us.applies(&again);
        assert!(outcome.events.is_empty(), "nothing new");
        assert_eq!(w.us.takes(&again).verdict, Verdict::Duplicate);
    }
    let expected = ["twice", "0", "1", "2", "3", "4"];
    assert_eq!(w.us.texts(&group), expected);
    assert_eq!(pages(&mut w.us, &group, 2), expected, "nothing is hidden from paging");
    assert_eq!(w.us.info(&group).unread_count, before);
    assert_eq!(testing::history(&mut w.us.engine).unwrap().len(), 6);
    // A reaction, too, stands once.
    let target = w.us.engine.messages(&group, 1, None, None).unwrap()[0].id;
    let mut reaction = w.max.payload("+");
    (reaction.kind, reaction.tags) = (kind::REACTION, vec![tag("e", &target.to_hex())]);
    for told in [1, 0] {
        let event = w.max.sends(reaction.to_json().as_bytes());
        assert_eq!(w.us.applies(&event).events.len(), told);
    }
    assert_eq!(w.us.engine.message(&group, &target).unwrap().reactions.len(), 1);
}

/// One copy was said before a fork and one on a branch that loses: it is said, and shown.
// rule: 2.5-10, E5-4
#[test]
fn the_copy_before_the_fork_outlives_the_branch() {
    for older_first in [true, false] {
        let mut w = World::new();
        let group = w.id.clone();
        let payload = w.max.payload("twice").to_json();
        let older = w.max.sends(payload.as_bytes());
        if w.ann.key() < w.ada.key() {
            std::mem::swap(&mut w.ann, &mut w.ada);
        }
        let loser = w.ann.commit_event(self_update());
        let winner = w.ada.commit_event(self_update());
        w.max.follows(&loser);
        let newer = w.max.sends(payload.as_bytes());
        w.us.applies(&loser);
        let mut told: Vec<String> = Vec::new();
        for event in if older_first { [&older, &newer] } else { [&newer, &older] } {
            told.extend(received(&w.us.applies(event)));
        }
        assert_eq!(told, ["twice"]);
        assert_eq!(w.us.texts(&group), ["twice"]);
        // As much is said on each branch.
        w.ada.merges();
        let here = w.ada.says("here");
        w.us.takes(&winner);
        w.us.takes(&here);
        w.us.engine.tick().unwrap();
        let page = w.us.engine.messages(&group, 10, None, None).unwrap();
        let mut states: Vec<_> =
            page.iter().map(|m| (m.text.as_str(), m.fate.invalidated)).collect();
        states.sort_unstable();
        assert_eq!(states, [("here", false), ("twice", false)], "older first: {older_first}");
        let twice = page.iter().find(|m| m.text == "twice").unwrap();
        assert_eq!(w.us.engine.message(&group, &twice.id).unwrap(), *twice);
    }
}

/// Alice's commit beats bob's; carol said the same on both branches; dave reads all of it.
#[test]
fn a_copy_on_each_branch() {
    for order in [[1, 0], [0, 1]] {
        let names = ["alice", "bob", "carol", "dave"];
        let mut cast = Cast::arranged(&names, &["bob"], |all| {
            all[..2].sort_by_key(|filed| filed.member.key());
        });
        let group = cast.group.clone();
        let commits = ["alice", "bob"].map(|who| cast.renews(who));
        cast.copies("carol", "copy");
        let said = [("carol", &commits[0]), ("copy", &commits[1])].map(|(who, commit)| {
            cast.applies(who, commit);
            cast.says(who, "twice")
        });
        assert_ne!(said[0].id(), said[1].id());
        for at in order {
            cast.takes("dave", &commits[at]);
            cast.takes("dave", &said[at]);
        }
        cast.waits("dave", 1_000);
        cast.waits("dave", 5_000);
        let page = cast.messages("dave");
        let states: Vec<_> = page.iter().map(|m| (m.text.as_str(), m.fate.invalidated)).collect();
        assert_eq!(states, [("twice", false)], "{order:?}");
        // The author takes it back: no copy is left.
        let id = page[0].id;
        let delete = cast.engine("carol").delete(&group, &id).unwrap();
        cast.applies("dave", &delete.event);
        assert!(cast.engine("dave").message(&group, &id).unwrap().fate.deleted);
        let path = cast.at("dave").path.clone();
        drop(cast.parts_with("dave"));
        assert!(rows(&path).iter().all(|row| row.content != "twice"));
    }
}

/// Message, edits and deletion in every order: nothing of the text is left, in the file neither.
// shows: 2.4-15
#[test]
fn the_last_edit_counts_whatever_comes_first() {
    let (mut alice, mut bob, group) = pair();
    for order in [[0, 1, 2, 3], [0, 3, 2, 1], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let message = alice.utters(&group, "first");
        let id = message.message.id;
        let mut events = vec![message.event];
        // The clock stands still; then it is behind.
        for edit in ["second", "third"] {
            events.push(alice.engine.edit(&group, &id, edit).unwrap().event);
        }
        let now = alice.clock.now();
        alice.clock.set(now - 100);
        events.push(alice.engine.edit(&group, &id, "fourth").unwrap().event);
        alice.clock.set(now);
        assert_eq!(alice.engine.message(&group, &id).unwrap().text, "fourth");
        for at in order {
            bob.applies(&events[at]);
        }
        assert_eq!(bob.engine.message(&group, &id).unwrap().text, "fourth", "{order:?}");
    }
}

// shows: 2.4-14
#[test]
fn a_deletion_takes_the_edits_with_it_in_every_order() {
    let place = folder();
    let (mut alice, mut bob) = (Member::new("alice"), Filed::new(place.path(), "bob", 2));
    let group = alice.founds("g", &mut [&mut bob.member]);
    let mut last = None;
    for order in orders(4) {
        let message = alice.utters(&group, "first secret");
        let id = message.message.id;
        let mut events = vec![message.event];
        for edit in ["second secret", "third secret"] {
            events.push(alice.engine.edit(&group, &id, edit).unwrap().event);
        }
        events.push(alice.engine.delete(&group, &id).unwrap().event);
        for (place, at) in order.iter().enumerate() {
            let told = received(&bob.applies(&events[*at]));
            assert!(told.is_empty() || !order[..place].contains(&3), "{order:?}: it is deleted");
        }
        let shown = bob.engine.message(&group, &id).unwrap();
        assert!(shown.fate.deleted && shown.text.is_empty(), "{order:?}");
        assert!(bob.engine.search("secret", None, 9).unwrap().is_empty(), "{order:?}");
        last = Some(id);
    }
    let (id, path) = (last.unwrap(), bob.path.clone());
    drop(bob);
    for row in rows(&path) {
        assert!(!row.content.contains("secret"), "kind {}", row.kind);
    }
    // Nor with who wrote it.
    let left = testing::history(&mut alice.engine).unwrap();
    assert!(left.iter().all(|row| row.json.as_ref().is_none_or(|json| !json.contains("secret"))));
    let late = alice.engine.edit(&group, &id, "once more");
    assert!(matches!(late, Err(Error::NotAllowed(_))));
    let tags = vec![tag("e", &id.to_hex())];
    let by_hand =
        NewMessage { text: "by hand".into(), kind: kind::EDIT, tags, ..NewMessage::default() };
    alice.sends(&group, by_hand);
    let left = testing::history(&mut alice.engine).unwrap();
    assert!(left.iter().all(|row| row.json.as_ref().is_none_or(|json| !json.contains("hand"))));
}

/// An edit names one message, and that is none that itself only says something about another.
// rule: 2.4-9
#[test]
fn edits_that_are_not_applied() {
    let mut w = World::new();
    let group = w.id.clone();
    let said = [w.max.says("one"), w.max.says("two")];
    for event in &said {
        w.us.applies(event);
    }
    let ids: Vec<EventId> =
        w.us.engine.messages(&group, 10, None, None).unwrap().iter().map(|m| m.id).collect();
    let about = |w: &mut World, kind: u16, text: &str, tags: Vec<Vec<String>>| {
        let mut payload: UnsignedEvent = w.max.payload(text);
        (payload.kind, payload.tags) = (kind, tags);
        let event = w.max.sends(payload.to_json().as_bytes());
        (payload.id(), w.us.applies(&event))
    };
    let e = |id: &EventId| tag("e", &id.to_hex());
    let (reaction, _) = about(&mut w, kind::REACTION, "+", vec![e(&ids[0])]);
    let (good, outcome) = about(&mut w, kind::EDIT, "uno", vec![e(&ids[0]), tag("p", "x")]);
    assert!(matches!(outcome.events[0].body, EventBody::MessageEdited { .. }));
    let (deletion, _) = about(&mut w, kind::DELETE, "", vec![tag("e", &"5".repeat(64))]);
    let none = vec![
        vec![e(&ids[0]), e(&ids[1])],
        vec![e(&ids[0]), e(&ids[0])],
        vec![e(&ids[0]), tag("e", "no id")],
        vec![tag("e", "no id"), e(&ids[0])],
        vec![e(&ids[0]), vec!["e".to_owned()]],
        vec![],
        vec![e(&reaction)],
        vec![e(&good)],
        vec![e(&deletion)],
    ];
    for (position, tags) in none.into_iter().enumerate() {
        let (id, outcome) = about(&mut w, kind::EDIT, "wrong", tags);
        assert!(outcome.events.is_empty(), "edit {position}");
        // Kept like everything that is said, and not shown.
        assert_eq!(w.us.engine.message(&group, &id).unwrap().text, "wrong");
    }
    assert_eq!(w.us.texts(&group), ["uno", "two"]);
    let emoji = &w.us.engine.messages(&group, 10, None, None).unwrap()[0].reactions;
    assert_eq!(emoji.len(), 1);
    assert_eq!(emoji[0].emoji, "+");
    assert_eq!(w.us.engine.message(&group, &reaction).unwrap().text, "+");
    assert_eq!(w.us.engine.message(&group, &good).unwrap().text, "uno");
    let ours = w.us.engine.react(&group, &ids[1], "!").unwrap().message.id;
    assert!(matches!(w.us.engine.edit(&group, &ours, "?"), Err(Error::NotAllowed(_))));
}

#[test]
fn search_looks_at_what_is_shown() {
    let (mut alice, mut bob, group) = pair();
    for n in 0..6 {
        let event = alice.says(&group, &format!("apple {n}"));
        bob.applies(&event);
    }
    let ids: Vec<EventId> =
        bob.engine.messages(&group, 10, None, None).unwrap().iter().map(|m| m.id).collect();
    // The last one is edited twice, within one second.
    for (at, text) in [(1, "pear 1"), (3, "pear 3"), (5, "plum"), (5, "pear 5")] {
        let edit = alice.engine.edit(&group, &ids[at], text).unwrap();
        bob.applies(&edit.event);
    }
    // Nobody else's edit is shown or found.
    let tags = vec![tag("e", &ids[0].to_hex())];
    let foreign =
        NewMessage { text: "pear 0".into(), kind: kind::EDIT, tags, ..NewMessage::default() };
    let foreign = bob.sends(&group, foreign);
    alice.applies(&foreign.event);
    let gone = alice.engine.delete(&group, &ids[3]).unwrap();
    bob.applies(&gone.event);
    for member in [&mut alice, &mut bob] {
        let mut find = |text: &str, group: Option<&GroupId>, limit: u32| -> Vec<String> {
            let found = member.engine.search(text, group, limit).unwrap();
            found.into_iter().map(|m| m.text).collect()
        };
        for group in [None, Some(&group)] {
            assert_eq!(find("pear", group, 9), ["pear 5", "pear 1"]);
            assert_eq!(find("PEAR", group, 1), ["pear 5"]);
            assert_eq!(find("apple", group, 9), ["apple 4", "apple 2", "apple 0"]);
            assert_eq!(find("apple", group, 2), ["apple 4", "apple 2"]);
            assert_eq!(find("plum", group, 9), Vec::<String>::new());
            assert_eq!(find("", group, 9).len(), 5);
        }
    }
    let unknown = GroupId::from_bytes(&[9; 16]).unwrap();
    assert!(matches!(bob.engine.search("pear", Some(&unknown), 9), Err(Error::GroupNotFound)));
}

#[test]
fn the_last_message_of_a_group_comes_without_its_reactions() {
    let (mut alice, mut bob, group) = pair();
    alice.tells(&group, "frist", &mut [&mut bob]);
    let id = bob.engine.messages(&group, 1, None, None).unwrap()[0].id;
    for _ in 0..3 {
        let event = alice.engine.react(&group, &id, "+").unwrap().event;
        bob.applies(&event);
    }
    let edit = alice.engine.edit(&group, &id, "first").unwrap().event;
    bob.applies(&edit);
    let last = bob.info(&group).last_message.unwrap();
    assert_eq!((last.text.as_str(), last.fate.edited, last.reactions.len()), ("first", true, 0));
    assert_eq!(bob.engine.message(&group, &id).unwrap().reactions.len(), 3);
    // A switch of settings says the same about it.
    let pending = alice.engine.update_group(&group, named("n")).unwrap();
    assert!(alice.confirms(&pending).last_message.unwrap().reactions.is_empty());
}

/// A process that dies before it has published a message.
// shows: C3-8
#[test]
fn a_message_whose_event_was_lost_can_be_had_again() {
    let place = folder();
    let (mut bob, mut carol) = (Member::new("bob"), Member::new("carol"));
    let mut alice = Filed::new(place.path(), "alice", 1);
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    let lost = alice.says(&group, "not to be lost");
    let after = alice.says(&group, "after it");
    let page = alice.engine.messages(&group, 10, None, None).unwrap();
    alice.restarts();
    // bob has the first form after all.
    for event in [&lost, &after] {
        bob.applies(event);
    }
    carol.applies(&after);
    let again = alice.engine.resend(&group, &page[0].id).unwrap();
    assert_eq!((again.message.id, again.relays.len()), (page[0].id, 1));
    assert_ne!(again.event.id(), lost.id());
    assert_eq!(received(&carol.applies(&again.event)), ["not to be lost"]);
    assert!(bob.applies(&again.event).events.is_empty());
    assert_eq!(bob.texts(&group), ["not to be lost", "after it"]);
    assert_eq!(alice.takes(&again.event).verdict, Verdict::Duplicate);
    // Also in a later epoch.
    alice.updates(&group, &mut [&mut bob, &mut carol]);
    let dave = &mut Member::new("dave");
    let add = alice.adds(&group, dave.key_package(), &mut []);
    dave.joins(&add.welcomes);
    for member in [&mut bob, &mut carol] {
        member.applies(add.event.as_ref().unwrap());
    }
    for _ in 0..2 {
        let again = alice.engine.resend(&group, &page[0].id).unwrap();
        for member in [&mut bob, &mut carol] {
            assert!(member.applies(&again.event).events.is_empty());
            assert_eq!(member.texts(&group).len(), 2);
        }
        dave.applies(&again.event);
    }
    assert_eq!(dave.texts(&group), ["not to be lost"]);
    assert_eq!(alice.engine.messages(&group, 10, None, None).unwrap(), page);
    alice.restarts();
    // Not another's, nor what is deleted; its copies go with it.
    bob.tells(&group, "another", &mut [&mut alice.member]);
    let other = alice.engine.messages(&group, 1, None, None).unwrap()[0].id;
    assert!(matches!(alice.engine.resend(&group, &other), Err(Error::NotAllowed(_))));
    let unknown = EventId::from_bytes([3; 32]);
    assert!(matches!(alice.engine.resend(&group, &unknown), Err(Error::MessageNotFound)));
    alice.engine.delete(&group, &page[0].id).unwrap();
    assert!(matches!(alice.engine.resend(&group, &page[0].id), Err(Error::NotAllowed(_))));
    let path = alice.path.clone();
    drop(alice);
    assert!(rows(&path).iter().all(|row| row.content != "not to be lost"));
}
