//! Faults that were found by trying to break a group: sizes, bounds, KeyPackages, what a sender may say.

use mdk_core::{Config, DeferredReason, EventBody, Inviters, RejectCode, Verdict, testing};
use mdk_wire::budget::inviter::{MAX_OF_ONE, MAX_WAITING};
use mdk_wire::{Event, Keys, NostrGroupId};

use crate::kit::disk::Disk;
use crate::kit::foreign::{Foreign, resigned};
use crate::kit::foreign_commits::{World, self_update};
use crate::kit::{Member, RELAY, new_group, newcomer, now, pair, received, refused_for};

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

// shows: 2.7-4
#[test]
fn an_answer_that_cannot_be_made_stops_nothing() {
    let disk = Disk::new("alice");
    let limited = |bytes| disk.open_with(config(|c| c.max_event_bytes = bytes));
    let usual = Config::default().max_event_bytes;
    let (mut bob, mut carol) = (Member::new("bob"), Member::new("carol"));
    let mut alice = limited(usual);
    let pending = alice
        .engine
        .create_group(new_group("g", vec![bob.key_package(), carol.key_package()]))
        .unwrap();
    bob.joins(&pending.welcomes);
    carol.joins(&pending.welcomes);
    let group = alice.confirms(&pending).id;
    let leave = carol.engine.leave(&group).unwrap();

    // alice is to answer at once, but no event that is large enough may be made.
    drop(alice);
    let mut alice = limited(1);
    let outcome = alice.applies(&leave);
    assert!(outcome.reply.is_empty());
    assert!(alice.engine.pending().unwrap().is_empty(), "nothing half made stays");
    // The same tick hands out the Welcomes again.
    let ids = |events: &[Event]| events.iter().map(Event::id).collect::<Vec<_>>();
    let again = alice.engine.tick().unwrap().reply;
    assert_eq!(ids(&again), ids(&pending.welcomes));
    assert!(alice.engine.tick().unwrap().reply.is_empty());
    bob.tells(&group, "hi", &mut [&mut alice]);

    // The leave is still due where there is room.
    drop(alice);
    let mut alice = limited(usual);
    let replies = alice.engine.tick().unwrap().reply;
    assert_eq!(ids(&replies)[..2], ids(&pending.welcomes));
    let [_, _, answer] = replies.try_into().unwrap();
    bob.applies(&leave);
    bob.applies(&answer);
    alice.applies(&answer);
    assert_eq!((alice.info(&group).member_count, bob.info(&group).member_count), (2, 2));
}

// rule: B4-14
#[test]
fn invites_are_bounded_and_their_relays_are_not_dialled() {
    let (mut bob, package) = newcomer("bob");
    let mut stranger = Foreign::new();
    let mut invites = |n| invites(&mut stranger, &package, n);
    let most = u16::try_from(MAX_OF_ONE).unwrap();
    for n in 0..most {
        let welcome = invites(n);
        bob.applies(&welcome);
    }
    let last = invites(most);
    let before = (bob.digest(), testing::mls_steps());
    bob.refuses(&last, "B4-14");
    let after = (bob.digest(), testing::mls_steps());
    assert_eq!(after, before, "it is not remembered, and no group was opened for it");
    let waiting = bob.engine.invites().unwrap();
    assert_eq!(waiting.len(), MAX_OF_ONE);
    let [inbox] = bob.engine.interests().unwrap().try_into().unwrap();
    assert!(inbox.relays.is_empty() && inbox.filter.contains("1059"));

    bob.engine.decline(&waiting[0].id).unwrap();
    bob.applies(&last);
    assert_eq!(bob.engine.invites().unwrap().len(), MAX_OF_ONE);
    // An accepted group is none that waits, and is subscribed to.
    bob.engine.accept(&waiting[1].id).unwrap();
    bob.applies(&invites(most + 1));
    let interests = bob.engine.interests().unwrap();
    assert_eq!(interests.len(), 2);
    assert_eq!(interests[1].relays, [RELAY]);
}

/// Another group of a stranger's, to which it invites.
fn invites(stranger: &mut Foreign, package: &Event, n: u16) -> Event {
    let mut route = [1; 32];
    route[..2].copy_from_slice(&n.to_be_bytes());
    stranger.route = NostrGroupId::from_bytes(route);
    stranger.founds_with(&stranger.context(), package)
}

