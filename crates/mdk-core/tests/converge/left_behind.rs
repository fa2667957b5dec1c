//! Whoever cannot follow the others any more is brought back by a new invitation, and nobody else is led away by one.

use mdk_core::{
    Config, DeferredReason, EventBody, GroupState, OutboxItem, OutboxPurpose, Outcome,
    RelayVerdict, Verdict,
};
use mdk_wire::group_message::{self, GroupMessage};
use mdk_wire::{Event, Keys, OsRandom, Random as _, Secret};
use openmls::prelude::tls_codec::Serialize as _;

use crate::kit::acts::invited;
use crate::kit::cast::{Cast, Who};
use crate::kit::foreign::{Change, Foreign, resigned, wrap};
use crate::kit::foreign_commits::{Handmade, World, self_update, vlbytes};
use crate::kit::{self, CLOSED, Member, REFUSED, WAITS, now, received};

/// Somebody does this, and all but these hear of it.
fn given(cast: &mut Cast, by: Who, away: &[Who], event: &Event) {
    for who in cast.names() {
        if who != by && !away.contains(&who) {
            cast.takes(who, event);
        }
    }
    cast.rest(5_000);
}

/// Longer than any state is retained everybody is there for all that is done and said.
fn lives(cast: &mut Cast, admin: Who) {
    for n in 0..8 {
        let commit = cast.renames(admin, &format!("name {n}"));
        given(cast, admin, &[], &commit);
        for who in cast.names() {
            let said = cast.says(who, &format!("{n} by {who}"));
            given(cast, who, &[], &said);
        }
    }
}

fn lived() -> Cast {
    let mut cast = Cast::two_admins_and("carol");
    lives(&mut cast, "alice");
    cast
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
    for (gone, admin, other) in [("carol", "alice", "bob"), ("alice", "bob", "carol")] {
        for restart in [false, true] {
            let mut cast = Cast::two_admins_and("carol");
            lives(&mut cast, admin);
            let late = cast.says(other, "late");
            given(&mut cast, other, &[gone], &late);
            let missed = cast.renames(admin, "missed");
            given(&mut cast, admin, &[gone], &missed);
            let removal = cast.removes(admin, gone);
            given(&mut cast, admin, &[], &removal);
            let added = cast.adds(admin, gone);
            assert_eq!(cast.takes(gone, &added.welcome).verdict, WAITS);
            given(&mut cast, admin, &[], &added.commit);
            let said = cast.says(other, "not for all");
            given(&mut cast, other, &[], &said);
            assert_eq!(received(&cast.takes(gone, &late)), ["late"]);
            assert!(!invited(&cast.waits(gone, 119_000)), "more may come");
            if restart {
                cast.restarts(gone);
            }
            assert_eq!(cast.state(gone), GroupState::Active);
            led_back(&cast.waits(gone, 1_000));
            cast.accepts(gone, admin);
            cast.waits(gone, 1_000);
            let said = cast.end(gone).said;
            assert_eq!(said.len(), 8 * 3 + 2, "{said:?}");
            assert!(said.iter().all(|(_, marked)| !marked));
            assert!(said.contains(&("not for all".to_owned(), false)));
            cast.all_agree(gone);
            cast.speak(admin, gone);
            cast.speak(other, gone);
        }
    }
}

/// What waits to be said.
fn queued(cast: &mut Cast, who: &str) -> Vec<OutboxItem> {
    let mut items = cast.engine(who).outbox(99).unwrap();
    items.retain(|item| matches!(item.purpose, OutboxPurpose::Message { .. }));
    items
}

