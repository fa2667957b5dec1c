//! What a process that begins finds: states that are lost, an older copy, time that passed.

use mdk_core::{DeferredReason, Error, GroupState, GroupUpdate, Verdict, testing};
use mdk_wire::SecretVec;

use crate::kit::RIVAL;
use crate::kit::cast::Cast;
use crate::kit::fork;
use crate::kit::tale::is_lost;

const CANNOT: Verdict = Verdict::Deferred(DeferredReason::CannotJudge);

// rule: E6-1, E6-2
/// A lost state that a rival needs is no reason to choose the only one left.
#[test]
fn a_lost_state_makes_the_group_unrecoverable() {
    let mut cast = Cast::new(&["a", "b", "c"], &["b", "c"]);
    let group = cast.group.clone();
    let first = cast.renames("a", "first");
    let rival = cast.renames("b", "rival");
    cast.applies("c", &first);
    // The same event, with the state of its parent and without.
    cast.copies("c", "whole");
    assert_eq!(cast.takes("whole", &rival).verdict, RIVAL);
    let third = cast.parts_with("c");
    let path = third.path.clone();
    let third = third.closes();
    fork::rows(&path, |tx| {
        let parent = tx.nodes(&group)?.into_iter().find(|n| n.epoch == 2).unwrap();
        assert_eq!(tx.nodes(&group)?.len(), 3);
        tx.set_node_state(&group, &parent.authenticator, &SecretVec::new(vec![]))
    });
    let mut third = third.opens();
    let outcome = third.takes(&rival);
    assert_eq!((outcome.verdict, outcome.events.len()), (CANNOT, 1));
    assert!(is_lost(&outcome, "retained_state_lost"), "{:?}", outcome.events);
    let engine = &mut third.member.engine;
    assert_eq!(engine.group(&group).unwrap().state, GroupState::Unrecoverable);
    assert!(matches!(engine.self_update(&group), Err(Error::Unrecoverable(_))));
    assert_eq!(testing::held(engine, &group).unwrap().inputs.len(), 1, "what came is kept");
    // History can still be read, and nothing moves any more.
    let later = cast.renames("a", "later");
    assert!(matches!(third.takes(&later).verdict, Verdict::Deferred(_)));
}

/// An older copy of the database does not know our own commit: the others go where it cannot follow.
#[test]
fn our_own_commit_is_lost_with_a_restored_copy() {
    let mut cast = Cast::new(&["a", "b"], &["b"]);
    cast.copies("a", "old");
    let own = cast.renames("a", "forgotten");
    assert_eq!(cast.takes("old", &own).verdict, CANNOT);
    assert_eq!(cast.state("old"), GroupState::Active, "a rival may still come");
    cast.restarts("old");
    assert!(is_lost(&cast.waits("old", 1_000), "own_commit_lost"));
    assert_eq!(cast.state("old"), GroupState::Unrecoverable);
    let group = cast.group.clone();
    let refused = cast.engine("old").self_update(&group).unwrap_err();
    assert!(matches!(refused, Error::RunsElsewhere), "{refused}");
}

// shows: 2.9-4, 2.9-5
/// What was to disappear while the process was down is gone before anything is read, from the file too.
#[test]
fn time_passes_while_the_process_is_down() {
    let mut cast = Cast::new(&["a", "b"], &["b"]);
    let group = cast.group.clone();
    let timed = cast.updates("a", GroupUpdate { retention: Some(60), ..GroupUpdate::default() });
    cast.applies("b", &timed);
    cast.waits("b", 1_000);
    let said = cast.says("a", "the hidden word is xylophone");
    cast.applies("b", &said);
    let id = cast.messages("b")[0].id;
    assert_eq!(cast.engine("b").search("xylophone", None, 10).unwrap().len(), 1);
    cast.at("b").member.clock.advance_millis(61_000);
    cast.copies("b", "reopened");
    assert!(cast.messages("reopened").is_empty());
    let engine = cast.engine("reopened");
    assert!(engine.search("xylophone", None, 10).unwrap().is_empty());
    assert!(matches!(engine.message(&group, &id), Err(Error::MessageNotFound)));
    assert!(cast.info("reopened").last_message.is_none());
    // One that comes after its time is not shown at all.
    let late = cast.says("a", "late");
    cast.at("reopened").member.clock.advance_millis(120_000);
    cast.applies("reopened", &late);
    assert!(cast.messages("reopened").is_empty());
    let reopened = cast.parts_with("reopened");
    let path = reopened.path.clone();
    drop(reopened);
    fork::rows(&path, |tx| {
        for row in tx.messages_after(0, 100)? {
            assert!(row.content.is_empty() && row.tags.is_empty());
            assert_ne!(row.id, id, "its id is a hash of what it said");
        }
        Ok(())
    });
}
