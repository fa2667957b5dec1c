//! The outbox: messages of ours on their way, and how far they are.

use mdk_core::{Delivery, Error, EventBody, OutboxPurpose, RelayVerdict, SendState};
use mdk_wire::{EventId, Keys, UnsignedEvent, kind};

use super::relays::{ONE, OnDisk, TWO, later, pair, parse, refused, relays, sending, went};
use crate::kit::{Member, RELAY, chat, kept_for};

/// shows: OB-1, OB-5: every event is there with the bytes that were handed out, in the order of making.
#[test]
fn everything_that_is_sent_is_in_it_in_order() {
    let (mut alice, mut bob, group) = pair();
    let said = alice.says(&group, "one");
    let target = alice.engine.messages(&group, 1, None, None).unwrap()[0].id;
    let more = [
        alice.engine.react(&group, &target, "+").unwrap(),
        alice.engine.edit(&group, &target, "two").unwrap(),
        alice.engine.delete(&group, &target).unwrap(),
    ];
    let package = alice.engine.new_key_package(&relays(&[RELAY]), None).unwrap();
    let update = alice.engine.self_update(&group).unwrap();

    let items = alice.outbox();
    let mut events = vec![said];
    events.extend(more.iter().map(|sent| sent.event.clone()));
    events.extend([package, update.event.clone().unwrap()]);
    assert_eq!(items.len(), events.len());
    for (item, event) in items.iter().zip(&events) {
        assert_eq!((&item.event, item.event_id), (&event.to_json(), event.id()));
        assert_eq!((item.attempts, item.results.len()), (0, item.relays.len()));
    }
    assert!(items.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let message_ids: Vec<EventId> = more.iter().map(|sent| sent.message.id).collect();
    let purposes: Vec<OutboxPurpose> = items.iter().map(|item| item.purpose).collect();
    let message = |message_id| OutboxPurpose::Message { message_id };
    let expected = [
        message(target),
        message(message_ids[0]),
        message(message_ids[1]),
        message(message_ids[2]),
        OutboxPurpose::KeyPackage,
        OutboxPurpose::Commit { pending: update.id },
    ];
    assert_eq!(purposes, expected);
    assert_eq!(items[0].relays, relays(&[ONE, TWO]));
    assert_eq!(items[0].group, Some(group.clone()));
    assert_eq!((&items[4].relays, &items[4].group), (&relays(&[RELAY]), &None));
    assert_eq!(alice.engine.outbox(2).unwrap(), items[..2]);
    let aside = items[..3].iter().map(|item| item.seq).collect();
    assert_eq!(alice.engine.outbox_but(&aside, 2).unwrap(), items[3..5]);
    assert_eq!(alice.engine.outbox_end().unwrap(), items[5].seq);
    let key_package = items[4].seq;
    assert_eq!(alice.engine.outbox_next(key_package, None).unwrap(), Some(key_package));
    let next = alice.engine.outbox_next(key_package, Some(&group)).unwrap();
    assert_eq!(next, Some(items[5].seq), "of that group");

    for event in alice.publishes() {
        if event.kind() == kind::GROUP_MESSAGE {
            bob.applies(&event);
        }
    }
    assert!(alice.outbox().is_empty());
}

/// breaks: a refused call leaves nothing (rule: OB-1).
#[test]
fn what_fails_is_not_in_it() {
    let (mut alice, _, group) = pair();
    let before = alice.digest();
    assert!(alice.engine.create_message(&group, chat("x".repeat(70_000))).is_err());
    assert!(alice.outbox().is_empty());
    assert_eq!(alice.digest(), before);
}

/// shows: OB-1, OB-5: a process that ends after the call loses nothing, and repeats the same bytes.
#[test]
fn it_outlives_the_process() {
    let mut alice = OnDisk::new("alice");
    let mut bob = Member::new("bob");
    let group = alice.founds("g", &mut [&mut bob]);
    alice.publishes();
    let id = alice.utters(&group, "kept").message.id;
    let before = alice.outbox();
    alice.answers(&before[0], RELAY, later(5_000));

    let mut alice = alice.restarted();
    let after = alice.outbox();
    assert_eq!(after[0].event, before[0].event);
    assert_eq!((after[0].seq, after[0].attempts), (before[0].seq, 1));
    let waits = &after[0].results[0];
    assert_eq!((waits.state, waits.attempts, waits.next_at), (SendState::Waiting, 1, 5_000));
    assert_eq!(alice.engine.outbox_messages().unwrap()[0].id, id);
    alice.engine.tick().unwrap();
    assert_eq!(alice.outbox().len(), 1, "a tick adds nothing");
    assert_eq!(crate::kit::received(&bob.applies(&parse(&after[0].event))), ["kept"]);
    alice.answers(&after[0], RELAY, RelayVerdict::Accepted);

    let mut alice = alice.restarted();
    alice.engine.tick().unwrap();
    assert!(alice.outbox().is_empty());
    assert_eq!(alice.deliveries(), [(id, Delivery::Accepted, Vec::new())]);
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
}

/// shows: OB-6, OB-12: the first relay that has a message makes it delivered, and that is told once.
#[test]
fn two_relays_answer_differently() {
    let (mut alice, _, group) = pair();
    let id = alice.utters(&group, "hi").message.id;
    assert_eq!(alice.delivery(&group), Delivery::Queued);
    let item = alice.outbox().remove(0);

    assert_eq!(went(alice.answers(&item, ONE, refused("blocked: go away"))), (false, None));
    assert_eq!(alice.engine.outbox_messages().unwrap().len(), 1);
    let words = vec![(ONE.to_owned(), "blocked: go away".to_owned())];
    assert_eq!(alice.engine.delivery_errors(&id).unwrap(), words);

    assert_eq!(
        went(alice.answers(&item, TWO, RelayVerdict::Accepted)),
        (true, Some(Delivery::Accepted))
    );
    assert!(alice.outbox().is_empty() && alice.engine.outbox_messages().unwrap().is_empty());
    // What one said against it can still be asked for.
    assert_eq!(alice.engine.delivery_errors(&id).unwrap(), words);
    for late in [RelayVerdict::Accepted, refused("no"), later(1)] {
        let change = alice.answers(&item, TWO, late);
        assert_eq!((change.finished, change.delivery, change.commit), (true, None, None));
    }
    assert_eq!(alice.deliveries(), [(id, Delivery::Accepted, words)]);
}

/// shows: OB-7, OB-8, OB-12: refused by all it has failed, and can be sent again with the same bytes.
#[test]
fn refused_by_all_it_fails_and_is_sent_again() {
    let (mut alice, mut bob, group) = pair();
    let id = alice.utters(&group, "hi").message.id;
    let item = alice.outbox().remove(0);
    assert!(matches!(alice.engine.outbox_retry(&id), Err(Error::NotAllowed(_))));
    assert!(!alice.answers(&item, ONE, refused("a")).finished);
    assert_eq!(went(alice.answers(&item, TWO, refused("b"))), (true, Some(Delivery::Failed)));
    assert_eq!(alice.delivery(&group), Delivery::Failed);
    assert!(alice.outbox().is_empty() && alice.engine.outbox_messages().unwrap().is_empty());
    let words = vec![(ONE.to_owned(), "a".to_owned()), (TWO.to_owned(), "b".to_owned())];
    assert_eq!(alice.engine.delivery_errors(&id).unwrap(), words);

    for _ in 0..2 {
        // (it is what retry returns that counts: a relay may have it before anybody looks again)
        let queued = alice.engine.outbox_retry(&id).unwrap();
        assert_eq!((queued.id, queued.fate.delivery), (id, Delivery::Queued));
        assert_eq!(alice.delivery(&group), Delivery::Queued);
        let again = alice.outbox().remove(0);
        assert_eq!((again.seq, &again.event), (item.seq, &item.event));
        assert!(again.results.iter().all(|r| r.state == SendState::Waiting && r.reason.is_none()));
        alice.answers(&again, ONE, refused("a"));
        alice.answers(&again, TWO, refused("b"));
    }
    alice.engine.outbox_retry(&id).unwrap();
    alice.answers(&item, ONE, RelayVerdict::Accepted);
    assert!(matches!(alice.engine.outbox_retry(&id), Err(Error::NotAllowed(_))));
    let told: Vec<Delivery> = alice.deliveries().into_iter().map(|(_, to, _)| to).collect();
    let (failed, queued) = (Delivery::Failed, Delivery::Queued);
    assert_eq!(told, [failed, queued, failed, queued, failed, queued, Delivery::Accepted]);
    assert_eq!(crate::kit::received(&bob.applies(&parse(&item.event))), ["hi"]);
}

/// breaks: a relay took it, its answer was lost, the second attempt was refused: it came back, so it is there.
/// (rule: OB-16)
#[test]
fn what_comes_back_is_delivered() {
    let (mut alice, _, group) = pair();
    let same = |url: &str| url == ONE;
    // While it waits, and spelled as the relay is known.
    let id = alice.utters(&group, "one").message.id;
    let item = alice.outbox().remove(0);
    assert_eq!(alice.engine.outbox_awaits(&[id, item.event_id]).unwrap(), [item.event_id]);
    assert_eq!(
        went(alice.engine.outbox_echo(&item.event_id, "wss://one.example/", same).unwrap()),
        (false, Some(Delivery::Accepted))
    );
    assert_eq!(alice.outbox()[0].relays, [ONE, TWO]);
    assert_eq!(went(alice.answers(&item, ONE, refused("blocked: twice"))), (false, None));
    assert_eq!(went(alice.answers(&item, TWO, refused("blocked"))), (true, None));
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
    assert!(alice.engine.outbox_awaits(&[item.event_id]).unwrap().is_empty());
    assert!(alice.engine.outbox_echo(&item.event_id, ONE, same).unwrap().finished);

    // After it was given up.
    let id_two = alice.utters(&group, "two").message.id;
    let item = alice.outbox().remove(0);
    alice.answers(&item, ONE, refused("blocked"));
    alice.answers(&item, TWO, refused("blocked"));
    assert_eq!(alice.delivery(&group), Delivery::Failed);
    assert_eq!(alice.engine.outbox_awaits(&[item.event_id]).unwrap(), [item.event_id]);
    assert_eq!(
        went(alice.engine.outbox_echo(&item.event_id, ONE, same).unwrap()),
        (true, Some(Delivery::Accepted))
    );
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
    let told: Vec<_> = alice.deliveries().into_iter().map(|(id, to, _)| (id, to)).collect();
    let (failed, accepted) = (Delivery::Failed, Delivery::Accepted);
    assert_eq!(told, [(id, accepted), (id_two, failed), (id_two, accepted)]);
}

/// shows: OB-13: what no relay has is taken back, and only ids are left of it.
#[test]
fn a_message_is_taken_back() {
    let (mut alice, _, group) = pair();
    let id = alice.utters(&group, "regretted").message.id;
    let edit = alice.engine.edit(&group, &id, "regretted more").unwrap().message.id;
    let item = alice.outbox().remove(0);
    alice.answers(&item, ONE, later(1));
    assert!(alice.engine.outbox_cancel(&id).unwrap());
    assert!(alice.outbox().is_empty(), "its edit is of no use");
    let message = alice.engine.message(&group, &id).unwrap();
    assert_eq!((message.fate.deleted, message.text.as_str()), (true, ""));
    assert_eq!(message.fate.delivery, Delivery::Failed);
    let told: Vec<EventId> = alice.deliveries().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(told, [id, edit]);
    // Once more it is not there.
    assert!(!alice.engine.outbox_cancel(&id).unwrap());
    assert!(matches!(alice.engine.outbox_retry(&id), Err(Error::MessageNotFound)));
    assert!(alice.answers(&item, ONE, refused("blocked")).finished);
    assert_eq!(alice.engine.message(&group, &id).unwrap().fate.delivery, Delivery::Failed);
    // An answer that was under way: a relay has it, and that is told.
    assert!(alice.answers(&item, ONE, RelayVerdict::Accepted).finished);
    let message = alice.engine.message(&group, &id).unwrap();
    assert_eq!((message.fate.deleted, message.fate.delivery), (true, Delivery::Accepted));
    let told = alice.deliveries().pop().unwrap();
    assert_eq!((told.0, told.1), (id, Delivery::Accepted));
    assert!(alice.outbox().is_empty(), "it goes nowhere else");
}

/// breaks: OB-13: what a relay has, and what has happened here. (rule: OB-13)
#[test]
fn not_everything_can_be_taken_back() {
    let (mut alice, _, group) = pair();
    let id = alice.utters(&group, "there").message.id;
    let item = alice.outbox().remove(0);
    alice.answers(&item, ONE, RelayVerdict::Accepted);
    assert!(!alice.engine.outbox_cancel(&id).unwrap());
    assert_eq!(alice.outbox().len(), 1);

    let reaction = alice.engine.react(&group, &id, "+").unwrap().message.id;
    let edit = alice.engine.edit(&group, &id, "elsewhere").unwrap().message.id;
    assert!(alice.engine.outbox_cancel(&reaction).unwrap());
    assert!(alice.engine.outbox_cancel(&edit).unwrap());
    let message = alice.engine.message(&group, &id).unwrap();
    assert_eq!((message.text.as_str(), message.fate.edited), ("there", false));
    assert!(message.reactions.is_empty());
    let deletion = alice.engine.delete(&group, &id).unwrap().message.id;
    assert!(matches!(alice.engine.outbox_cancel(&deletion), Err(Error::NotAllowed(_))));
    assert_eq!(alice.outbox().len(), 2);
    assert!(!alice.engine.outbox_cancel(&EventId::from_bytes([1; 32])).unwrap());
}

/// shows: OB-14: a message whose time has come is not sent any more, and is reported.
#[test]
fn an_expired_message_leaves_it() {
    let (mut alice, _, group) = pair();
    alice.changes(&group, kept_for(60), &mut []);
    alice.publishes();
    let (kept, gone) =
        (alice.utters(&group, "kept").message.id, alice.utters(&group, "gone").message.id);
    let item = alice.outbox().remove(0);
    alice.answers(&item, ONE, RelayVerdict::Accepted);
    let told = alice.deliveries().len();
    alice.clock.advance_millis(61_000);
    assert!(alice.outbox().is_empty());
    let words = "the message has expired".to_owned();
    let errors = vec![(ONE.to_owned(), words.clone()), (TWO.to_owned(), words)];
    assert_eq!(alice.deliveries()[told..], [(gone, Delivery::Failed, errors)]);
    assert!(alice.engine.delivery_errors(&kept).unwrap().is_empty());
    assert!(alice.engine.outbox_messages().unwrap().is_empty());
    assert!(alice.answers(&item, TWO, RelayVerdict::Accepted).finished);
}

/// A deletion is not over with its time: it waits for a relay, and cannot be taken back.
// shows: 2.9-8, OB-17
#[test]
fn a_deletion_waits_for_longer_than_it_lasts() {
    let (mut alice, mut bob, group) = pair();
    let id = alice.utters(&group, "secret").message.id;
    for event in alice.publishes() {
        bob.applies(&event);
    }
    let lasts = |alice: &mut Member, bob: &mut Member, seconds| {
        alice.changes(&group, kept_for(seconds), &mut []);
        alice.publishes().iter().for_each(|event| drop(bob.takes(event)));
    };
    lasts(&mut alice, &mut bob, 60);
    let deletion = alice.engine.delete(&group, &id).unwrap().message.id;
    for _ in 0..3 {
        alice.waits(61_000);
        let waiting = alice.engine.outbox_messages().unwrap();
        assert_eq!(waiting.iter().map(|m| m.id).collect::<Vec<_>>(), [deletion]);
        assert!(matches!(alice.engine.outbox_cancel(&deletion), Err(Error::NotAllowed(_))));
    }
    // Said again when its epoch is gone, like all that waits.
    for _ in 0..6 {
        let commit = bob.updates(&group, &mut []);
        alice.applies(&commit.event.unwrap());
    }
    let told = alice.deliveries().len();
    let mut published = alice.publishes();
    published.retain(|event| event.kind() == kind::GROUP_MESSAGE);
    assert_eq!(published.len(), 1);
    assert!(bob.applies(&published[0]).events.iter().any(
        |event| matches!(&event.body, EventBody::MessageDeleted { message_id: gone, .. } if *gone == id)
    ));
    assert_eq!(alice.deliveries()[told..], [(deletion, Delivery::Accepted, Vec::new())]);
    // Then it goes, as its time was over.
    alice.waits(61_000);
    let read = alice.engine.message(&group, &deletion);
    assert!(matches!(read, Err(Error::MessageNotFound)));
}

/// shows: OB-15: who was removed says nothing more, and learns that it was not said.
#[test]
fn what_waits_in_a_group_that_is_left_fails() {
    let (mut alice, mut bob, group) = pair();
    bob.engine.enable_outbox();
    let (half, none) =
        (bob.utters(&group, "half").message.id, bob.utters(&group, "none").message.id);
    let item = bob.outbox().remove(0);
    bob.answers(&item, ONE, RelayVerdict::Accepted);
    alice.removes(&group, bob.key(), &mut [&mut bob]);
    assert!(bob.outbox().is_empty());
    let told = bob.deliveries();
    assert_eq!((told[0].0, told[0].1), (half, Delivery::Accepted));
    assert_eq!((told[1].0, told[1].1, told.len()), (none, Delivery::Failed, 2));
    let words = bob.engine.delivery_errors(&none).unwrap();
    assert_eq!(words[1], (TWO.to_owned(), "no longer a member of the group".to_owned()));
    assert!(matches!(bob.engine.outbox_retry(&none), Err(Error::NotMember(_))));
}

/// A relay may say anything, and targets may change while an event waits.
#[test]
fn odd_answers_and_changed_targets() {
    let (mut alice, _, group) = pair();
    let id = alice.utters(&group, "hi").message.id;
    let item = alice.outbox().remove(0);
    assert!(!alice.answers(&item, "wss://other.example", refused("who?")).finished);
    alice.answers(&item, ONE, refused(&"ü".repeat(1000)));
    let said = alice.engine.delivery_errors(&id).unwrap().remove(0).1;
    assert_eq!((said.len(), said.chars().all(|c| c == 'ü')), (512, true));

    let third = "wss://three.example";
    alice.engine.set_outbox_relays(item.seq, &relays(&[third, ONE, third])).unwrap();
    let item = alice.outbox().remove(0);
    assert_eq!(item.relays, relays(&[third, ONE]));
    assert_eq!(item.results[1].state, SendState::Refused);
    // The only one left has refused.
    alice.engine.set_outbox_relays(item.seq, &relays(&[ONE])).unwrap();
    assert_eq!(alice.delivery(&group), Delivery::Failed);
    alice.engine.outbox_retry(&id).unwrap();
    // One that nobody named has it.
    alice.answers(&item, third, RelayVerdict::Accepted);
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
    alice.engine.set_outbox_relays(item.seq, &[]).unwrap();
    assert!(alice.outbox().is_empty());

    alice.utters(&group, "again");
    let item = alice.outbox().remove(0);
    // (the same one many times over is one)
    let many = (0..65).map(|n| format!("wss://{n}.example")).collect();
    for bad in [relays(&["https://relay.example"]), many] {
        assert!(alice.engine.set_outbox_relays(item.seq, &bad).is_err());
    }
    assert_eq!(alice.outbox().remove(0), item);
    alice.engine.set_outbox_relays(-1, &relays(&[ONE])).unwrap();
    assert!(alice.engine.outbox_result(-1, ONE, RelayVerdict::Accepted).unwrap().finished);
}

/// shows: OB-2: an event of the caller's own goes in once, and again after all relays have refused it.
#[test]
fn lists_are_put_in_once() {
    let mut alice = sending("alice");
    let list = UnsignedEvent {
        pubkey: alice.key(),
        created_at: crate::kit::now(),
        kind: 10_050,
        tags: vec![vec!["relay".to_owned(), ONE.to_owned()]],
        content: String::new(),
    };
    let event = list.sign(alice.engine.keys());
    assert!(alice.engine.keys() != &Keys::generate());
    for _ in 0..2 {
        alice.engine.enqueue(&event, &relays(&[ONE])).unwrap();
        assert_eq!(alice.outbox().len(), 1);
    }
    let item = alice.outbox().remove(0);
    assert_eq!((item.purpose, item.group.is_none()), (OutboxPurpose::List, true));
    alice.answers(&item, ONE, refused("pow: 20 bits"));
    assert!(alice.outbox().is_empty());
    alice.engine.enqueue(&event, &relays(&[ONE, TWO])).unwrap();
    assert_eq!(alice.publishes(), std::slice::from_ref(&event));
    alice.engine.enqueue(&event, &relays(&[ONE])).unwrap();
    assert!(alice.outbox().is_empty(), "relays have it");
    assert!(alice.engine.enqueue(&event, &relays(&["nonsense"])).is_err());
}
