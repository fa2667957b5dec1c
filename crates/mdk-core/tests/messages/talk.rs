//! Messages, their edits, reactions and deletes; history, search, the event log; limits at and over the limit.

use mdk_core::{EngineEvent, Error, EventBody, GroupUpdate, NewMessage, Outgoing};
use mdk_wire::{EventId, GroupId, Keys, kind};

use crate::kit::{
    Member, chat, kept_for, named, new_group, pair, refused_for, refused_with, relayed_by,
};

#[test]
fn settings_at_the_limit() {
    let (mut alice, mut bob, group) = pair();
    let relays = |n: usize| (0..n).map(|i| format!("wss://r{i:02}.example")).collect::<Vec<_>>();
    let before = alice.digest();
    let described =
        |text: String| GroupUpdate { description: Some(text), ..GroupUpdate::default() };
    for (update, expected) in [
        (named("n".repeat(257)), ("name", Some(256), Some(257))),
        // Bytes, not characters.
        (named("é".repeat(129)), ("name", Some(256), Some(258))),
        (described("d".repeat(4097)), ("description", Some(4096), Some(4097))),
        (relayed_by(relays(17)), ("relays", Some(16), Some(17))),
    ] {
        refused_with(alice.engine.update_group(&group, update), expected);
    }
    let long = format!("wss://{}.example", "a".repeat(512));
    for bad in ["https://r.example", "wss://", "relay.example", "wss://user@r.example", &long] {
        let refused = alice.engine.update_group(&group, relayed_by(vec![bad.to_owned()]));
        assert!(matches!(refused, Err(Error::InvalidRelayUrl(_))), "{bad}");
    }
    let mut of = |admins| {
        let update = GroupUpdate { admins: Some(admins), ..GroupUpdate::default() };
        alice.engine.update_group(&group, update)
    };
    refused_for(of(vec![Keys::generate().public_key()]), "admins");
    assert!(matches!(of(vec![]), Err(Error::LastAdmin)));
    assert!(alice.digest() == before);

    let all = GroupUpdate {
        name: Some("n".repeat(256)),
        description: Some("d".repeat(4096)),
        relays: Some(relays(16)),
        retention: Some(u64::MAX),
        ..GroupUpdate::default()
    };
    alice.changes(&group, all, &mut [&mut bob]);
    let info = bob.info(&group);
    assert_eq!(
        (info.profile.name.len(), info.profile.description.len(), info.relays.len()),
        (256, 4096, 16)
    );
    assert_eq!(info.retention, Some(u64::MAX));

    let new = |name: usize| new_group(&"n".repeat(name), vec![]);
    refused_with(alice.engine.create_group(new(257)), ("name", Some(256), Some(257)));
    assert!(alice.engine.create_group(new(256)).is_ok());
}

#[test]
fn members_are_named_rightly() {
    let (mut alice, mut bob, group) = pair();
    let (a, b, stranger) = (alice.key(), bob.key(), Keys::generate().public_key());
    let mut carol = Member::new("carol");
    let twice = [carol.key_package(), carol.key_package()];
    let again = [bob.key_package()];
    for (packages, field) in [(&again[..], "key_packages"), (&twice, "members")] {
        refused_for(alice.engine.add_members(&group, packages, false), field);
    }
    for whom in [a, stranger] {
        refused_for(alice.engine.remove_members(&group, &[whom]), "members");
    }
    let not_a_package = alice.says(&group, "x");
    let refused = alice.engine.add_members(&group, &[not_a_package], false);
    assert!(matches!(refused, Err(Error::IncompatibleMember { .. })));
    let unknown = GroupId::from_bytes(&[9; 16]).unwrap();
    assert!(matches!(alice.engine.self_update(&unknown), Err(Error::GroupNotFound)));
    refused_for(alice.engine.export_secret(&group, "x", b"", 0), "length");
    let long = alice.engine.export_secret(&group, "x", b"", 8161);
    refused_with(long, ("length", Some(8160), Some(8161)));
    assert_eq!(alice.engine.export_secret(&group, "x", b"", 8160).unwrap().expose().len(), 8160);
    let members = bob.engine.members(&group).unwrap();
    let is_me: Vec<_> = members.iter().filter(|m| m.is_me).map(|m| m.public_key).collect();
    assert_eq!(is_me, [b]);
    assert!(members.iter().any(|m| m.public_key == b && !m.is_admin));
}

