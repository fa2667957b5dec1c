//! Relays keep no order within a second: what one member said comes in the order of saying it all the same.

use mdk_core::{EventBody, Verdict};
use mdk_wire::Event;

use crate::kit::dice::Dice;
use crate::kit::{Member, three};

/// As relays give what they have, oldest first: by seconds, and within one by the id.
fn as_relays_do(events: &mut [Event]) {
    events.sort_by_key(|event| (event.created_at(), *event.id().as_bytes()));
}

fn takes_all(member: &mut Member, events: &[Event]) {
    for outcome in member.takes_all(events) {
        assert!(!matches!(outcome.verdict, Verdict::Rejected(_)), "{outcome:?}");
    }
}

fn of<'a>(texts: &'a [String], who: &str) -> Vec<&'a str> {
    texts.iter().map(String::as_str).filter(|text| text.starts_with(who)).collect()
}

/// What a program is told, in that order.
fn told(member: &mut Member) -> Vec<String> {
    let events = member.engine.events(0, 10_000).unwrap();
    let texts = events.into_iter().filter_map(|event| match event.body {
        EventBody::MessageReceived { message } if !message.is_mine => Some(message.text),
        _ => None,
    });
    texts.collect()
}

fn numbered(who: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{who}{n}")).collect()
}

/// breaks: sixty messages of two members, two commits and something foreign within one second, by id. (rule: F1-4)
#[test]
fn a_second_keeps_the_order_of_each_sender() {
    for seed in 0..6 {
        let (mut alice, mut bob, mut carol, group) = three();
        let mut events = Vec::new();
        let (mut of_alice, mut of_carol) = (numbered("a", 30), numbered("c", 30));
        let (mut first, mut second) = (of_alice.drain(..), of_carol.drain(..));
        for part in 0..3 {
            for _ in 0..10 {
                events.push(alice.says(&group, &first.next().unwrap()));
                events.push(carol.says(&group, &second.next().unwrap()));
            }
            if part < 2 {
                let commit = alice.updates(&group, &mut []);
                let commit = commit.event.unwrap();
                carol.applies(&commit);
                events.push(commit);
            }
        }
        let second = events[0].created_at();
        assert!(events.iter().all(|event| event.created_at() == second), "one second");
        if seed == 0 {
            as_relays_do(&mut events);
        } else {
            Dice(seed).shuffles(&mut events);
        }
        // What is of no group does not part the second.
        let json: Vec<String> = events.iter().map(Event::to_json).collect();
        let mut page: Vec<&[u8]> = json.iter().map(String::as_bytes).collect();
        page.insert(10, b"no event");
        bob.engine.process_many(&page).unwrap();
        for texts in [told(&mut bob), bob.texts(&group)] {
            assert_eq!(of(&texts, "a"), numbered("a", 30), "{texts:?}");
            assert_eq!(of(&texts, "c"), numbered("c", 30), "{texts:?}");
            assert_eq!(texts.len(), 60);
        }
    }
}

/// breaks: a page of a relay begins with the newest of hundreds of messages and some commits. (rule: F1-8)
#[test]
fn a_page_that_begins_with_the_newest_loses_nothing() {
    let (mut alice, mut bob, mut carol, group) = three();
    let mut events = Vec::new();
    for (n, text) in numbered("a", 400).iter().enumerate() {
        for member in [&alice, &carol] {
            member.clock.advance_millis(1_000);
        }
        events.push(alice.says(&group, text));
        if n % 150 == 149 {
            let commit = carol.updates(&group, &mut []);
            alice.applies(commit.event.as_ref().unwrap());
            events.extend(commit.event);
        }
    }
    // What is of no group lies between, and keeps its place among the outcomes.
    let foreign = carol.key_package().to_json();
    let json: Vec<String> = events.iter().rev().map(Event::to_json).collect();
    let mut page: Vec<&[u8]> = json.iter().map(String::as_bytes).collect();
    let between: [(usize, &[u8]); 4] =
        [(350, b"no event"), (200, foreign.as_bytes()), (199, b"{}"), (50, b"no event")];
    for (at, junk) in between {
        page.insert(at, junk);
    }
    let outcomes = bob.engine.process_many(&page).unwrap();
    for (outcome, event) in outcomes.iter().zip(&page) {
        let junk = between.iter().any(|(_, junk)| junk == event);
        assert_eq!(matches!(outcome.verdict, Verdict::Rejected(_)), junk, "{outcome:?}");
    }
    assert_eq!(outcomes.len(), page.len());
    assert_eq!(told(&mut bob), numbered("a", 400));
}

/// breaks: a page has the Welcome behind all that was said in its group since then. (rule: F1-9)
#[test]
fn a_welcome_behind_the_events_of_its_group_comes_first() {
    let (mut alice, mut bob, _carol, group) = three();
    let mut dave = Member::new("dave");
    for again in [false, true] {
        let mut page = Vec::new();
        if again {
            // Of a later membership: what ends the one before it is in the page as well.
            let removal = alice.engine.remove_members(&group, &[dave.key()]).unwrap();
            alice.confirms(&removal);
            page.extend(removal.event);
        }
        let package = dave.key_package();
        let added = alice.engine.add_members(&group, &[package], false).unwrap();
        alice.confirms(&added);
        let [welcome] = &added.welcomes[..] else { panic!() };
        page.extend(added.event.clone());
        for event in &page {
            bob.applies(event);
        }
        for text in numbered(if again { "again" } else { "a" }, 20) {
            for member in [&alice, &bob, &dave] {
                member.clock.advance_millis(1_000);
            }
            page.push(alice.says(&group, &text));
            if text.ends_with("10") {
                let commit = bob.updates(&group, &mut []);
                alice.applies(commit.event.as_ref().unwrap());
                page.extend(commit.event);
            }
        }
        page.reverse();
        page.push(welcome.clone());
        let outcomes = dave.takes_all(&page);
        if !again {
            assert_eq!(outcomes.last().unwrap().verdict, Verdict::Applied, "the Welcome");
        }
        dave.joins(&[]);
        let said = [numbered("a", 20), numbered("again", if again { 20 } else { 0 })].concat();
        assert_eq!(told(&mut dave), said);
        assert_eq!(dave.info(&group).epoch, alice.info(&group).epoch);
    }
}

/// breaks: a sender whose clock is behind that of the committer speaks, it seems, before the epoch begins. (rule: F1-4)
#[test]
fn a_clock_that_is_behind_changes_no_order() {
    // In one batch, and in one for each second.
    for together in [true, false] {
        let (mut alice, mut bob, mut carol, group) = three();
        carol.clock.advance_millis(3_000);
        let mut events: Vec<Event> =
            numbered("a", 5).iter().map(|text| alice.says(&group, text)).collect();
        let commit = carol.updates(&group, &mut []);
        alice.applies(commit.event.as_ref().unwrap());
        events.extend(commit.event);
        for text in &numbered("a", 25)[5..] {
            alice.clock.advance_millis(500);
            events.push(alice.says(&group, text));
        }
        as_relays_do(&mut events);
        for batch in events.chunk_by(|a, b| together || a.created_at() == b.created_at()) {
            takes_all(&mut bob, batch);
        }
        let texts = told(&mut bob);
        assert_eq!(texts, numbered("a", 25));
        assert_eq!(bob.texts(&group), texts);
    }
}
