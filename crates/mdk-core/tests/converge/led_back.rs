//! What shows that the others are elsewhere, so that an invitation leads to them: when it has to have come, and from when.

use mdk_core::{Config, EventBody, GroupState, Outcome};
use mdk_wire::group_message::{self, GroupMessage};
use mdk_wire::{Event, GroupId, Keys, OsRandom, Random as _, Secret};

use crate::kit::acts::{adds, invited, removes, renames, speak};
use crate::kit::foreign::{Change, resigned, wrap};
use crate::kit::foreign_commits::{World, self_update};
use crate::kit::fork::{Filed, later, two_admins_and};
use crate::kit::{CLOSED, Member, REFUSED, WAITS, event, folder, now, received};

/// All three follow a line of commits until nothing is retained of when they came, and were last heard now.
fn settled(all: &mut [Filed], group: &GroupId) {
    for n in 0..8 {
        let commit = renames(&mut all[0], group, &format!("name {n}"));
        let said = all[1].member.says(group, &format!("{n}"));
        for (who, event) in [(1, event(&commit)), (2, event(&commit)), (0, &said), (2, &said)] {
            all[who].takes(event);
        }
        later(all, 5_000);
    }
}

/// What anybody can send who sees one event of the group.
fn noise(of: &Event, size: usize, at: u64) -> Event {
    let route = GroupMessage::parse(of.clone()).unwrap().group;
    let (mut key, mut body) = ([0; 32], vec![0; size.max(64)]);
    OsRandom.fill(&mut key);
    OsRandom.fill(&mut body[..64]);
    group_message::seal(&body, &Secret::new(key), &route, at, None, &mut OsRandom).unwrap()
}

fn clock(member: &Filed) -> u64 {
    mdk_core::Clock::now(&member.member.clock)
}

/// From when to when something may be missing, if it is told.
fn gaps(told: &Outcome) -> Vec<(u64, u64)> {
    let gaps = told.events.iter().filter_map(|e| match e.body {
        EventBody::HistoryGap { count: 0, first, last } => Some((first, last)),
        _ => None,
    });
    gaps.collect()
}

// shows: B4-25, F1-13
/// The relay of the group answers only when the invitation has waited for long: what comes then leads to the others. Until
/// then the invitation is not opened at every tick.
#[test]
fn an_invitation_that_waited_in_vain_is_taken_up_when_a_sign_of_the_others_comes() {
    for restart in [false, true] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        settled(&mut all, &group);
        let heard = clock(&all[2]) - 5;
        let missed = renames(&mut all[0], &group, "missed");
        later(&mut all, 200_000);
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        let removal = removes(alice, &group, carol);
        let added = adds(alice, &group, carol);
        for commit in [&missed, &removal, &added] {
            bob.takes(event(commit));
        }
        let made = clock(alice);
        assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
        assert!(!invited(&carol.waits(130_000)));
        // (to open it writes: what it is addressed to is used up and put back)
        let log = place.path().join("carol.db-wal");
        let before = std::fs::read(&log).unwrap();
        for _ in 0..20 {
            assert!(!invited(&carol.waits(10_000)));
        }
        assert!(std::fs::read(&log).unwrap() == before, "opened again");
        // Of long before the invitation: it may be anybody's.
        let old = noise(event(&missed), 64, made - 121);
        assert_eq!(carol.takes(&old).verdict, CLOSED);
        assert!(!invited(&carol.waits(200_000)));
        if restart {
            carol.restarts();
            assert!(!invited(&carol.waits(10_000)));
        }
        assert_eq!(carol.takes(event(&added)).verdict, CLOSED);
        let told = carol.waits(1_000);
        assert!(invited(&told), "{:?}", told.events);
        assert_eq!(gaps(&told), [(heard, made)]);
        carol.member.joins(&[]);
        speak(alice, carol, &group);
        speak(bob, carol, &group);
    }
}

// rule: B4-25
/// Carol is where the others are, and holds what a stranger sent, however it was dated. The relay of the group is away for
/// some minutes in which she is removed and invited again: what was said to her before that is still for her.
#[test]
fn what_a_stranger_sent_before_leads_nobody_away_from_a_relay_that_is_silent() {
    for ahead in [0, 86_400] {
        let place = folder();
        let (mut all, group) = two_admins_and("carol", place.path());
        settled(&mut all, &group);
        let sample = all[1].member.says(&group, "heard");
        for who in [0, 2] {
            all[who].takes(&sample);
        }
        later(&mut all, 5_000);
        let stray = noise(&sample, 64, clock(&all[2]) + ahead);
        assert_eq!(all[2].takes(&stray).verdict, CLOSED);
        later(&mut all, 300_000);
        let said = all[1].member.says(&group, "to a member");
        let [alice, bob, carol] = all.as_mut_slice() else { panic!() };
        alice.takes(&said);
        let removal = removes(alice, &group, carol);
        let added = adds(alice, &group, carol);
        for commit in [&removal, &added] {
            bob.takes(event(commit));
        }
        assert_eq!(carol.takes(&added.welcomes[0]).verdict, WAITS);
        for _ in 0..30 {
            assert!(!invited(&carol.waits(10_000)), "{ahead}");
        }
        assert_eq!(received(&carol.takes(&said)), ["to a member"]);
        let told = carol.takes(event(&removal));
        assert!(invited(&told) || invited(&carol.waits(10_000)), "{:?}", told.events);
        carol.member.joins(&[]);
        carol.takes(event(&added));
        speak(alice, carol, &group);
        speak(bob, carol, &group);
    }
}

/// Us in a group of `World`'s, settled there, with room for so many events.
fn world_that_holds(events: u32) -> World {
    let mut config = Config::default();
    (config.max_held_events, config.rotate_key_packages) = (events, false);
    let mut w = World::of(Member::with("us", config), |_, _| ());
    for _ in 0..8 {
        let commit = w.ann.commit_event(self_update());
        w.us.applies(&commit);
        w.ann.merges();
        let said = w.ann.says("here");
        w.us.applies(&said);
    }
    w
}

// shows: B4-26
/// What cannot be read has taken all the room, by number or by bytes, before or after the others went on: the invitation
/// has room of its own, and what is refused for want of room shows as well that the others are elsewhere.
#[test]
fn an_invitation_that_ends_it_has_room_where_nothing_else_has() {
    for (events, size, old) in [(4, 64, false), (4, 64, true), (8_192, 700_000, true)] {
        let case = format!("{events} of {size}, {old}");
        let mut w = world_that_holds(events);
        w.us.clock.advance_millis(3_600_000);
        let at =
            |event: &Event| resigned(event, &Keys::generate(), |event| event.created_at += 3_600);
        w.ann.commits(self_update());
        w.ann.merges();
        let sample = at(&w.ann.says("not read"));
        let made = if old { now() + 1_800 } else { now() + 3_600 };
        let mut full = noise(&sample, size, made);
        while w.us.takes(&full).verdict == CLOSED {
            full = noise(&sample, size, made);
        }
        assert_eq!(w.us.takes(&full).verdict, REFUSED, "{case}");
        let leaf = w.ann.leaf_of(&w.us.key());
        let change = Change { removes: vec![leaf], path: true, ..Change::default() };
        let removal = at(&w.ann.commit_event(change));
        w.ann.merges();
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
        let big = noise(&sample, size, now() + 3_600);
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