/// rule: 2.4-9, 2.4-8: only the author edits and deletes; reactions have a limit.
#[test]
fn edits_deletes_and_reactions() {
    let (mut alice, mut bob, group) = pair();
    let first = alice.utters(&group, "frist").message.id;
    let page = |m: &mut Member| m.engine.message(&group, &first).unwrap();
    let event = alice.says(&group, "dummy");
    bob.takes(&event);
    assert!(matches!(bob.engine.message(&group, &first), Err(Error::MessageNotFound)));
    // An edit that comes before its message counts when the message is there.
    let edit = alice.engine.edit(&group, &first, "first").unwrap();
    bob.applies(&edit.event);
    assert_eq!(page(&mut alice).text, "first");
    let other = alice.utters(&group, "another");
    bob.applies(&other.event);
    assert!(matches!(bob.engine.edit(&group, &other.message.id, "x"), Err(Error::NotAllowed(_))));
    assert!(matches!(bob.engine.delete(&group, &other.message.id), Err(Error::NotAllowed(_))));
    // What our engine does not send, another client may: an edit and a delete of somebody else's message.
    for (kind, text) in [(kind::EDIT, "taken over"), (kind::DELETE, "")] {
        let tags = vec![vec!["e".to_owned(), other.message.id.to_hex()]];
        let message = NewMessage { text: text.into(), kind, tags, ..NewMessage::default() };
        let sent = bob.sends(&group, message);
        assert!(alice.applies(&sent.event).events.is_empty());
    }
    assert_eq!(alice.engine.message(&group, &other.message.id).unwrap().text, "another");

    refused_with(
        bob.engine.react(&group, &other.message.id, &"+".repeat(65)),
        ("emoji", Some(64), Some(65)),
    );
    let reaction = bob.engine.react(&group, &other.message.id, &"é".repeat(64)).unwrap();
    let outcome = alice.applies(&reaction.event);
    assert!(outcome.events.iter().any(|e| matches!(e.body, EventBody::ReactionAdded { .. })));
    assert_eq!(alice.engine.message(&group, &other.message.id).unwrap().reactions.len(), 1);
    let unreact = bob.engine.delete(&group, &reaction.message.id).unwrap();
    let outcome = alice.applies(&unreact.event);
    assert!(outcome.events.iter().any(|e| matches!(e.body, EventBody::ReactionRemoved { .. })));
    for member in [&mut alice, &mut bob] {
        assert!(member.engine.message(&group, &other.message.id).unwrap().reactions.is_empty());
    }
    let unknown = EventId::from_bytes([3; 32]);
    assert!(matches!(bob.engine.react(&group, &unknown, "+"), Err(Error::MessageNotFound)));
}

