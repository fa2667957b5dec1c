//! Whoever stands before a commit that it cannot judge, or has no room for what others send, is told, and led back by a new
//! invitation.

use mdk_core::{Config, DeferredReason, EventBody, GroupState, Verdict};
use mdk_wire::{Event, Keys};

use crate::kit::acts::invited;
use crate::kit::foreign::{Change, resigned, wrap};
use crate::kit::foreign_commits::{Handmade, World, self_update};
use crate::kit::strays::{noise, route};
use crate::kit::tale::is_led_back;
use crate::kit::{CLOSED, Member, REFUSED, WAITS, now, received};

const CANNOT: Verdict = Verdict::Deferred(DeferredReason::CannotJudge);

/// A commit of ann's that adds somebody whose KeyPackage has expired. (What she goes on with is another commit.)
fn adds_too_late(w: &World) -> Event {
    w.ann.seals(&Handmade::adding(&w.ann, (now() - 7200, now() - 3600)))
}

/// Ann removes us.
fn removes_us(w: &mut World) -> Event {
    let leaf = w.ann.leaf_of(&w.us.key());
    let removal =
        w.ann.commit_event(Change { removes: vec![leaf], path: true, ..Change::default() });
    w.ann.merges();
    removal
}

/// Nothing is retained any more of when we came.
fn goes_on(w: &mut World) {
    for _ in 0..8 {
        let commit = w.ann.commit_event(self_update());
        w.us.applies(&commit);
        w.ann.merges();
        let said = w.ann.says("here");
        w.us.applies(&said);
    }
}

// shows: F1-12
/// The user is told after ten minutes, once, and not where the group has gone on.
#[test]
fn who_stands_before_a_commit_that_cannot_be_judged_is_told() {
    let told = |w: &mut World, millis| -> Vec<u64> {
        let events = w.us.waits(millis).events;
        let epochs = events.iter().filter_map(|event| match &event.body {
            EventBody::CannotFollow { epoch } => Some(*epoch),
            _ => None,
        });
        epochs.collect()
    };
    let mut w = World::new();
    assert_eq!(w.us.takes(&adds_too_late(&w)).verdict, CANNOT);
    let epoch = w.us.info(&w.id).epoch;
    assert!(told(&mut w, 599_000).is_empty());
    assert_eq!(told(&mut w, 1_000), [epoch]);
    for _ in 0..3 {
        assert!(told(&mut w, 600_000).is_empty(), "twice");
    }
    let commit = w.ann.commit_event(self_update());
    w.us.applies(&commit);
    w.ann.merges();
    assert_eq!(w.us.takes(&adds_too_late(&w)).verdict, CANNOT);
    let commit = w.ann.commit_event(self_update());
    w.us.applies(&commit);
    for _ in 0..3 {
        assert!(told(&mut w, 600_000).is_empty(), "the group has gone on");
    }
}

// shows: B4-25, D4-7f
/// Everything comes, and one commit adds somebody whose KeyPackage has expired since: it cannot be judged, nor can what
/// comes after it be read.
#[test]
fn who_cannot_judge_a_commit_is_led_back_by_an_invitation() {
    let mut w = World::new();
    goes_on(&mut w);
    let expired = adds_too_late(&w);
    assert_eq!(w.us.takes(&expired).verdict, CANNOT);
    w.ann.commits(self_update());
    w.ann.merges();
    let removal = removes_us(&mut w);
    let package = w.us.key_package();
    let welcome = w.ann.invites(&[&package]);
    let welcome = w.ann.wraps(&welcome, &package);
    // (of the second in which we joined it would say nothing)
    let removal = resigned(&removal, &Keys::generate(), |event| event.created_at += 60);
    w.us.takes(&removal);
    assert_eq!(w.us.takes(&welcome).verdict, WAITS);
    assert!(!invited(&w.us.waits(119_000)));
    assert_eq!(w.us.info(&w.id).state, GroupState::Active);
    is_led_back(&w.us.waits(1_000));
    w.us.joins(&[]);
    let said = w.ann.says("welcome back");
    assert_eq!(received(&w.us.applies(&said)), ["welcome back"]);
}

// shows: B4-26
/// What cannot be read has taken all the room, by number or by bytes, before or after the others went on: the invitation
/// has room of its own, and what is refused for want of room shows as well that the others are elsewhere.
#[test]
fn an_invitation_that_ends_it_has_room_where_nothing_else_has() {
    for (events, size, old) in [(4, 64, false), (4, 64, true), (8_192, 700_000, true)] {
        let case = format!("{events} of {size}, {old}");
        let mut config = Config::default();
        (config.max_held_events, config.rotate_key_packages) = (events, false);
        let mut w = World::of(Member::with("us", config), |_, _| ());
        goes_on(&mut w);
        w.us.clock.advance_millis(3_600_000);
        let at =
            |event: &Event| resigned(event, &Keys::generate(), |event| event.created_at += 3_600);
        w.ann.commits(self_update());
        w.ann.merges();
        let sample = at(&w.ann.says("not read"));
        let made = if old { now() + 1_800 } else { now() + 3_600 };
        let mut full = noise(&route(&sample), size, made);
        while w.us.takes(&full).verdict == CLOSED {
            full = noise(&route(&sample), size, made);
        }
        assert_eq!(w.us.takes(&full).verdict, REFUSED, "{case}");
        let removal = at(&removes_us(&mut w));
        let package = w.us.key_package();
        let welcome = w.ann.invites(&[&package]);
        let mut rumor = w.ann.rumor(&welcome, &package.id());
        rumor.created_at += 3_600;
        let welcome = wrap(&w.ann.keys, rumor, &package.pubkey());
        assert_eq!(w.us.takes(&welcome).verdict, WAITS, "{case}");
        assert!(!invited(&w.us.engine.tick().unwrap()));
        w.us.clock.advance_millis(130_000);
        if old {
            assert!(!invited(&w.us.engine.tick().unwrap()), "{case}");
        }
        let big = noise(&route(&sample), size, now() + 3_600);
        assert_eq!(w.us.takes(&big).verdict, REFUSED, "{case}");
        w.us.takes(&removal);
        let told = w.us.engine.tick().unwrap();
        assert!(invited(&told), "{case}: {:?}", told.events);
        w.us.joins(&[]);
        assert_eq!(w.us.info(&w.id).state, GroupState::Active);
        let said = w.ann.says("welcome back");
        assert_eq!(received(&w.us.applies(&said)), ["welcome back"], "{case}");
    }
}
