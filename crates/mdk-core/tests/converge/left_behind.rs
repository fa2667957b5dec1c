//! Whoever cannot follow the others any more is brought back by a new invitation, and nobody else is led away by one.

use mdk_core::{
    DeferredReason, EventBody, GroupState, OutboxItem, OutboxPurpose, Outcome, RelayVerdict,
    Verdict,
};
use mdk_wire::{Event, GroupId, Keys};
use openmls::prelude::tls_codec::Serialize as _;

use crate::kit::acts::{adds, invited, removes, renames, speak};
use crate::kit::foreign::{Change, Foreign, resigned};
use crate::kit::foreign_commits::{Handmade, World, self_update, vlbytes};
use crate::kit::fork::{Filed, later, two_admins_and};
use crate::kit::{self, WAITS, event, folder, now, received};

/// An event that all but its maker and these take.
fn given(all: &mut [Filed], but: &[usize], event: &Event) {
    for (who, member) in all.iter_mut().enumerate() {
        if !but.contains(&who) {
            member.takes(event);
        }
    }
    later(all, 5_000);
}

/// Longer than any state is retained everybody is there for all that is done and said.
fn lives(all: &mut [Filed], group: &GroupId, admin: usize) {
    for n in 0..8 {
        let commit = renames(&mut all[admin], group, &format!("name {n}"));
        given(all, &[admin], event(&commit));
        for who in 0..all.len() {
            let said = all[who].member.says(group, &format!("{n} by {who}"));
            given(all, &[who], &said);
        }
    }
}

fn two_of(all: &mut [Filed], one: usize, other: usize) -> (&mut Filed, &mut Filed) {
    let [one, other] = all.get_disjoint_mut([one, other]).unwrap();
    (one, other)
}

/// The Welcome is taken up, and nothing of before is said to be untrue.
fn led_back(told: &Outcome) {
    let behind = told
        .events
        .iter()
        .any(|e| matches!(&e.body, EventBody::Unrecoverable { reason } if reason == "left_behind"));
    assert!(behind && invited(told), "{:?}", told.events);
    let marked =
        told.events.iter().any(|e| matches!(e.body, EventBody::MessagesInvalidated { .. }));
    assert!(!marked, "{:?}", told.events);
}

// shows: B4-25
/// One commit never comes. What was said before that is read late, after the Welcome has come, and keeps nobody from it.
#[test]
fn who_missed_a_commit_for_good_is_led_back_by_an_invitation() {
    for (away, admin, other) in [(2, 0, 1), (0, 1, 2)] {
        for restart in [false, true] {
            let place = folder();
            let (mut all, group) = two_admins_and("carol", place.path());
            lives(&mut all, &group, admin);
            let late = all[other].member.says(&group, "late");
            given(&mut all, &[other, away], &late);
            let missed = renames(&mut all[admin], &group, "missed");
            given(&mut all, &[admin, away], event(&missed));
            let (one, gone) = two_of(&mut all, admin, away);
            let removal = removes(one, &group, gone);
            given(&mut all, &[admin], event(&removal));
            let (one, gone) = two_of(&mut all, admin, away);
            let added = adds(one, &group, gone);
            let [welcome] = &added.welcomes[..] else { panic!() };
            let gone = &mut all[away];
            assert_eq!(gone.takes(welcome).verdict, WAITS);
            given(&mut all, &[admin], event(&added));
            let said = all[other].member.says(&group, "not for all");
            given(&mut all, &[other], &said);
            let gone = &mut all[away];
            assert_eq!(received(&gone.takes(&late)), ["late"]);
            assert!(!invited(&gone.waits(119_000)), "more may come");
            if restart {
                gone.restarts();
            }
            assert_eq!(gone.member.info(&group).state, GroupState::Active);
            led_back(&gone.waits(1_000));
            let [invite] = gone.member.engine.invites().unwrap().try_into().unwrap();
            gone.member.engine.accept(&invite.id).unwrap();
            gone.waits(1_000);
            let end = gone.ends(&group);
            assert_eq!(end.said.len(), 8 * 3 + 2, "{:?}", end.said);
            assert!(end.said.iter().all(|(_, marked)| !marked));
            assert!(end.said.contains(&("not for all".to_owned(), false)));
            for who in [admin, other] {
                assert_eq!(all[who].ends(&group).authenticator, end.authenticator);
                let (one, gone) = two_of(&mut all, who, away);
                speak(one, gone, &group);
            }
        }
    }
}