/// A reaction, an edit or a deletion that is written by hand is about a message that it can be about.
#[test]
fn what_nobody_would_see_is_not_sent() {
    let (mut alice, mut bob, group) = pair();
    let theirs = bob.utters(&group, "theirs");
    alice.applies(&theirs.event);
    let ours = alice.utters(&group, "ours").message.id;
    let deleted = alice.utters(&group, "gone").message.id;
    let deletion = alice.engine.delete(&group, &deleted).unwrap().message.id;
    let like = alice.engine.react(&group, &ours, "+").unwrap().message.id;
    let mut sends = |kind: u16, target: Option<EventId>| {
        let tags = target.iter().map(|id| vec!["e".to_owned(), id.to_hex()]).collect();
        let message = NewMessage { text: "+".into(), kind, tags, ..NewMessage::default() };
        alice.engine.create_message(&group, message)
    };
    for kind in [kind::REACTION, kind::EDIT, kind::DELETE] {
        refused_for(sends(kind, None), "tags");
        let unknown = EventId::from_bytes([3; 32]);
        assert!(matches!(sends(kind, Some(unknown)), Err(Error::MessageNotFound)), "{kind}");
    }
    for (kind, target) in [
        (kind::EDIT, theirs.message.id),
        (kind::DELETE, theirs.message.id),
        (kind::EDIT, deleted),
        (kind::EDIT, like),
        (kind::DELETE, deletion),
    ] {
        assert!(matches!(sends(kind, Some(target)), Err(Error::NotAllowed(_))), "{kind}");
    }
    for (kind, target) in
        [(kind::REACTION, theirs.message.id), (kind::EDIT, ours), (kind::DELETE, like)]
    {
        sends(kind, Some(target)).unwrap();
    }
    let tags = vec![vec!["e".to_owned(), theirs.message.id.to_hex()]];
    let long = NewMessage { kind: kind::REACTION, tags, ..chat("é".repeat(65)) };
    refused_with(alice.engine.create_message(&group, long), ("text", Some(64), Some(65)));
}

