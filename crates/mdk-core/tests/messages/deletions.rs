//! What a deletion does, whenever it comes, and what cannot be deleted.

use mdk_core::{Error, EventBody, NewMessage, testing};
use mdk_wire::{Event, EventId, GroupId, kind};

use super::lifetimes::{SHORT, Three, deleted};
use crate::kit::fork::orders;
use crate::kit::{Member, pair};

/// Text and whether it is deleted, of all that is shown.
fn shown(member: &mut Member, group: &GroupId) -> Vec<(String, bool)> {
    let page = member.engine.messages(group, 100, None, None).unwrap();
    page.into_iter().map(|m| (m.text, m.fate.deleted)).collect()
}

fn gone() -> Vec<(String, bool)> {
    vec![(String::new(), true)]
}

fn ends(event: &Event) -> Option<String> {
    let tag = event.tags().iter().find(|tag| tag[0] == "expiration")?;
    Some(tag[1].clone())
}

/// Said for good, deleted in an epoch that keeps nothing for long. Who hears of the deletion too late, or of the message
/// only when the deletion has had its time, has it deleted like everybody.
// shows: 2.9-8
#[test]
fn a_deletion_counts_whenever_it_comes() {
    let mut three = Three::new(0);
    let group = three.group.clone();
    let (said, liked) = (three.says("secret"), three.says("liked"));
    three.all_read(&liked.event);
    three.readers[0].applies(&said.event);
    let reaction = three.reacts_to(&liked, "+");
    three.lasts(SHORT);
    let delete = three.alice.engine.delete(&group, &said.message.id).unwrap();
    let taken_back = three.alice.engine.delete(&group, &reaction.message.id).unwrap();
    assert_eq!(ends(&delete.event), None, "relays keep it as long as what it deletes");
    // Carol has the deletion in time, and nothing that it could delete.
    three.readers[1].applies(&delete.event);
    three.passes(SHORT + 5);
    three.readers[1].engine.tick().unwrap();
    assert_eq!(deleted(&three.readers[0].applies(&delete.event).events), 1);
    assert_eq!(deleted(&three.readers[1].applies(&said.event).events), 0);
    let mut all = three.readers;
    for member in &mut all {
        let outcome = member.applies(&taken_back.event);
        let told =
            outcome.events.iter().any(|e| matches!(e.body, EventBody::ReactionRemoved { .. }));
        assert!(told, "{}: {:?}", member.name, outcome.events);
        let mut now = shown(member, &group);
        now.sort();
        assert_eq!(now, [(String::new(), true), ("liked".into(), false)], "{}", member.name);
        assert!(member.engine.search("secret", None, 9).unwrap().is_empty());
        let liked = member.engine.message(&group, &liked.message.id).unwrap();
        assert!(liked.reactions.is_empty(), "{}", member.name);
        // Nor does a copy bring it back.
        assert!(member.takes(&said.event).events.is_empty());
    }
}

/// An app that shows a reaction has to learn which one is gone. What could be words is gone, too, from the log as well.
// shows: 2.9-9
#[test]
fn the_log_names_the_sign_that_is_gone_and_no_words() {
    let mut three = Three::new(0);
    let group = three.group.clone();
    let said = three.tells("said");
    let kiss =
        "\u{1f469}\u{1f3fd}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f48b}\u{200d}\u{1f468}\u{1f3fe}";
    let signs = ["+", "-", "\u{1f44d}", "\u{2764}\u{fe0f}", "\u{1f1e9}\u{1f1ea}", kiss];
    let tags = "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}";
    let flags = "\u{1f1f8}\u{1f1ea}\u{1f1e8}\u{1f1f7}";
    let hidden = "\u{2764}\u{200d}\u{200d}\u{200d}";
    let enclosed = "\u{24a8}\u{24a0}";
    let braille = "\u{280d}\u{2811}";
    let many = "\u{1f44d}\u{2764}";
    let words = ["no", "7", "é", "水", tags, flags, "-.. .", hidden, enclosed, braille, many];
    for emoji in signs.iter().chain(&words) {
        let at = three.readers[0].engine.last_cursor().unwrap();
        let reaction = three.reacts_to(&said, emoji);
        let taken_back = three.alice.engine.delete(&group, &reaction.message.id).unwrap();
        let reader = &mut three.readers[0];
        let told = |reader: &mut Member| {
            let rows = reader.engine.events(at, 9).unwrap().into_iter();
            let emojis = rows.filter_map(|row| match row.body {
                EventBody::ReactionAdded { reaction } => Some((true, reaction.emoji)),
                EventBody::ReactionRemoved { reaction } => Some((false, reaction.emoji)),
                _ => None,
            });
            emojis.collect::<Vec<_>>()
        };
        assert_eq!(told(reader), [(true, (*emoji).to_owned())]);
        reader.applies(&taken_back.event);
        let left = if signs.contains(emoji) { *emoji } else { "" };
        assert_eq!(told(reader), [(false, left.to_owned())], "{emoji}");
    }
}

