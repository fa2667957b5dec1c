//! Messages that waited until their epoch was gone.

use mdk_core::{Delivery, RelayVerdict, Verdict};
use mdk_wire::{Event, GroupId};

use super::relays::{later, parse, refused, sending};
use crate::kit::{Member, RELAY};

/// Alice, whose outbox is in use; bob and carol, who go on without her.
fn three() -> (Member, Member, Member, GroupId) {
    let (mut alice, mut bob, mut carol) =
        (sending("alice"), Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    alice.publishes();
    (alice, bob, carol, group)
}

/// As many commits of bob's; all follow but carol, if she is `asleep`.
fn commits(
    count: usize,
    bob: &mut Member,
    others: &mut [&mut Member],
    group: &GroupId,
) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..count {
        let commit = bob.updates(group, &mut []);
        let event = commit.event.unwrap();
        for other in &mut *others {
            other.applies(&event);
        }
        events.push(event);
    }
    events
}

fn published(alice: &mut Member) -> Vec<Event> {
    alice.publishes()
}

/// breaks: six epochs after a message was written, and it never left. (rule: OB-17)
#[test]
fn what_nobody_could_read_is_encrypted_again_and_in_order() {
    let (mut alice, mut bob, mut carol, group) = three();
    let ids = ["one", "two"].map(|text| alice.utters(&group, text).message.id);
    let before = alice.outbox();
    // An attempt that brought nothing.
    alice.answers(&before[0], RELAY, later(0));
    commits(3, &mut bob, &mut [&mut alice, &mut carol], &group);
    let id = alice.utters(&group, "three").message.id;
    commits(3, &mut bob, &mut [&mut alice, &mut carol], &group);
    let after = alice.outbox();
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|item| before.iter().all(|old| old.event_id != item.event_id)));
    let waiting = alice.engine.outbox_messages().unwrap();
    assert_eq!(waiting.iter().map(|m| m.id).collect::<Vec<_>>(), [ids[0], ids[1], id]);
    // A late answer to what was replaced says nothing of what took its place.
    alice.answers(&before[0], RELAY, refused("blocked"));
    assert_eq!(alice.outbox(), after);
    for event in published(&mut alice) {
        bob.applies(&event);
        carol.applies(&event);
    }
    for reader in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(reader.texts(&group), ["one", "two", "three"]);
        let message = reader.engine.message(&group, &ids[0]).unwrap();
        assert_eq!((message.text.as_str(), message.times.epoch), ("one", 7));
    }
    assert_eq!(alice.delivery(&group), Delivery::Accepted);
    // Those of now are left alone.
    alice.utters(&group, "four");
    let item = alice.outbox().remove(0);
    commits(5, &mut bob, &mut [&mut alice], &group);
    assert_eq!(alice.outbox(), [item]);
}

/// breaks: a member who commits without end, six times in less than a message waits. (rule: OB-17, OB-20)
#[test]
fn what_is_encrypted_again_is_as_old_as_it_was() {
    let (mut alice, mut bob, mut carol, group) = three();
    alice.utters(&group, "one");
    let said = alice.outbox()[0].created_at;
    for _ in 0..3 {
        alice.clock.advance_millis(4_000);
        commits(6, &mut bob, &mut [&mut alice, &mut carol], &group);
        assert_eq!(alice.outbox()[0].created_at, said);
    }
}

/// breaks: a relay had taken the old form after all, and somebody read it. (rule: 2.5-10)
#[test]
fn who_has_read_the_old_form_sees_it_once() {
    let (mut alice, mut bob, mut carol, group) = three();
    alice.utters(&group, "one");
    let old = parse(&alice.outbox()[0].event);
    carol.applies(&old);
    commits(6, &mut bob, &mut [&mut alice, &mut carol], &group);
    for event in published(&mut alice) {
        bob.applies(&event);
        let outcome = carol.takes(&event);
        assert_eq!(outcome.verdict, Verdict::Applied);
        assert!(outcome.events.is_empty(), "told twice: {outcome:?}");
    }
    assert_eq!(carol.texts(&group), ["one"]);
    assert_eq!(bob.texts(&group), ["one"]);
    assert!(matches!(bob.takes(&old).verdict, Verdict::Rejected(_) | Verdict::Deferred(_)));
    // A relay that gives the old form back has no part in it any more.
    assert!(alice.engine.outbox_awaits(&[old.id()]).unwrap().is_empty());
}

/// breaks: a relay has it, so it stays as it is; a deleted one cannot be said again. (rule: OB-17)
#[test]
fn what_a_relay_has_stays_and_what_is_gone_fails() {
    let (mut alice, mut bob, mut carol, group) = three();
    let kept = alice.utters(&group, "kept").message.id;
    let item = alice.outbox().remove(0);
    let two = super::relays::relays(&[RELAY, super::relays::TWO]);
    alice.engine.set_outbox_relays(item.seq, &two).unwrap();
    alice.answers(&item, RELAY, RelayVerdict::Accepted);
    let gone = alice.utters(&group, "gone").message.id;
    alice.engine.delete(&group, &gone).unwrap();
    commits(6, &mut bob, &mut [&mut alice, &mut carol], &group);
    let items = alice.outbox();
    assert_eq!(items[0].event_id, item.event_id, "owed to the other relay");
    assert_eq!(items.len(), 2, "and the deletion");
    let message = |alice: &mut Member, id| alice.engine.message(&group, id).unwrap().fate.delivery;
    assert_eq!(message(&mut alice, &kept), Delivery::Accepted);
    assert_eq!(message(&mut alice, &gone), Delivery::Failed);
    let errors = alice.engine.delivery_errors(&gone).unwrap();
    assert!(errors[0].1.contains("could read it"), "{errors:?}");
}

/// shows: while a commit of ours is undecided nothing is said, and what is too old waits. (rule: OB-17)
#[test]
fn it_waits_for_a_commit_of_ours() {
    let (mut alice, mut bob, mut carol, group) = three();
    alice.utters(&group, "one");
    commits(6, &mut bob, &mut [&mut alice, &mut carol], &group);
    let commit = alice.engine.self_update(&group).unwrap();
    assert_eq!(alice.outbox().len(), 1, "the commit");
    alice.commit_arrives();
    bob.applies(commit.event.as_ref().unwrap());
    for event in published(&mut alice) {
        bob.applies(&event);
    }
    assert_eq!(bob.texts(&group), ["one"]);
}

/// breaks: said in another epoch, its files would be closed to everybody. (rule: OB-17, 2.10-17)
#[test]
fn a_message_with_files_fails_rather_than_being_said_again() {
    let (mut alice, mut bob, mut carol, group) = three();
    let sent = crate::kit::files::sends(&mut alice, &group, b"the plan", "plan.txt");
    commits(6, &mut bob, &mut [&mut alice, &mut carol], &group);
    assert!(alice.outbox().is_empty());
    assert_eq!(alice.delivery(&group), Delivery::Failed);
    assert_eq!(crate::kit::files::opens(&mut alice, &group, &sent).unwrap(), b"the plan");
}