/// What takes an edit back says how its message reads now; a deletion cannot be taken back.
#[test]
fn a_deleted_edit_gives_way_to_what_was_before() {
    let (mut alice, mut bob, group) = pair();
    let said = alice.utters(&group, "v0");
    let id = said.message.id;
    bob.applies(&said.event);
    let edits = ["v1", "v2"].map(|text| alice.engine.edit(&group, &id, text).unwrap());
    edits.iter().for_each(|edit| drop(bob.applies(&edit.event)));
    let mut takes_back = |edit: &Outgoing, text: &str, told: bool| {
        let delete = alice.engine.delete(&group, &edit.message.id).unwrap();
        let outcome = bob.applies(&delete.event);
        let now: Vec<_> = outcome
            .events
            .iter()
            .map(|event| match &event.body {
                EventBody::MessageEdited { message } => (message.id, message.text.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(now, if told { vec![(id, text.to_owned())] } else { Vec::new() });
        for member in [&mut alice, &mut bob] {
            let message = member.engine.message(&group, &id).unwrap();
            assert_eq!((&message.text[..], message.fate.edited), (text, text != "v0"));
        }
        delete
    };
    // One that is not shown.
    takes_back(&edits[0], "v2", false);
    let delete = takes_back(&edits[1], "v0", true);
    let refused = alice.engine.delete(&group, &delete.message.id);
    assert!(matches!(refused, Err(Error::NotAllowed(_))));
    let delete = alice.engine.delete(&group, &id).unwrap();
    let outcome = bob.applies(&delete.event);
    assert!(matches!(
        outcome.events[..],
        [EngineEvent { body: EventBody::MessageDeleted { .. }, .. }]
    ));
}

/// A deleted message leaves the history with the others of its time, whatever was told in which order.
// shows: 2.9-3
#[test]
fn what_is_left_of_a_deleted_message_expires() {
    for late in [false, true] {
        let (mut alice, mut bob, group) = pair();
        alice.changes(&group, kept_for(60), &mut [&mut bob]);
        let said = alice.utters(&group, "hush");
        let edit = alice.engine.edit(&group, &said.message.id, "hush!").unwrap();
        let delete = alice.engine.delete(&group, &said.message.id).unwrap();
        bob.applies(&said.event);
        bob.applies(&edit.event);
        if late {
            bob.clock.advance_millis(61_000);
            bob.takes(&delete.event);
        } else {
            bob.applies(&delete.event);
            assert!(bob.engine.message(&group, &said.message.id).unwrap().fate.deleted);
            bob.clock.advance_millis(61_000);
        }
        alice.clock.advance_millis(61_000);
        for member in [&mut alice, &mut bob] {
            member.engine.tick().unwrap();
            let left = member.engine.message(&group, &said.message.id);
            assert!(matches!(left, Err(Error::MessageNotFound)), "{late} {}", member.name);
            assert!(member.engine.messages(&group, 10, None, None).unwrap().is_empty());
            assert!(member.info(&group).last_message.is_none());
        }
    }
}

// rule: 2.4-20
/// Whoever says what is answered says it once.
#[test]
fn an_answer_names_one_message() {
    let (mut alice, mut bob, group) = pair();
    let (one, other) = (alice.utters(&group, "one"), alice.utters(&group, "other"));
    let answer = |name: &str| NewMessage {
        reply_to: Some(one.message.id),
        tags: vec![vec![name.to_owned(), other.message.id.to_hex()]],
        ..chat("yes")
    };
    refused_for(alice.engine.create_message(&group, answer("q")), "tags");
    refused_for(alice.engine.create_message(&group, answer("e")), "tags");
    let sent = alice.sends(&group, answer("p"));
    assert_eq!(sent.message.reply_to, Some(one.message.id));
    let of = |name: &str, id: String| vec![name.to_owned(), id];
    let (answered, mentioned) = (one.message.id.to_hex(), other.message.id.to_hex());
    let tags = [of("p", mentioned), of("e", answered.clone()), of("q", answered)];
    assert_eq!(sent.message.tags, tags);
    bob.applies(&sent.event);
    assert_eq!(
        bob.engine.message(&group, &sent.message.id).unwrap().reply_to,
        Some(one.message.id)
    );
}

#[test]
fn paging_and_search() {
    let (mut alice, mut bob, group) = pair();
    for n in 0..25 {
        let event = alice.utters(&group, &format!("number {n} 100%_sure")).event;
        bob.applies(&event);
    }
    let mut pages = Vec::new();
    let mut before: Option<EventId> = None;
    loop {
        let page = bob.engine.messages(&group, 10, before.as_ref(), None).unwrap();
        if page.is_empty() {
            break;
        }
        before = Some(page[0].id);
        pages.splice(0..0, page.into_iter().map(|m| m.text));
    }
    assert_eq!(pages, bob.texts(&group));
    assert_eq!(pages.len(), 25);
    let first = bob.engine.messages(&group, 1000, None, None).unwrap()[0].id;
    let next = bob.engine.messages(&group, 5, None, Some(&first)).unwrap();
    assert_eq!(next.iter().map(|m| m.text.as_str()).next(), Some("number 1 100%_sure"));
    assert!(bob.engine.messages(&group, 0, None, None).unwrap().is_empty());
    let unknown = EventId::from_bytes([3; 32]);
    assert!(matches!(
        bob.engine.messages(&group, 5, Some(&unknown), None),
        Err(Error::MessageNotFound)
    ));
    let found = |m: &mut Member, text: &str| m.engine.search(text, None, 100).unwrap().len();
    assert_eq!(found(&mut bob, "number 2 "), 1);
    assert_eq!(found(&mut bob, "100%_sure"), 25);
    assert_eq!(found(&mut bob, "100x"), 0, "no pattern characters");
    assert_eq!(found(&mut bob, "' OR 1=1 --"), 0);
    assert_eq!(bob.engine.search("number", Some(&group), 3).unwrap().len(), 3);
    assert_eq!(bob.info(&group).unread_count, 25);
    bob.engine.mark_read(&group, None).unwrap();
    assert_eq!(bob.info(&group).unread_count, 0);
}

#[test]
fn the_event_log_resumes() {
    let (mut alice, mut bob, group) = pair();
    for n in 0..7 {
        let event = alice.utters(&group, &n.to_string()).event;
        bob.applies(&event);
    }
    let all = bob.engine.events(0, 1000).unwrap();
    assert!(all.len() >= 8 && all.windows(2).all(|w| w[0].cursor < w[1].cursor));
    let mut cursor = 0;
    let mut seen = Vec::new();
    loop {
        let part = bob.engine.events(cursor, 3).unwrap();
        let Some(last) = part.last() else { break };
        cursor = last.cursor;
        seen.extend(part);
    }
    assert_eq!(seen, all);
    assert!(bob.engine.events(cursor, 3).unwrap().is_empty());
}
