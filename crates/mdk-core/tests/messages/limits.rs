//! Limits of what is sent: accepted at the limit, refused above it with the field, the limit and the size, and the
//! same for every call, however often the same is said.

use mdk_core::{Error, GroupUpdate, NewGroup, NewMessage, Outgoing};
use mdk_wire::{Event, GroupId};

use crate::kit::disk::Disk;
use crate::kit::{
    Member, at_once, chat, new_group, newcomer, pair, received, refused_with, relayed_by,
};

type Tags = Vec<Vec<String>>;

fn say(member: &mut Member, group: &GroupId, text: &str, tags: Tags) -> Result<Outgoing, Error> {
    let message = NewMessage { tags, ..chat(text) };
    member.engine.create_message(group, message)
}

fn tag(length: usize) -> Vec<String> {
    vec!["t".into(); length]
}

/// Four equal messages within one second, each with an id of its own, each read.
fn four_times(alice: &mut Member, bob: &mut Member, group: &GroupId, text: &str, tags: &Tags) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        let sent = say(alice, group, text, tags.clone()).unwrap();
        assert_eq!(received(&bob.applies(&sent.event)), [text]);
        ids.push(sent.message.id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_text_at_the_limit_can_be_said_again() {
    let (mut alice, mut bob, group) = pair();
    let limit = 65_536;
    let Err(Error::InvalidInput { actual: Some(size), .. }) =
        say(&mut alice, &group, &"x".repeat(limit), vec![])
    else {
        panic!("accepted")
    };
    let room = 2 * limit - usize::try_from(size).unwrap();
    for less in [0, 1, 24, 25, 26] {
        four_times(&mut alice, &mut bob, &group, &"x".repeat(room - less), &vec![]);
    }
    for _ in 0..3 {
        let over = say(&mut alice, &group, &"x".repeat(room + 1), vec![]);
        refused_with(over, ("text", Some(65_536), Some(65_537)));
    }
}

#[test]
fn tags_at_the_limit_can_be_sent_again() {
    let (mut alice, mut bob, group) = pair();
    for tags in [vec![tag(1); 4096], vec![tag(1); 4095], vec![tag(4096)]] {
        four_times(&mut alice, &mut bob, &group, "x", &tags);
    }
    for _ in 0..2 {
        let many = say(&mut alice, &group, "x", vec![tag(1); 4097]);
        refused_with(many, ("tags", Some(4096), Some(4097)));
        refused_with(
            say(&mut alice, &group, "x", vec![tag(5001)]),
            ("tags", Some(4096), Some(5001)),
        );
        refused_with(say(&mut alice, &group, "x", vec![vec![]]), ("tags", Some(1), Some(0)));
    }
    // Of text and tags the one that takes the space is named.
    let long = vec![vec!["t".into(), "y".repeat(70_000)]];
    let refused = say(&mut alice, &group, "x", long).err();
    let Some(Error::InvalidInput { field, limit, actual: Some(70_000..), .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((field, limit), ("tags", Some(65_536)));
}

/// The limit of events, too, is the same for the second of two equal messages; a group whose founding is over it is none.
#[test]
fn limits_of_the_configuration() {
    let mut config = at_once();
    config.max_event_bytes = 3_000;
    let mut alice = Member::with("alice", config.clone());
    let group = alice.founds("g", &mut []);
    let (_, package) = newcomer("bob");
    let before = alice.digest();
    match alice.engine.create_group(new_group("g", vec![package])) {
        Err(Error::GroupTooLarge { size, limit: 3_000 }) => assert!(size > 3_000),
        other => panic!("{:?}", other.map(|p| p.id)),
    }
    assert!(alice.digest() == before, "nothing is left of it");
    let mut fits = |length| match say(&mut alice, &group, &"x".repeat(length), vec![]) {
        Ok(_) => true,
        Err(Error::GroupTooLarge { size, limit: 3_000 }) => size < 3_000,
        Err(other) => panic!("{other:?}"),
    };
    let (mut most, mut over) = (1, 2_000);
    while over - most > 1 {
        let length = usize::midpoint(most, over);
        if fits(length) {
            most = length;
        } else {
            over = length;
        }
    }
    for _ in 0..3 {
        assert!(fits(most) && !fits(over));
    }
    config.max_message_bytes = 300;
    let mut carol = Member::with("carol", config);
    let group = carol.founds("g", &mut []);
    assert!(matches!(
        say(&mut carol, &group, &"x".repeat(300), vec![]),
        Err(Error::InvalidInput { field: "text", limit: Some(300), actual: Some(301..), .. })
    ));
    carol.says(&group, "fits");
}

/// rule: 2.4-13: what is only signed is not sent; what others send of it is a kind like any unknown one.
#[test]
fn templates_of_signatures_are_not_sent() {
    let (mut alice, _, group) = pair();
    for kind in [450, 451] {
        let message = NewMessage { text: "x".into(), kind, ..NewMessage::default() };
        let found = alice.engine.create_message(&group, message);
        refused_with(found, ("kind", None, Some(kind.into())));
    }
    let message = NewMessage { text: "x".into(), kind: 452, ..NewMessage::default() };
    alice.sends(&group, message);
}

#[test]
fn empty_lists_are_measured() {
    let (mut alice, _, group) = pair();
    let one = |field| (field, Some(1), Some(0));
    let relays = relayed_by(vec![]);
    refused_with(alice.engine.update_group(&group, relays), one("relays"));
    refused_with(alice.engine.create_group(NewGroup::default()), one("relays"));
    refused_with(alice.engine.update_group(&group, GroupUpdate::default()), one("update"));
    refused_with(alice.engine.add_members(&group, &[], false), one("key_packages"));
    refused_with(alice.engine.remove_members(&group, &[]), one("members"));
    refused_with(alice.engine.promote(&group, &[]), one("members"));
    refused_with(alice.engine.demote(&group, &[]), one("members"));
    let target = say(&mut alice, &group, "x", vec![]).unwrap().message.id;
    refused_with(alice.engine.react(&group, &target, ""), one("emoji"));
}

/// A relay that is named twice counts once, wherever relays are given.
#[test]
fn relays_named_twice_count_once() {
    let (mut alice, _, group) = pair();
    let again = |count: usize| -> Vec<String> {
        let distinct = (0..count).map(|i| format!("wss://r{i}.example"));
        distinct.cycle().take(100).collect()
    };
    let update = |count| relayed_by(again(count));
    let over = ("relays", Some(16), Some(17));
    refused_with(alice.engine.update_group(&group, update(17)), over);
    let pending = alice.engine.update_group(&group, update(16)).unwrap();
    assert_eq!(alice.confirms(&pending).relays.len(), 16);
    refused_with(alice.engine.new_key_package(&again(17), None), over);
    let event = alice.engine.new_key_package(&again(16), None).unwrap();
    let relays = again(65);
    refused_with(alice.engine.enqueue(&event, &relays), ("relays", Some(64), Some(65)));
    alice.engine.enqueue(&event, &again(64)).unwrap();
}

/// A group is used with the limits of today's configuration, not with those that it was joined with.
#[test]
fn a_group_takes_up_the_limits_of_today() {
    let disk = Disk::new("bob");
    let mut narrow = at_once();
    narrow.ratchet.out_of_order_tolerance = 1;
    let (mut alice, mut bob) = (Member::new("alice"), disk.open_with(narrow.clone()));
    let group = alice.founds("g", &mut [&mut bob]);
    let mut bob = disk.again(bob);
    // A read does not take them up; the write after it does.
    bob.engine.export_secret(&group, "label", b"", 32).unwrap();
    let said: Vec<Event> = (0..6).map(|n| alice.says(&group, &n.to_string())).collect();
    bob.applies(&said[5]);
    bob.applies(&said[0]);
    for _ in 0..4 {
        alice.updates(&group, &mut [&mut bob]);
        bob.waits(1_000);
    }
    bob.applies(&said[1]);
    bob.engine.close().unwrap();
    // And back again: what was skipped meanwhile goes with the states that are not retained any more.
    let mut bob = disk.open_with(narrow);
    let now: Vec<Event> = (0..6).map(|n| alice.says(&group, &n.to_string())).collect();
    bob.applies(&now[5]);
    bob.refuses(&now[0], "D2-8");
}