// shows: B4-14
#[test]
fn one_stranger_keeps_nobody_elses_invites_away() {
    let (mut bob, package) = newcomer("bob");
    let (one, other) = (MAX_OF_ONE, MAX_WAITING / MAX_OF_ONE);
    let mut strangers: Vec<Foreign> = (0..other).map(|_| Foreign::new()).collect();
    for stranger in &mut strangers {
        for n in 0..u16::try_from(one).unwrap() {
            bob.applies(&invites(stranger, &package, n));
        }
    }
    assert_eq!(bob.engine.invites().unwrap().len(), MAX_WAITING);
    // All the room of strangers is taken: who has more than one invite there makes room for who has none.
    for n in 0..3 {
        let mut honest = Foreign::new();
        bob.applies(&invites(&mut honest, &package, n));
        let waiting = bob.engine.invites().unwrap();
        assert_eq!(waiting.len(), MAX_WAITING);
        assert!(waiting.iter().any(|invite| invite.inviter == honest.key()));
    }
    // Whom we know has room beside them.
    let mut known = Foreign::new();
    let inviters = Inviters { known: [known.key()].into(), strangers: true };
    bob.engine.set_inviters(inviters);
    bob.applies(&invites(&mut known, &package, 9));
    assert_eq!(bob.engine.invites().unwrap().len(), MAX_WAITING + 1);
    // What nobody answers goes.
    bob.clock.advance_millis(29 * 86_400_000);
    bob.engine.tick().unwrap();
    assert_eq!(bob.engine.invites().unwrap().len(), MAX_WAITING + 1);
    bob.clock.advance_millis(86_400_000);
    bob.engine.tick().unwrap();
    assert_eq!(bob.engine.invites().unwrap().len(), 0);
}

// rule: B4-40, B4-41
#[test]
fn who_is_not_to_invite_costs_no_join() {
    let (mut bob, package) = newcomer("bob");
    let (mut known, mut stranger) = (Foreign::new(), Foreign::new());
    bob.engine.set_inviters(Inviters { known: [known.key()].into(), strangers: false });
    let welcome = invites(&mut stranger, &package, 1);
    let before = (bob.digest(), testing::mls_steps());
    bob.refuses(&welcome, "B4-40");
    assert_eq!((bob.digest(), testing::mls_steps()), before);
    bob.applies(&invites(&mut known, &package, 2));
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    assert_eq!(invite.inviter, known.key());
    bob.engine.accept(&invite.id).unwrap();
    // Who is in a group with us is no stranger.
    bob.engine.set_inviters(Inviters { known: [].into(), strangers: false });
    bob.applies(&invites(&mut known, &package, 3));
    bob.refuses(&welcome, "B4-40");
    bob.engine.set_inviters(Inviters::default());
    bob.applies(&welcome);
}

// rule: 2.4-12
#[test]
fn handshakes_do_not_expire() {
    let mut w = World::new();
    let expiring = |e: &mut mdk_wire::UnsignedEvent| {
        e.tags.push(vec!["expiration".into(), (now() + 100).to_string()]);
    };
    let author = Keys::generate();
    let proposal = w.max.proposes_self_remove();
    let sealed = w.max.seals_with(&proposal, &author, expiring);
    assert_eq!(w.refuses(&sealed), (RejectCode::TransportRejected, "2.4-12"));
    let commit = w.ann.commits(self_update()).commit;
    let sealed = w.ann.seals_with(&commit, &author, expiring);
    assert_eq!(w.refuses(&sealed), (RejectCode::TransportRejected, "2.4-12"));
    // The same bytes without the tag count.
    let sealed = w.max.seals(&proposal);
    w.us.applies(&sealed);
    let sealed = w.ann.seals(&commit);
    w.us.applies(&sealed);
}