/// What waits to be said.
fn queued(member: &mut Filed) -> Vec<OutboxItem> {
    let mut items = member.member.engine.outbox(99).unwrap();
    items.retain(|item| matches!(item.purpose, OutboxPurpose::Message { .. }));
    items
}

// shows: OB-17, B4-25
/// What she says on a state that nobody else was ever in has not left yet: it is said to those whom she is led to, when she
/// has accepted, and is read once.
#[test]
fn what_waits_when_one_is_led_back_is_said_again_where_the_others_are() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    lives(&mut all, &group, 0);
    let missed = renames(&mut all[0], &group, "missed");
    given(&mut all, &[0, 2], event(&missed));
    let carol = &mut all[2];
    let update = carol.member.engine.self_update(&group).unwrap();
    carol.member.confirms(&update);
    carol.waits(5_000);
    carol.member.engine.enable_outbox();
    carol.member.says(&group, "queued");
    let [before] = queued(carol).try_into().unwrap();
    // An attempt that brought nothing.
    let later = RelayVerdict::Later { reason: "unreachable".to_owned(), next_at: 0 };
    carol.member.engine.outbox_result(before.seq, kit::RELAY, later).unwrap();
    let (alice, carol) = two_of(&mut all, 0, 2);
    let removal = removes(alice, &group, carol);
    given(&mut all, &[0], event(&removal));
    let (alice, carol) = two_of(&mut all, 0, 2);
    let added = adds(alice, &group, carol);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    given(&mut all, &[0], event(&added));
    let said = all[1].member.says(&group, "not for all");
    given(&mut all, &[1], &said);
    let carol = &mut all[2];
    led_back(&carol.waits(120_000));
    assert!(queued(carol).is_empty(), "nobody could read it");
    let [invite] = carol.member.engine.invites().unwrap().try_into().unwrap();
    carol.member.engine.accept(&invite.id).unwrap();
    let update = carol.member.engine.self_update(&group).unwrap();
    carol.member.confirms(&update);
    let update = update.event.unwrap();
    given(&mut all, &[2], &update);
    let carol = &mut all[2];
    carol.waits(5_000);
    let [item] = queued(carol).try_into().unwrap();
    assert_ne!(item.event_id, before.event_id);
    let (old, new) = [&before, &item].map(|i| Event::from_json(i.event.as_bytes()).unwrap()).into();
    for reader in &mut all[..2] {
        assert_eq!(received(&reader.takes(&new)), ["queued"]);
        assert!(received(&reader.takes(&old)).is_empty());
    }
    let said = all[2].ends(&group).said;
    assert_eq!(said.iter().filter(|(text, _)| text == "queued").count(), 1);
}

// shows: B4-25
/// The answer to a leave never comes, and the admin who gave it asks back.
#[test]
fn who_has_left_without_an_answer_is_asked_back() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    lives(&mut all, &group, 0);
    let leave = all[2].member.engine.leave(&group).unwrap();
    let mut replies = all[0].takes(&leave).reply;
    for _ in 0..120 {
        replies.extend(all[0].waits(1_000).reply);
    }
    let [answer] = replies.try_into().unwrap();
    all[0].takes(&answer);
    later(&mut all[2..], 120_000);
    let (alice, carol) = two_of(&mut all, 0, 2);
    let added = adds(alice, &group, carol);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    carol.takes(&alice.member.says(&group, "not for all"));
    assert!(!invited(&carol.waits(119_000)));
    assert_eq!(carol.member.info(&group).state, GroupState::Leaving);
    led_back(&carol.waits(1_000));
    carol.member.joins(&[]);
    assert_eq!(carol.member.info(&group).state, GroupState::Active);
    speak(alice, carol, &group);
}

// shows: B4-25
/// The clock was a day ahead when something was last heard: that does not keep anybody waiting for a day.
#[test]
fn a_clock_that_was_ahead_holds_nobody_back() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    lives(&mut all, &group, 0);
    let carol = &mut all[2];
    carol.waits(86_400_000);
    let said = all[1].member.says(&group, "heard tomorrow");
    given(&mut all, &[1], &said);
    let right = mdk_core::Clock::now(&all[0].member.clock);
    all[2].member.clock.set(right);
    let missed = renames(&mut all[0], &group, "missed");
    given(&mut all, &[0, 2], event(&missed));
    let (alice, carol) = two_of(&mut all, 0, 2);
    removes(alice, &group, carol);
    let added = adds(alice, &group, carol);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    carol.takes(&alice.member.says(&group, "not for all"));
    assert!(!invited(&carol.waits(119_000)));
    led_back(&carol.waits(1_000));
    carol.member.joins(&[]);
    speak(alice, carol, &group);
}