/// The deletion comes too late and before what it deletes: it waits for that, for a month.
// shows: 2.9-8
#[test]
fn a_late_deletion_waits_for_what_it_deletes() {
    let mut three = Three::new(0);
    let group = three.group.clone();
    let said = three.says("secret");
    three.lasts(SHORT);
    let reason = NewMessage {
        text: "a reason that has had its time".into(),
        kind: kind::DELETE,
        tags: vec![vec!["e".into(), said.message.id.to_hex()]],
        ..NewMessage::default()
    };
    let delete = three.alice.sends(&group, reason);
    three.passes(SHORT + 5);
    let [bob, carol] = &mut three.readers;
    for member in [&mut *bob, &mut *carol] {
        member.applies(&delete.event);
        let read = member.engine.message(&group, &delete.message.id);
        assert!(matches!(read, Err(Error::MessageNotFound)), "{}", member.name);
        let kept = testing::history(&mut member.engine).unwrap();
        assert!(
            kept.iter().all(|row| row.json.as_ref().is_none_or(|json| !json.contains("a reason"))),
            "{}",
            member.name
        );
        member.waits(3_600_000);
    }
    bob.applies(&said.event);
    assert_eq!(shown(bob, &group), gone());
    carol.waits(31 * 24 * 3_600_000);
    let left = testing::history(&mut carol.engine).unwrap();
    assert!(left.is_empty(), "nothing waits longer than a month: {}", left.len());
}

/// Said for good, and again in an epoch that keeps nothing for long: the deletion is of both, in every order, whenever
/// the shorter time is over.
// shows: 2.9-8
#[test]
fn a_deletion_is_of_every_copy() {
    let orders = orders(3);
    for over in 0..=3 {
        let mut three = Three::new(0);
        let group = three.group.clone();
        // A message for each order.
        let said: Vec<_> = orders.iter().map(|_| three.says("secret")).collect();
        three.lasts(SHORT);
        let events: Vec<[Event; 3]> = (said.into_iter())
            .map(|said| {
                let again = three.again(&said.message.id);
                let delete = three.alice.engine.delete(&group, &said.message.id).unwrap();
                [said.event, again, delete.event]
            })
            .collect();
        let [bob, _] = &mut three.readers;
        for at in 0..3 {
            if at == over {
                bob.waits((SHORT + 10) * 1000);
            }
            for (order, events) in orders.iter().zip(&events) {
                bob.applies(&events[order[at]]);
            }
        }
        bob.waits((SHORT + 10) * 1000);
        assert!(bob.texts(&group).iter().all(String::is_empty), "{over}");
        assert!(bob.engine.search("secret", None, 9).unwrap().is_empty(), "{over}");
        for event in events.iter().flatten() {
            assert!(bob.takes(event).events.is_empty(), "{over}");
        }
    }
}

/// A deletion of a deletion changes nothing, in any order of the three, singly or together.
// rule: 2.4-18
#[test]
fn a_deletion_is_final() {
    let (mut alice, mut bob, group) = pair();
    let liked = alice.utters(&group, "liked");
    bob.applies(&liked.event);
    let cases = orders(3).into_iter().flat_map(|order| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|case| (order.clone(), case))
    });
    for (order, (reaction, together)) in cases {
        let said = match reaction {
            true => alice.engine.react(&group, &liked.message.id, "+").unwrap(),
            false => alice.utters(&group, "secret"),
        };
        let delete = alice.engine.delete(&group, &said.message.id).unwrap();
        let refused = alice.engine.delete(&group, &delete.message.id);
        assert!(matches!(refused, Err(Error::NotAllowed(_))));
        let tags = vec![vec!["e".into(), delete.message.id.to_hex()]];
        let again = NewMessage { kind: kind::DELETE, tags, ..NewMessage::default() };
        let again = alice.sends(&group, again);
        let events = [said.event, delete.event, again.event];
        let given: Vec<Event> = order.iter().map(|at| events[*at].clone()).collect();
        if together {
            bob.takes_all(&given);
        } else {
            given.iter().for_each(|event| drop(bob.applies(event)));
        }
        assert_eq!(shown(&mut bob, &group), shown(&mut alice, &group), "{order:?} {together}");
        let liked = bob.engine.message(&group, &liked.message.id).unwrap();
        assert!(liked.reactions.is_empty(), "{order:?} {together}");
    }
    let deleted = shown(&mut bob, &group).into_iter().filter(|(_, deleted)| *deleted);
    assert_eq!(deleted.count(), 12, "each message, and no reaction");
}

/// Whoever looks at a history makes what has had its time go: the next outcome says so, as if nobody had looked.
// shows: 2.9-5
#[test]
fn what_goes_before_a_read_is_told() {
    let looks: [fn(&mut Member, &GroupId, &EventId); 4] = [
        |member, _, _| {
            let log = member.engine.events(0, 99).unwrap();
            let texts = log.iter().filter(|e| matches!(e.body, EventBody::MessageReceived { .. }));
            assert_eq!(texts.count(), 0, "the log has the text");
        },
        |member, group, _| drop(member.engine.messages(group, 9, None, None).unwrap()),
        |member, group, id| assert!(member.engine.message(group, id).is_err()),
        |member, _, _| drop(member.engine.search("vanishes", None, 9).unwrap()),
    ];
    for look in looks {
        let mut three = Three::new(SHORT);
        let said = three.tells("vanishes");
        three.passes(SHORT + 5);
        let (bob, group) = (&mut three.readers[0], three.group.clone());
        look(bob, &group, &said.message.id);
        // Nobody looks for news in what says that nothing changed.
        assert!(bob.engine.process(b"{}").unwrap().events.is_empty());
        assert!(bob.takes(&said.event).events.is_empty());
        assert_eq!(deleted(&bob.engine.tick().unwrap().events), 1);
        assert_eq!(deleted(&bob.engine.tick().unwrap().events), 0);
    }
}
