//! How long what was said more than once stays, and what is told when it goes.

use mdk_core::{EngineEvent, Error, EventBody, Outgoing};
use mdk_wire::{Event, EventId, GroupId};

use super::words::rows;
use crate::kit::cast::Cast;
use crate::kit::fork::{Filed, orders, two_admins_and};
use crate::kit::{Member, folder, kept_for, received};

/// Seconds that the short lifetime lasts.
pub(crate) const SHORT: u64 = 10;

/// alice, who speaks, and two who read.
pub(crate) struct Three {
    pub(crate) alice: Member,
    pub(crate) readers: [Member; 2],
    pub(crate) group: GroupId,
}

impl Three {
    pub(crate) fn new(retention: u64) -> Self {
        let mut alice = Member::new("alice");
        let mut readers = [Member::new("bob"), Member::new("carol")];
        let [bob, carol] = &mut readers;
        let group = alice.founds("g", &mut [bob, carol]);
        let mut three = Self { alice, readers, group };
        three.lasts(retention);
        three
    }

    /// The group keeps what is said from now on for so long.
    pub(crate) fn lasts(&mut self, retention: u64) {
        let pending = self.alice.changes(&self.group, kept_for(retention), &mut []);
        self.all_read(pending.event.as_ref().unwrap());
    }

    pub(crate) fn all_read(&mut self, event: &Event) {
        for reader in &mut self.readers {
            reader.applies(event);
        }
    }

    pub(crate) fn says(&mut self, text: &str) -> Outgoing {
        self.alice.utters(&self.group, text)
    }

    /// As [`Three::says`], and all read it.
    pub(crate) fn tells(&mut self, text: &str) -> Outgoing {
        let said = self.says(text);
        self.all_read(&said.event);
        said
    }

    pub(crate) fn edits(&mut self, said: &Outgoing, text: &str) -> Outgoing {
        let edit = self.alice.engine.edit(&self.group, &said.message.id, text).unwrap();
        self.all_read(&edit.event);
        edit
    }

    pub(crate) fn reacts_to(&mut self, said: &Outgoing, emoji: &str) -> Outgoing {
        let reaction = self.alice.engine.react(&self.group, &said.message.id, emoji).unwrap();
        self.all_read(&reaction.event);
        reaction
    }

    pub(crate) fn again(&mut self, id: &EventId) -> Event {
        self.alice.engine.resend(&self.group, id).unwrap().event
    }

    pub(crate) fn passes(&mut self, seconds: u64) {
        self.alice.clock.advance_millis(seconds * 1000);
        for reader in &mut self.readers {
            reader.clock.advance_millis(seconds * 1000);
        }
    }
}