const CANNOT: Verdict = Verdict::Deferred(DeferredReason::CannotJudge);

/// A commit of ann's that adds somebody whose KeyPackage has expired. (Made by hand, since OpenMLS commits none such;
/// what ann goes on with is another commit.)
fn adds_too_late(w: &World) -> Event {
    let mut dave = Foreign::new();
    dave.package.lifetime = (now() - 7200, now() - 3600);
    let package = dave.key_package().tls_serialize_detached().unwrap();
    let proposals = [&[1, 0, 1][..], &package].concat();
    let mut expired = Handmade::proposal(&w.ann, [vlbytes(&proposals), vec![0]].concat());
    (expired.content_type, expired.confirmation_tag) = (3, Some(vec![0; 32]));
    w.ann.seals(&expired.bytes(&w.ann))
}

// shows: F1-12
/// The user is told after ten minutes, once, and not where the group has gone on.
#[test]
fn who_stands_before_a_commit_that_cannot_be_judged_is_told() {
    let told = |w: &mut World, millis| -> Vec<u64> {
        w.us.clock.advance_millis(millis);
        let events = w.us.engine.tick().unwrap().events;
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
    for _ in 0..8 {
        let commit = w.ann.commit_event(self_update());
        w.us.applies(&commit);
        w.ann.merges();
        let said = w.ann.says("here");
        w.us.applies(&said);
    }
    let expired = adds_too_late(&w);
    assert_eq!(w.us.takes(&expired).verdict, CANNOT);
    w.ann.commits(self_update());
    w.ann.merges();
    let leaf = w.ann.leaf_of(&w.us.key());
    let removal =
        w.ann.commit_event(Change { removes: vec![leaf], path: true, ..Change::default() });
    w.ann.merges();
    let package = w.us.key_package();
    let welcome = w.ann.invites(&[&package]);
    let welcome = w.ann.wraps(&welcome, &package);
    // (of the second in which we joined it would say nothing)
    let removal = resigned(&removal, &Keys::generate(), |event| event.created_at += 60);
    w.us.takes(&removal);
    assert_eq!(w.us.takes(&welcome).verdict, WAITS);
    w.us.clock.advance_millis(119_000);
    assert!(!invited(&w.us.engine.tick().unwrap()));
    assert_eq!(w.us.info(&w.id).state, GroupState::Active);
    w.us.clock.advance_millis(1_000);
    led_back(&w.us.engine.tick().unwrap());
    w.us.joins(&[]);
    let said = w.ann.says("welcome back");
    assert_eq!(received(&w.us.applies(&said)), ["welcome back"]);
}

/// What a copy of alice's that nobody follows comes to: carol removed, this many commits, carol invited. What is said there
/// comes to her too.
fn strays(all: &mut [Filed], mut copy: Filed, group: &GroupId, between: usize) -> Event {
    let carol = &mut all[2];
    removes(&mut copy, group, carol);
    (0..between).for_each(|_| drop(renames(&mut copy, group, "stray")));
    let welcome = adds(&mut copy, group, carol).welcomes.pop().unwrap();
    carol.takes(&copy.member.says(group, "elsewhere"));
    welcome
}

// rule: B4-25
/// No relay of the group answers, and the inbox does: nothing was heard, and all of it is still for who is a member.
#[test]
fn who_hears_nothing_at_all_is_not_led_away() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    lives(&mut all, &group, 0);
    let said = all[1].member.says(&group, "to a member");
    let (alice, carol) = two_of(&mut all, 0, 2);
    let removal = removes(alice, &group, carol);
    let added = adds(alice, &group, carol);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    assert!(!invited(&carol.waits(1_000_000)));
    assert_eq!(received(&carol.takes(&said)), ["to a member"]);
    let told = carol.takes(event(&removal));
    assert!(invited(&told) || invited(&carol.waits(10_000)), "{:?}", told.events);
    carol.member.joins(&[]);
    speak(alice, carol, &group);
}