// shows: A4-3
#[test]
fn a_replaced_key_package_is_forgotten() {
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    let (mut bob, first) = newcomer("bob");
    let mut founder = Foreign::new();
    bob.applies(&founder.founds_with(&founder.context(), &first));
    bob.engine.tick().unwrap();
    let [used] = bob.engine.key_packages().unwrap().try_into().unwrap();
    assert!(used.used);
    let invites = |key_package: &Event| {
        let mut stranger = Foreign::new();
        stranger.founds_with(&stranger.context(), key_package)
    };
    // Used: others may have had it at the same time, so it serves for an hour more.
    let (beside, late) = (invites(&first), invites(&first));
    let unused = bob.key_package();
    bob.waits(HOUR - 1000);
    bob.applies(&beside);
    bob.waits(1000);
    let [left] = bob.engine.key_packages().unwrap().try_into().unwrap();
    assert_eq!((left.event_id, left.used), (unused.id(), false));
    gone(&bob.takes(&late).verdict);
    // Unused: a Welcome to it may be under way for a week.
    bob.key_package();
    bob.engine.tick().unwrap();
    assert_eq!(bob.engine.key_packages().unwrap().len(), 2);
    bob.waits(7 * DAY - 1000);
    assert_eq!(bob.engine.key_packages().unwrap().len(), 2);
    let late = invites(&unused);
    bob.waits(1000);
    let [left] = bob.engine.key_packages().unwrap().try_into().unwrap();
    assert_ne!(left.event_id, unused.id());
    gone(&bob.takes(&late).verdict);
}

fn gone(verdict: &Verdict) {
    let Verdict::Rejected(rejection) = verdict else { panic!("taken") };
    assert_eq!((rejection.code, rejection.rule), (RejectCode::WrongRecipient, "B4-3"));
}

// shows: D2-7
#[test]
fn a_message_too_far_ahead_waits() {
    let mut w = World::new();
    let said: Vec<Event> = ["first", "second"].map(|text| w.max.says(text)).into();
    for _ in 2..1001 {
        w.max.encrypts(b"lost");
    }
    let far = w.max.says("far ahead");
    let waits = Verdict::Deferred(DeferredReason::FutureGeneration);
    assert_eq!(w.us.takes(&far).verdict, waits, "generation 1001 from 0");
    assert!(received(&w.us.engine.tick().unwrap()).is_empty());
    w.us.applies(&said[1]);
    assert_eq!(received(&w.us.engine.tick().unwrap()), ["far ahead"]);
    assert_eq!(w.us.takes(&far).verdict, Verdict::Duplicate);
}

// rule: D2-8, F1-14
#[test]
fn a_message_too_far_behind_is_stale() {
    let mut w = World::new();
    let said: Vec<Event> = (0..=102).map(|n| w.max.says(&n.to_string())).collect();
    w.us.applies(&said[102]);
    // The next generation is 103: 3 is 100 behind it.
    assert_eq!(received(&w.us.applies(&said[3])), ["3"]);
    // That something is lost is told, once: it may come again, and others beside it.
    let refused = w.us.takes(&said[2]);
    let at = said[2].created_at();
    assert!(matches!(refused.verdict, Verdict::Rejected(r) if r.rule == "D2-8"));
    let told: Vec<EventBody> = refused.events.into_iter().map(|event| event.body).collect();
    assert_eq!(told, [EventBody::HistoryGap { count: 0, first: at, last: at }]);
    for stale in [&said[2], &said[0]] {
        assert_eq!(w.refuses(stale), (RejectCode::StaleEpoch, "D2-8"));
    }
    // Whenever an envelope says that it was made.
    for made in [1, at + 7_200, at + 72_000] {
        let again = resigned(&said[2], &Keys::generate(), |envelope| envelope.created_at = made);
        assert_eq!(w.refuses(&again), (RejectCode::StaleEpoch, "D2-8"));
    }
}

// rule: 2.6-3
#[test]
fn roles_are_given_to_members_and_taken_from_admins() {
    let (mut alice, mut bob, group) = pair();
    let stranger = Keys::generate().public_key();
    let (me, other) = (alice.key(), bob.key());
    let before = alice.digest();
    for accounts in [&[][..], &[stranger], &[other, stranger], &[me]] {
        refused_for(alice.engine.promote(&group, accounts), "members");
    }
    for accounts in [&[][..], &[stranger], &[other], &[me, other]] {
        refused_for(alice.engine.demote(&group, accounts), "members");
    }
    assert!(alice.engine.pending().unwrap().is_empty());
    assert_eq!(alice.digest(), before);
    let promotion = alice.engine.promote(&group, &[other]).unwrap();
    bob.applies(promotion.event.as_ref().unwrap());
    assert_eq!(alice.confirms(&promotion).admins.len(), 2);
}