fn edited(events: &[EngineEvent]) -> Vec<(String, bool)> {
    let of = |event: &EngineEvent| match &event.body {
        EventBody::MessageEdited { message } => Some((message.text.clone(), message.fate.edited)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

pub(crate) fn deleted(events: &[EngineEvent]) -> usize {
    events.iter().filter(|e| matches!(e.body, EventBody::MessageDeleted { .. })).count()
}

/// Said for ten seconds; sent again after that was lifted.
// shows: 2.9-6
#[test]
fn what_has_expired_does_not_come_back() {
    let mut three = Three::new(SHORT);
    let said = three.tells("vanishes");
    three.lasts(0);
    let again = three.again(&said.message.id);
    let ends = (said.message.times.created_at + SHORT).to_string();
    let tag = ["expiration".to_owned(), ends];
    assert!(again.tags().iter().any(|t| *t == tag), "relays let it go, too");
    let group = three.group.clone();
    three.readers[0].applies(&again);
    three.passes(SHORT + 5);
    assert_eq!(deleted(&three.readers[1].engine.tick().unwrap().events), 1);
    let late = three.readers[1].applies(&again);
    assert!(received(&late).is_empty(), "it had expired");
    for member in three.readers.iter_mut().chain([&mut three.alice]) {
        member.engine.tick().unwrap();
        assert!(member.texts(&group).is_empty(), "{}", member.name);
        assert!(member.engine.search("vanishes", None, 10).unwrap().is_empty());
        assert_eq!(member.info(&group).unread_count, 0);
    }
    let resent = three.alice.engine.resend(&group, &said.message.id);
    assert!(matches!(resent, Err(Error::MessageNotFound)));
    // Nor when it comes once more.
    for member in &mut three.readers {
        assert!(received(&member.takes(&again)).is_empty());
        assert!(member.texts(&group).is_empty(), "{}", member.name);
    }
}

/// Said again after the clock was set back to its second: a message of its own, which its readers show.
#[test]
fn what_is_said_like_one_that_has_expired_is_another_message() {
    let place = folder();
    let (mut all, group) = two_admins_and("carol", place.path());
    let commit = all[0].member.changes(&group, kept_for(SHORT), &mut []).event.unwrap();
    for reader in &mut all[1..] {
        reader.applies(&commit);
    }
    let said = all[0].member.utters(&group, "ok");
    for reader in &mut all[1..] {
        reader.applies(&said.event);
    }
    for filed in &mut all {
        filed.waits((SHORT + 1) * 1000);
        assert!(filed.member.texts(&group).is_empty(), "{}", filed.member.name);
        filed.member.clock.set(said.message.times.created_at);
    }
    // In the same process it would be dated a second later.
    all[0].restarts();
    let again = all[0].member.utters(&group, "ok");
    assert_eq!(again.message.times.created_at, said.message.times.created_at);
    assert_ne!(again.message.id, said.message.id);
    for reader in &mut all[1..] {
        reader.applies(&again.event);
    }
    for filed in &mut all {
        assert_eq!(filed.member.texts(&group), ["ok"], "{}", filed.member.name);
    }
}

/// Said for ten seconds and again for good, or the other way round: what counts is the first, also for who gets both late.
// shows: 2.9-4, 2.9-6
#[test]
fn the_first_lifetime_counts_for_who_comes_late() {
    for (first, then, original_first) in
        [(SHORT, 0, true), (SHORT, 0, false), (0, SHORT, true), (0, SHORT, false)]
    {
        let mut three = Three::new(first);
        let said = three.says("late");
        three.lasts(then);
        let again = three.again(&said.message.id);
        three.passes(SHORT + 5);
        let (group, stays) = (three.group.clone(), first == 0);
        let carol = &mut three.readers[1];
        let pair = if original_first { [&said.event, &again] } else { [&again, &said.event] };
        let told: usize = pair.into_iter().map(|e| received(&carol.applies(e)).len()).sum();
        assert!(told == 1 || !stays, "{first}, original first: {original_first}");
        for member in [&mut three.alice, &mut three.readers[1]] {
            let told = member.engine.tick().unwrap().events;
            assert!(deleted(&told) == 0 || !stays);
            assert_eq!(member.texts(&group).len(), usize::from(stays), "{first} {}", member.name);
        }
    }
}

/// One that was seen to expire is not seen again, whatever comes then.
// shows: 2.9-6
#[test]
fn what_was_seen_to_expire_is_gone() {
    let mut three = Three::new(0);
    let said = three.says("stays with the others");
    three.lasts(SHORT);
    let again = three.again(&said.message.id);
    let group = three.group.clone();
    assert_eq!(received(&three.readers[1].applies(&again)).len(), 1);
    three.passes(SHORT + 5);
    let carol = &mut three.readers[1];
    assert_eq!(deleted(&carol.engine.tick().unwrap().events), 1);
    assert!(received(&carol.applies(&said.event)).is_empty());
    assert!(carol.texts(&group).is_empty());
}

/// Three times, with three lifetimes: the first one counts in every order, also after its epoch is forgotten.
// shows: 2.9-6
#[test]
fn the_first_lifetime_counts_in_every_order() {
    let orders = orders(3);
    for (first, then) in [(60, [SHORT, 0]), (0, [SHORT, 60]), (SHORT, [60, 0])] {
        let mut three = Three::new(first);
        let group = three.group.clone();
        // A message for each order.
        let said: Vec<_> = orders.iter().map(|order| three.says(&format!("{order:?}"))).collect();
        let mut events: Vec<_> = said.iter().map(|said| vec![said.event.clone()]).collect();
        for retention in then {
            three.lasts(retention);
            for (said, events) in said.iter().zip(&mut events) {
                events.push(three.again(&said.message.id));
            }
        }
        let gives = |three: &mut Three, nth: usize, which: fn(&[usize]) -> bool| {
            for (order, events) in orders.iter().zip(&events).filter(|(order, _)| which(order)) {
                three.readers[1].applies(&events[order[nth]]);
            }
        };
        gives(&mut three, 0, |_| true);
        gives(&mut three, 1, |_| true);
        gives(&mut three, 2, |order| order[2] == 0);
        // The lowest epoch falls out of what is retained before the others get their last one.
        for _ in 0..4 {
            let update = three.alice.updates(&group, &mut []);
            three.all_read(update.event.as_ref().unwrap());
        }
        gives(&mut three, 2, |order| order[2] != 0);
        let mut life = 0;
        // (what is said at once is dated in seconds that follow each other)
        for (after, shown) in [(SHORT - 5, true), (SHORT + 10, first != SHORT), (80, first == 0)] {
            three.passes(after - life);
            life = after;
            let texts = three.readers[1].texts(&group);
            let count = if shown { orders.len() } else { 0 };
            assert_eq!(texts.len(), count, "{first} {then:?} after {after} s: {texts:?}");
        }
    }
}

/// The same holds for an edit.
// shows: 2.9-6
#[test]
fn an_edit_lasts_as_it_was_first_said() {
    for (first, then, original_first) in
        [(0, SHORT, true), (0, SHORT, false), (SHORT, 0, true), (SHORT, 0, false)]
    {
        let mut three = Three::new(0);
        let said = three.tells("before");
        three.lasts(first);
        let edit = three.alice.engine.edit(&three.group, &said.message.id, "after").unwrap();
        three.lasts(then);
        let again = three.again(&edit.message.id);
        let group = three.group.clone();
        let pair = if original_first { [&edit.event, &again] } else { [&again, &edit.event] };
        for event in pair {
            three.readers[1].applies(event);
        }
        three.passes(SHORT + 5);
        let left = if first == 0 { "after" } else { "before" };
        for member in [&mut three.alice, &mut three.readers[1]] {
            assert_eq!(member.texts(&group), [left], "{first} {original_first} {}", member.name);
        }
        // carol has not seen it; bob sees it late, once and for all.
        three.readers[0].applies(&again);
        three.readers[0].applies(&edit.event);
        assert_eq!(three.readers[0].texts(&group), [left], "{first} {original_first} bob");
    }
}

/// An edit of what has expired finds nothing, and nothing of it is kept, whichever came first.
// shows: 2.9-6
#[test]
fn an_edit_of_what_has_expired_is_not_kept() {
    for (in_time, edit_first) in [(true, false), (false, false), (false, true)] {
        let place = folder();
        let mut three = Three::new(SHORT);
        let mut dave = Filed::new(place.path(), "dave", 1);
        let group = three.group.clone();
        let add = three.alice.adds(&group, dave.key_package(), &mut []);
        three.all_read(add.event.as_ref().unwrap());
        dave.joins(&add.welcomes);
        let said = three.says("before");
        if in_time {
            dave.applies(&said.event);
        }
        three.alice.changes(&group, kept_for(0), &mut [&mut dave.member]);
        let edit = three.alice.engine.edit(&group, &said.message.id, "afterwards").unwrap();
        dave.waits((SHORT + 5) * 1000);
        for edits in [edit_first, !edit_first] {
            if edits {
                dave.applies(&edit.event);
            } else {
                dave.takes(&said.event);
            }
        }
        assert!(dave.texts(&group).is_empty());
        let path = dave.path.clone();
        drop(dave);
        let left = rows(&path);
        assert!(left.iter().all(|row| row.content.is_empty()), "{in_time} {edit_first}");
        assert!(left.iter().all(|row| row.id != said.message.id && row.id != edit.message.id));
    }
}

/// When an edit expires, the text is what it was before: whoever listens is told.
// shows: 2.9-7
#[test]
fn the_end_of_an_edit_is_told() {
    let mut three = Three::new(0);
    let said = three.tells("before");
    three.lasts(60);
    three.edits(&said, "long");
    three.lasts(SHORT);
    three.edits(&said, "short");
    three.reacts_to(&said, "+");
    let group = three.group.clone();
    for (wait, text, has_edit) in [(SHORT + 5, "long", true), (60, "before", false)] {
        three.passes(wait);
        for member in [&mut three.alice, &mut three.readers[0]] {
            let told = member.engine.tick().unwrap().events;
            assert_eq!(edited(&told), [(text.to_owned(), has_edit)], "{}", member.name);
            let gone = |e: &&EngineEvent| matches!(e.body, EventBody::ReactionRemoved { .. });
            assert_eq!(told.iter().filter(gone).count(), usize::from(has_edit), "{}", member.name);
            assert_eq!(member.texts(&group), [text]);
        }
    }
}

/// An edit that goes with its message, or below a newer one, changes nothing that is shown.
// shows: 2.9-7
#[test]
fn the_end_of_an_edit_that_is_not_shown_is_not_told() {
    let mut three = Three::new(SHORT);
    let said = three.says("before");
    let older = three.alice.engine.edit(&three.group, &said.message.id, "older").unwrap();
    for event in [&said.event, &older.event] {
        three.all_read(event);
    }
    three.passes(SHORT + 5);
    for member in &mut three.readers {
        let told = member.engine.tick().unwrap().events;
        assert_eq!((edited(&told).len(), deleted(&told)), (0, 1), "it went with its message");
    }
    three.lasts(0);
    let said = three.tells("before");
    three.lasts(SHORT);
    three.edits(&said, "older");
    three.lasts(0);
    three.edits(&said, "newer");
    three.passes(SHORT + 5);
    for member in &mut three.readers {
        let told = member.engine.tick().unwrap().events;
        assert!(edited(&told).is_empty());
        assert_eq!(member.texts(&three.group), ["newer"]);
    }
}

/// What stood on a branch that lost stays in the history, marked. An edit of it changes how it reads, and so does the end
/// of that edit.
// shows: 2.4-17
#[test]
fn an_edit_of_a_lost_message_is_told() {
    let mut cast = Cast::two_admins_and("carol");
    let group = cast.group.clone();
    let commits = ["alice", "bob"].map(|who| cast.renews(who));
    let here = cast.says("alice", "here");
    cast.takes("carol", &commits[1]);
    let lost = cast.says("carol", "lost");
    let target = cast.messages("carol").pop().unwrap().id;
    cast.takes("bob", &lost);
    for who in ["bob", "carol"] {
        for event in [&commits[0], &here] {
            cast.takes(who, event);
        }
        cast.waits(who, 1_000);
        cast.waits(who, 5_000);
        assert!(cast.engine(who).message(&group, &target).unwrap().fate.invalidated, "{who}");
    }
    let edit = cast.engine("carol").edit(&group, &target, "found").unwrap();
    let told = cast.takes("bob", &edit.event).events;
    assert_eq!(cast.texts("bob").iter().filter(|text| *text == "found").count(), 1);
    assert_eq!(edited(&told), [("found".to_owned(), true)]);
    let deletion = cast.engine("carol").delete(&group, &edit.message.id).unwrap();
    let told = cast.takes("bob", &deletion.event).events;
    assert_eq!(edited(&told), [("lost".to_owned(), false)]);
    // The other never saw it: an edit of what is not there is no event.
    for event in [&edit.event, &deletion.event] {
        assert!(cast.takes("alice", event).events.is_empty());
    }
}