// rule: B4-25
/// A founder who alone says and changes anything is where the others are, whatever an old copy of another admin comes to.
#[test]
fn a_founder_who_speaks_alone_is_not_led_away_by_a_shorter_branch() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let other = folder();
    let mut copy = all[1].copied(other.path());
    for n in 0..9 {
        let commit = renames(&mut all[0], &group, &format!("name {n}"));
        given(&mut all, &[0], event(&commit));
        let said = all[0].member.says(&group, "news");
        given(&mut all, &[0], &said);
    }
    copy.waits(300_000);
    removes(&mut copy, &group, &all[0]);
    let welcome = adds(&mut copy, &group, &mut all[0]).welcomes.pop().unwrap();
    all[0].takes(&copy.member.says(&group, "elsewhere"));
    assert_eq!(all[0].takes(&welcome).verdict, WAITS);
    assert!(!invited(&all[0].waits(1_000_000)));
    assert_eq!(all[0].member.info(&group).state, GroupState::Active);
}

// rule: B4-25
/// Others go on where carol is, if only by a word or by a commit, since an invitation of another branch came: she stays.
#[test]
fn who_is_where_others_go_on_is_not_led_away() {
    for (commits, restart) in [(false, false), (false, true), (true, false), (true, true)] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        lives(&mut all, &group, 0);
        let other = folder();
        let copy = all[0].copied(other.path());
        let stray = strays(&mut all, copy, &group, 20);
        assert_eq!(all[2].takes(&stray).verdict, WAITS);
        later(&mut all, 60_000);
        let here = if commits {
            event(&renames(&mut all[1], &group, "here")).clone()
        } else {
            all[1].member.says(&group, "here")
        };
        given(&mut all, &[1], &here);
        if restart {
            all[2].restarts();
        }
        for _ in 0..4 {
            assert!(!invited(&all[2].waits(130_000)), "{commits}");
        }
        let carol = &mut all[2];
        assert_eq!(carol.takes(&stray).verdict, WAITS);
        assert_eq!(carol.member.info(&group).state, GroupState::Active);
        let (bob, carol) = two_of(&mut all, 1, 2);
        speak(bob, carol, &group);
    }
}

// rule: B4-25
/// What leads no further than we are by ourselves waits on, however still it is; a commit more, and it leads there.
#[test]
fn a_branch_that_is_no_longer_leads_nobody_away() {
    for (between, leads) in [(0, false), (2, false), (3, false), (4, true)] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        lives(&mut all, &group, 0);
        let other = folder();
        let mut copy = all[0].copied(other.path());
        for n in 0..4 {
            let commit = renames(&mut all[0], &group, &format!("ours {n}"));
            given(&mut all, &[0], event(&commit));
        }
        for who in [0, 1] {
            // (two who speak outweigh a commit more)
            let said = all[who].member.says(&group, "here");
            given(&mut all, &[who], &said);
        }
        copy.waits(300_000);
        later(&mut all[2..], 300_000);
        let stray = strays(&mut all, copy, &group, between);
        assert_eq!(all[2].takes(&stray).verdict, WAITS, "{between}");
        let told = all[2].waits(130_000);
        assert_eq!(invited(&told), leads, "{between}");
        if !leads {
            assert!(!invited(&all[2].waits(1_000_000)), "{between}");
            assert_eq!(all[2].member.info(&group).state, GroupState::Active);
        }
    }
}

// rule: B4-25
/// Whoever invites is nobody who may, as far as we know: it waits on.
#[test]
fn an_invitation_of_no_admin_that_is_known_leads_nobody_away() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let mut dave = Filed::new(place.path(), "dave", 9);
    let added = adds(&mut all[0], &group, &mut dave);
    dave.member.joins(&added.welcomes);
    given(&mut all, &[0], event(&added));
    all.push(dave);
    lives(&mut all, &group, 0);
    // Carol misses that dave becomes an admin.
    let key = all[3].member.key();
    let promoted = all[0].member.engine.promote(&group, &[key]).unwrap();
    all[0].member.confirms(&promoted);
    given(&mut all, &[0, 2], event(&promoted));
    let (dave, carol) = two_of(&mut all, 3, 2);
    removes(dave, &group, carol);
    (0..4).for_each(|_| drop(renames(dave, &group, "more")));
    let added = adds(dave, &group, carol);
    assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
    for _ in 0..4 {
        assert!(!invited(&carol.waits(130_000)));
    }
    assert_eq!(carol.member.info(&group).state, GroupState::Active);
}