// shows: OB-17, B4-25
/// What she says on a state that nobody else was ever in has not left yet: it is said to those whom she is led to, when she
/// has accepted, and is read once.
#[test]
fn what_waits_when_one_is_led_back_is_said_again_where_the_others_are() {
    let mut cast = lived();
    let missed = cast.renames("alice", "missed");
    given(&mut cast, "alice", &["carol"], &missed);
    cast.renews("carol");
    cast.waits("carol", 5_000);
    cast.engine("carol").enable_outbox();
    cast.says("carol", "queued");
    let [before] = queued(&mut cast, "carol").try_into().unwrap();
    // An attempt that brought nothing.
    let later = RelayVerdict::Later { reason: "unreachable".to_owned(), next_at: 0 };
    cast.engine("carol").outbox_result(before.seq, kit::RELAY, later).unwrap();
    let removal = cast.removes("alice", "carol");
    given(&mut cast, "alice", &[], &removal);
    let added = cast.adds("alice", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    given(&mut cast, "alice", &[], &added.commit);
    let said = cast.says("bob", "not for all");
    given(&mut cast, "bob", &[], &said);
    led_back(&cast.waits("carol", 120_000));
    assert!(queued(&mut cast, "carol").is_empty(), "nobody could read it");
    cast.accepts("carol", "alice");
    let update = cast.renews("carol");
    given(&mut cast, "carol", &[], &update);
    cast.waits("carol", 5_000);
    let [item] = queued(&mut cast, "carol").try_into().unwrap();
    assert_ne!(item.event_id, before.event_id);
    let [old, new] = [&before, &item].map(|i| Event::from_json(i.event.as_bytes()).unwrap());
    for reader in ["alice", "bob"] {
        assert_eq!(received(&cast.takes(reader, &new)), ["queued"]);
        assert!(received(&cast.takes(reader, &old)).is_empty());
    }
    let said = cast.end("carol").said;
    assert_eq!(said.iter().filter(|(text, _)| text == "queued").count(), 1);
}

// shows: B4-25
/// The answer to a leave never comes, and the admin who gave it asks back.
#[test]
fn who_has_left_without_an_answer_is_asked_back() {
    let mut cast = lived();
    let leave = cast.leaves("carol");
    let answer = cast.answers("alice", &leave);
    cast.takes("alice", &answer);
    cast.waits("carol", 120_000);
    let added = cast.adds("alice", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    let said = cast.says("alice", "not for all");
    cast.takes("carol", &said);
    assert!(!invited(&cast.waits("carol", 119_000)));
    assert_eq!(cast.state("carol"), GroupState::Leaving);
    led_back(&cast.waits("carol", 1_000));
    cast.accepts_all("carol");
    assert_eq!(cast.state("carol"), GroupState::Active);
    cast.speak("alice", "carol");
}

// shows: B4-25
/// The clock was a day ahead when something was last heard: that does not keep anybody waiting for a day.
#[test]
fn a_clock_that_was_ahead_holds_nobody_back() {
    let mut cast = lived();
    cast.waits("carol", 86_400_000);
    let said = cast.says("bob", "heard tomorrow");
    given(&mut cast, "bob", &[], &said);
    let right = clock(&mut cast, "alice");
    cast.at("carol").member.clock.set(right);
    let missed = cast.renames("alice", "missed");
    given(&mut cast, "alice", &["carol"], &missed);
    let (_, added) = cast.adds_again("alice", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    let said = cast.says("alice", "not for all");
    cast.takes("carol", &said);
    assert!(!invited(&cast.waits("carol", 119_000)));
    led_back(&cast.waits("carol", 1_000));
    cast.accepts_all("carol");
    cast.speak("alice", "carol");
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
    w.us.clock.advance_millis(119_000);
    assert!(!invited(&w.us.engine.tick().unwrap()));
    assert_eq!(w.us.info(&w.id).state, GroupState::Active);
    w.us.clock.advance_millis(1_000);
    led_back(&w.us.engine.tick().unwrap());
    w.us.joins(&[]);
    let said = w.ann.says("welcome back");
    assert_eq!(received(&w.us.applies(&said)), ["welcome back"]);
}

/// What a copy of another's that nobody follows comes to: somebody removed, this many commits, the same one invited. What is
/// said there comes to that one, too.
fn strays(cast: &mut Cast, between: usize, whom: Who) -> Event {
    cast.removes("copy", whom);
    (0..between).for_each(|_| drop(cast.renames("copy", "stray")));
    let added = cast.adds("copy", whom);
    let said = cast.says("copy", "elsewhere");
    cast.takes(whom, &said);
    added.welcome
}

// rule: B4-25
/// No relay of the group answers, and the inbox does: nothing was heard, and all of it is still for who is a member.
#[test]
fn who_hears_nothing_at_all_is_not_led_away() {
    let mut cast = lived();
    let said = cast.says("bob", "to a member");
    let (removal, added) = cast.adds_again("alice", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    assert!(!invited(&cast.waits("carol", 1_000_000)));
    assert_eq!(received(&cast.takes("carol", &said)), ["to a member"]);
    let told = cast.takes("carol", &removal);
    assert!(invited(&told) || invited(&cast.waits("carol", 10_000)), "{:?}", told.events);
    cast.accepts_all("carol");
    cast.speak("alice", "carol");
}

// rule: B4-25
/// A founder who alone says and changes anything is where the others are, whatever an old copy of another admin comes to.
#[test]
fn a_founder_who_speaks_alone_is_not_led_away_by_a_shorter_branch() {
    let mut cast = Cast::two_admins_and("carol");
    cast.copies("bob", "copy");
    for n in 0..9 {
        let commit = cast.renames("alice", &format!("name {n}"));
        given(&mut cast, "alice", &["copy"], &commit);
        let said = cast.says("alice", "news");
        given(&mut cast, "alice", &["copy"], &said);
    }
    cast.waits("copy", 210_000);
    let stray = strays(&mut cast, 0, "alice");
    assert_eq!(cast.takes("alice", &stray).verdict, WAITS);
    assert!(!invited(&cast.waits("alice", 1_000_000)));
    assert_eq!(cast.state("alice"), GroupState::Active);
}

// rule: B4-25
/// Others go on where carol is, if only by a word or by a commit, since an invitation of another branch came: she stays.
#[test]
fn who_is_where_others_go_on_is_not_led_away() {
    for (commits, restart) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut cast = lived();
        cast.copies("alice", "copy");
        let stray = strays(&mut cast, 20, "carol");
        assert_eq!(cast.takes("carol", &stray).verdict, WAITS);
        cast.rest(60_000);
        let here = if commits { cast.renames("bob", "here") } else { cast.says("bob", "here") };
        given(&mut cast, "bob", &["copy"], &here);
        if restart {
            cast.restarts("carol");
        }
        for _ in 0..4 {
            assert!(!invited(&cast.waits("carol", 130_000)), "{commits}");
        }
        assert_eq!(cast.takes("carol", &stray).verdict, WAITS);
        assert_eq!(cast.state("carol"), GroupState::Active);
        cast.speak("bob", "carol");
    }
}

// rule: B4-25
/// What leads no further than we are by ourselves waits on, however still it is; a commit more, and it leads there.
#[test]
fn a_branch_that_is_no_longer_leads_nobody_away() {
    for (between, leads) in [(0, false), (2, false), (3, false), (4, true)] {
        let mut cast = lived();
        cast.copies("alice", "copy");
        for n in 0..4 {
            let commit = cast.renames("alice", &format!("ours {n}"));
            given(&mut cast, "alice", &["copy"], &commit);
        }
        for who in ["alice", "bob"] {
            // (two who speak outweigh a commit more)
            let said = cast.says(who, "here");
            given(&mut cast, who, &["copy"], &said);
        }
        cast.waits("copy", 270_000);
        cast.waits("carol", 300_000);
        let stray = strays(&mut cast, between, "carol");
        assert_eq!(cast.takes("carol", &stray).verdict, WAITS, "{between}");
        let told = cast.waits("carol", 130_000);
        assert_eq!(invited(&told), leads, "{between}");
        if !leads {
            assert!(!invited(&cast.waits("carol", 1_000_000)), "{between}");
            assert_eq!(cast.state("carol"), GroupState::Active);
        }
    }
}

// rule: B4-25
/// Whoever invites is nobody who may, as far as we know: it waits on.
#[test]
fn an_invitation_of_no_admin_that_is_known_leads_nobody_away() {
    let mut cast = Cast::two_admins_and("carol");
    let added = cast.adds("alice", "dave");
    cast.joins("dave", &added.welcome);
    given(&mut cast, "alice", &["dave"], &added.commit);
    lives(&mut cast, "alice");
    // Carol misses that dave becomes an admin.
    let promoted = cast.promotes("alice", &["dave"]);
    given(&mut cast, "alice", &["carol"], &promoted);
    cast.removes("dave", "carol");
    (0..4).for_each(|_| drop(cast.renames("dave", "more")));
    let added = cast.adds("dave", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    for _ in 0..4 {
        assert!(!invited(&cast.waits("carol", 130_000)));
    }
    assert_eq!(cast.state("carol"), GroupState::Active);
}

// What follows is of what shows that the others are elsewhere: when it has to have come, and from when.

/// All three follow a line of commits until nothing is retained of when they came, and were last heard now.
fn settled() -> Cast {
    let mut cast = Cast::two_admins_and("carol");
    for n in 0..8 {
        let commit = cast.renames("alice", &format!("name {n}"));
        let said = cast.says("bob", &format!("{n}"));
        cast.takes("bob", &commit);
        cast.hears("carol", [&commit, &said]);
        cast.takes("alice", &said);
        cast.rest(5_000);
    }
    cast
}

/// What anybody can send who sees one event of the group.
fn noise(of: &Event, size: usize, at: u64) -> Event {
    let route = GroupMessage::parse(of.clone()).unwrap().group;
    let (mut key, mut body) = ([0; 32], vec![0; size.max(64)]);
    OsRandom.fill(&mut key);
    OsRandom.fill(&mut body[..64]);
    group_message::seal(&body, &Secret::new(key), &route, at, None, &mut OsRandom).unwrap()
}

fn clock(cast: &mut Cast, who: &str) -> u64 {
    mdk_core::Clock::now(&cast.at(who).member.clock)
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
        let mut cast = settled();
        let heard = clock(&mut cast, "carol") - 5;
        let missed = cast.renames("alice", "missed");
        cast.rest(200_000);
        let (removal, added) = cast.adds_again("alice", "carol");
        cast.hears("bob", [&missed, &removal, &added.commit]);
        let made = clock(&mut cast, "alice");
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
        assert!(!invited(&cast.waits("carol", 130_000)));
        // (to open it writes: what it is addressed to is used up and put back)
        let log = format!("{}-wal", cast.at("carol").path.display());
        let before = std::fs::read(&log).unwrap();
        for _ in 0..20 {
            assert!(!invited(&cast.waits("carol", 10_000)));
        }
        assert!(std::fs::read(&log).unwrap() == before, "opened again");
        // Of long before the invitation: it may be anybody's.
        let old = noise(&missed, 64, made - 121);
        assert_eq!(cast.takes("carol", &old).verdict, CLOSED);
        assert!(!invited(&cast.waits("carol", 200_000)));
        if restart {
            cast.restarts("carol");
            assert!(!invited(&cast.waits("carol", 10_000)));
        }
        assert_eq!(cast.takes("carol", &added.commit).verdict, CLOSED);
        let told = cast.waits("carol", 1_000);
        assert!(invited(&told), "{:?}", told.events);
        assert_eq!(gaps(&told), [(heard, made)]);
        cast.accepts_all("carol");
        cast.speak("alice", "carol");
        cast.speak("bob", "carol");
    }
}

// rule: B4-25
/// Carol is where the others are, and holds what a stranger sent, however it was dated. The relay of the group is away for
/// some minutes in which she is removed and invited again: what was said to her before that is still for her.
#[test]
fn what_a_stranger_sent_before_leads_nobody_away_from_a_relay_that_is_silent() {
    for ahead in [0, 86_400] {
        let mut cast = settled();
        let sample = cast.says("bob", "heard");
        cast.takes("alice", &sample);
        cast.takes("carol", &sample);
        cast.rest(5_000);
        let stray = noise(&sample, 64, clock(&mut cast, "carol") + ahead);
        assert_eq!(cast.takes("carol", &stray).verdict, CLOSED);
        cast.rest(300_000);
        let said = cast.says("bob", "to a member");
        cast.takes("alice", &said);
        let (removal, added) = cast.adds_again("alice", "carol");
        cast.hears("bob", [&removal, &added.commit]);
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
        for _ in 0..30 {
            assert!(!invited(&cast.waits("carol", 10_000)), "{ahead}");
        }
        assert_eq!(received(&cast.takes("carol", &said)), ["to a member"]);
        let told = cast.takes("carol", &removal);
        assert!(invited(&told) || invited(&cast.waits("carol", 10_000)), "{:?}", told.events);
        cast.accepts_all("carol");
        cast.takes("carol", &added.commit);
        cast.speak("alice", "carol");
        cast.speak("bob", "carol");
    }
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
        let mut full = noise(&sample, size, made);
        while w.us.takes(&full).verdict == CLOSED {
            full = noise(&sample, size, made);
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
