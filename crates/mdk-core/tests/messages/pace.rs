//! When envelopes say that they were made: whoever reads a burst later, by that time, reads all of it.

use std::collections::BTreeMap;

use mdk_core::{Clock as _, Error, NewMessage, Verdict};
use mdk_wire::{Event, GroupId};

use crate::kit::fork::Filed;
use crate::kit::{self, Member, folder, named, pair};

/// The smallest page of relays that there are many of.
const PAGE: usize = 50;

fn says(member: &mut Member, group: &GroupId, texts: std::ops::Range<usize>) -> Vec<Event> {
    texts.map(|n| member.says(group, &n.to_string())).collect()
}

/// What was sent is dated in its order, and no second has more than a page.
#[track_caller]
fn in_order(sent: &[Event]) {
    assert!(sent.is_sorted_by_key(Event::created_at), "never back");
    let mut seconds = BTreeMap::new();
    sent.iter().for_each(|event| *seconds.entry(event.created_at()).or_insert(0) += 1);
    assert!(seconds.values().all(|messages| *messages < PAGE), "{seconds:?}");
}

/// Reads what was sent second by second, each in the order that is worst.
#[track_caller]
fn reads(reader: &mut Member, group: &GroupId, mut sent: Vec<Event>) {
    let before = reader.engine.messages(group, 10_000, None, None).unwrap().len();
    sent.reverse();
    sent.sort_by_key(Event::created_at);
    let all = sent.len();
    for (place, event) in sent.into_iter().enumerate() {
        let outcome = reader.engine.process_event(event).unwrap();
        assert_eq!(outcome.verdict, Verdict::Applied, "{place} of {all}");
    }
    assert_eq!(reader.engine.messages(group, 10_000, None, None).unwrap().len(), before + all);
}

#[test]
fn a_burst_goes_on_after_a_restart() {
    let folder = folder();
    let (mut alice, mut bob) = (Filed::new(folder.path(), "alice", 1), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    let mut sent = says(&mut alice.member, &group, 0..344);
    assert_eq!(sent[299].created_at(), sent[0].created_at() + 9, "32 in a second");
    alice.restarts();
    alice.clock.advance_millis(1_000);
    // Few messages of a second are not known after a restart: with what follows they still fit a page.
    sent.extend(says(&mut alice.member, &group, 344..359));
    alice.restarts();
    sent.extend(says(&mut alice.member, &group, 359..600));
    in_order(&sent);
    let ahead = sent[599].created_at() - sent[0].created_at();
    assert!(ahead <= 21, "{ahead} seconds for 600 messages");
    reads(&mut bob, &group, sent);
}

#[test]
fn a_burst_in_groups_that_are_loaded_anew_each_time() {
    let mut config = kit::at_once();
    config.cached_groups = 1;
    let mut alice = Member::with("alice", config);
    let mut bob = Member::new("bob");
    let groups = [alice.founds("one", &mut [&mut bob]), alice.founds("two", &mut [&mut bob])];
    let mut sent = [Vec::new(), Vec::new()];
    for n in 0..70 {
        for (group, sent) in groups.iter().zip(&mut sent) {
            sent.extend(says(&mut alice, group, n..n + 1));
        }
    }
    for (group, sent) in groups.iter().zip(sent) {
        in_order(&sent);
        reads(&mut bob, group, sent);
    }
}

/// Whatever fails drops the group, which is then loaded anew.
#[test]
fn a_burst_goes_on_after_an_error() {
    let (mut alice, mut bob, group) = pair();
    let mut sent = says(&mut alice, &group, 0..100);
    let pending = alice.engine.update_group(&group, named("other")).unwrap();
    let refused = alice.engine.create_message(&group, NewMessage::default());
    assert!(matches!(refused, Err(Error::CommitPending)));
    alice.engine.discard(pending.id).unwrap();
    sent.extend(says(&mut alice, &group, 100..300));
    in_order(&sent);
    reads(&mut bob, &group, sent);
}

#[test]
fn a_clock_that_goes_back_takes_nothing_back_within_the_bound() {
    let folder = folder();
    let (mut alice, mut bob) = (Filed::new(folder.path(), "alice", 1), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    let begin = kit::now();
    let mut sent = says(&mut alice.member, &group, 0..200);
    // A little: what is sent now still comes later.
    alice.clock.set(begin - 120);
    sent.extend(says(&mut alice.member, &group, 200..300));
    alice.restarts();
    sent.extend(says(&mut alice.member, &group, 300..400));
    in_order(&sent);
    assert!(sent[399].created_at() <= begin - 120 + 300);
    // By more than the bound, while it runs and while it does not: relays would refuse what goes on from there.
    for (times, back) in [(1, 3_600), (2, 7_200)] {
        alice.clock.set(begin - back);
        if times == 2 {
            alice.restarts();
        }
        let later = says(&mut alice.member, &group, times * 400..times * 400 + 40);
        in_order(&later);
        assert_eq!(later[0].created_at(), begin - back);
    }
    reads(&mut bob, &group, sent);
}

/// Nothing is dated farther ahead than relays take, whatever is sent, and however often it is begun anew.
#[test]
fn no_burst_and_no_restart_goes_beyond_the_bound() {
    let folder = folder();
    let mut alice = Filed::new(folder.path(), "alice", 1);
    let group = alice.founds("g", &mut []);
    let now = alice.clock.now();
    // A clock that was ahead does what 299 full seconds would.
    alice.clock.set(now + 299);
    let first = says(&mut alice.member, &group, 0..20);
    assert_eq!(first[19].created_at(), now + 299);
    alice.clock.set(now);
    let mut sent = says(&mut alice.member, &group, 20..120);
    assert_eq!(sent[0].created_at(), now + 299);
    alice.restarts();
    sent.extend(says(&mut alice.member, &group, 120..200));
    assert!(sent.is_sorted_by_key(Event::created_at));
    assert_eq!(sent[179].created_at(), now + 300);
    alice.waits(1_000);
    assert_eq!(says(&mut alice.member, &group, 200..201)[0].created_at(), now + 301);
}

/// Of who says little nothing is noted.
#[test]
fn messages_that_are_few_are_dated_now() {
    let folder = folder();
    let mut alice = Filed::new(folder.path(), "alice", 1);
    let group = alice.founds("g", &mut []);
    let now = alice.clock.now();
    for second in 0..6 {
        let sent = says(&mut alice.member, &group, 0..15);
        assert!(sent.iter().all(|event| event.created_at() == now + second));
        alice.restarts();
        assert_eq!(says(&mut alice.member, &group, 15..16)[0].created_at(), now + second);
        alice.clock.advance_millis(1_000);
    }
}
