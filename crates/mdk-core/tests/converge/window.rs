//! How far a pass reaches and what it keeps meanwhile: what came while a commit of ours was on its way, and commits that
//! come in a line within the quiet time.

use mdk_core::{DeferredReason, EventBody, Verdict, testing};
use mdk_wire::{Event, GroupId};

use crate::kit::acts::rename;
use crate::kit::fork::{Filed, found};
use crate::kit::{event, folder, received};

/// Alice and bob, both settled.
fn two(folder: &std::path::Path) -> (Filed, Filed, GroupId) {
    let mut all = [("alice", 1), ("bob", 2)].map(|(n, k)| Filed::new(folder, n, k));
    let group = found(&mut all, &[1]);
    let [alice, bob] = all;
    (alice, bob, group)
}

/// A commit of ours, confirmed.
fn commits(member: &mut Filed, group: &GroupId) -> Event {
    let pending = rename(member, group, "on");
    member.member.confirms(&pending);
    event(&pending).clone()
}

fn said(member: &mut Filed, group: &GroupId) -> Vec<String> {
    member.member.texts(group)
}

// shows: F1-3, C2-4
/// A message that comes in the last epoch of the window while a commit of ours is on its way is in time, whatever the
/// confirmation does to the window.
#[test]
fn a_message_that_came_during_publication_is_not_lost_by_the_confirmation() {
    for restart in [false, true] {
        let place = folder();
        let (mut alice, mut bob, group) = two(place.path());
        let late = bob.member.says(&group, "in time");
        for _ in 0..5 {
            commits(&mut alice, &group);
        }
        let sixth = rename(&mut alice, &group, "six");
        let waits = Verdict::Deferred(DeferredReason::PublishInProgress);
        assert_eq!(alice.takes(&late).verdict, waits);
        if restart {
            alice.restarts();
        }
        alice.member.confirms(&sixth);
        assert_eq!(said(&mut alice, &group), ["in time"]);
        assert_eq!(received(&alice.member.engine.tick().unwrap()), ["in time"]);
        assert_eq!(alice.takes(&late).verdict, Verdict::Duplicate);
        // Nothing competes, so the next commit does not wait, and the window has moved on.
        commits(&mut alice, &group);
        let watch = testing::watch(&mut alice.member.engine, &group).unwrap();
        assert!(!watch.pass_open && watch.raw == 0);
        assert_eq!(watch.states.len(), 6);
    }
}

/// What nobody can open does not hold our own commits back either, and stays held.
#[test]
fn noise_that_came_during_publication_opens_no_lasting_pass() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let first = rename(&mut alice, &group, "first");
    // Of an epoch that alice does not reach: bob is ahead by commits that she never gets.
    commits(&mut bob, &group);
    commits(&mut bob, &group);
    let unopened = bob.member.says(&group, "elsewhere");
    alice.takes(&unopened);
    alice.member.confirms(&first);
    commits(&mut alice, &group);
    assert_eq!(testing::watch(&mut alice.member.engine, &group).unwrap().raw, 1);
}

/// A rival that came meanwhile is a rival: the pass goes on, and is counted from before the confirmation.
#[test]
fn a_rival_that_came_during_publication_is_compared() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let (mine, theirs) = (rename(&mut alice, &group, "a"), rename(&mut bob, &group, "b"));
    let waits = Verdict::Deferred(DeferredReason::PublishInProgress);
    assert_eq!(alice.takes(event(&theirs)).verdict, waits);
    assert_eq!(bob.takes(event(&mine)).verdict, waits);
    alice.member.confirms(&mine);
    bob.member.confirms(&theirs);
    assert!(alice.member.engine.self_update(&group).is_err(), "a choice is open");
    alice.waits(1_000);
    bob.waits(1_000);
    assert_eq!(alice.ends(&group), bob.ends(&group));
}

// shows: E5-7, E5-8
/// A line of commits applies as it comes, without a wait, and what was said before is still heard.
#[test]
fn a_line_of_commits_applies_at_once() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let (mut line, mut texts) = (Vec::new(), Vec::new());
    for n in 0..24 {
        texts.push(alice.member.says(&group, &format!("{n:02}")));
        line.push(commits(&mut alice, &group));
    }
    let before = bob.member.info(&group).epoch;
    for (n, commit) in line.iter().enumerate() {
        assert_eq!(bob.takes(commit).verdict, Verdict::Applied, "{n}");
        assert_eq!(bob.member.info(&group).epoch, before + n as u64 + 1);
    }
    // All of it within one pass: nothing has been let go yet.
    for text in texts.iter().rev() {
        bob.member.applies(text);
    }
    let own = bob.waits(1_000);
    assert!(!own.events.iter().any(|e| matches!(e.body, EventBody::HistoryGap { .. })));
    assert_eq!(bob.ends(&group), alice.ends(&group));
    let watch = testing::watch(&mut bob.member.engine, &group).unwrap();
    assert_eq!((watch.pass_open, watch.states.len()), (false, 6));
}

// shows: E5-7, E5-8
/// However long the line is, it is followed as it comes, and a bounded number of states is kept meanwhile: what was said
/// in the last of them can still be heard.
#[test]
fn a_long_line_is_followed_in_bounds() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let (mut line, mut texts) = (Vec::new(), Vec::new());
    for n in 0..300 {
        texts.push(alice.member.says(&group, &format!("{n:03}")));
        line.push(commits(&mut alice, &group));
    }
    for (n, commit) in line.iter().enumerate() {
        assert_eq!(bob.takes(commit).verdict, Verdict::Applied, "{n}");
        let watch = testing::watch(&mut bob.member.engine, &group).unwrap();
        assert!(watch.pass_open && watch.states.len() <= 257, "{}", watch.states.len());
    }
    for text in &texts[44..] {
        bob.member.applies(text);
    }
    let stale = bob.takes(&texts[43]).verdict;
    assert_eq!(stale, Verdict::Deferred(DeferredReason::Undecryptable), "its key is gone");
    bob.waits(1_000);
    let watch = testing::watch(&mut bob.member.engine, &group).unwrap();
    assert_eq!((watch.pass_open, watch.states.len()), (false, 6));
    assert_eq!(bob.ends(&group).authenticator, alice.ends(&group).authenticator);
}

// shows: E5-7, E5-8, F1-3
/// A line in one batch, of any length and in any order, is applied by that call with all that was said on it; our own
/// commits wait for the quiet time all the same.
#[test]
fn a_line_in_one_batch_needs_no_tick() {
    for (length, order) in [(12, "as sent"), (12, "reversed"), (90, "as sent"), (90, "reversed")] {
        let place = folder();
        let (mut alice, mut bob, group) = two(place.path());
        let mut events = Vec::new();
        for n in 0..length {
            events.push(alice.member.says(&group, &format!("{n:02} before")).to_json());
            events.push(commits(&mut alice, &group).to_json());
        }
        if order == "reversed" {
            events.reverse();
        }
        let batch: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
        bob.member.engine.process_many(&batch).unwrap();
        assert_eq!(bob.ends(&group), alice.ends(&group), "{length} {order}");
        let heard = said(&mut bob, &group);
        assert!(heard.len() == length && heard.is_sorted(), "each once, by epochs: {heard:?}");
        let watch = testing::watch(&mut bob.member.engine, &group).unwrap();
        assert!(watch.states.len() <= length + 2 && watch.raw == 0 && watch.inputs == 0);
        assert!(bob.member.engine.self_update(&group).is_err(), "a rival may still come");
        bob.waits(1_000);
        let own = bob.member.engine.self_update(&group).unwrap();
        bob.member.engine.discard(own.id).unwrap();
    }
}

/// A fork in a batch is chosen as anywhere else: its line stops where the pass does, both branches are compared when it
/// is over, and the rest follows.
#[test]
fn a_batch_with_a_fork_waits_for_the_choice() {
    for reversed in [false, true] {
        let place = folder();
        let (mut alice, mut bob, group) = two(place.path());
        let mut carol = Filed::new(place.path(), "carol", 3);
        let added =
            alice.member.engine.add_members(&group, &[carol.member.key_package()], false).unwrap();
        alice.member.confirms(&added);
        carol.member.joins(&added.welcomes);
        bob.member.applies(event(&added));
        for member in [&mut alice, &mut bob, &mut carol] {
            member.waits(1_000);
        }
        let mut events: Vec<Event> = (0..20).map(|_| commits(&mut alice, &group)).collect();
        for commit in &events {
            bob.takes(commit);
        }
        bob.waits(1_000);
        let fork = bob.member.info(&group).epoch;
        // Bob's branch is longer, so alice's commit and what she says on it are withdrawn.
        let lost = commits(&mut alice, &group);
        let only_there = alice.member.says(&group, "only there");
        let longer = [commits(&mut bob, &group), commits(&mut bob, &group)];
        events.extend([lost, only_there]);
        events.extend(longer.clone());
        for commit in &longer {
            alice.takes(commit);
        }
        alice.waits(1_000);
        for _ in 0..20 {
            events.push(commits(&mut alice, &group));
        }
        if reversed {
            events.reverse();
        }
        let json: Vec<String> = events.iter().map(Event::to_json).collect();
        let batch: Vec<&[u8]> = json.iter().map(String::as_bytes).collect();
        carol.member.engine.process_many(&batch).unwrap();
        let came = carol.member.info(&group).epoch;
        assert!((fork + 1..=fork + 5).contains(&came), "{came}, the fork at {fork}");
        for _ in 0..8 {
            carol.waits(1_000);
        }
        assert_eq!(carol.ends(&group), alice.ends(&group), "reversed: {reversed}");
    }
}

/// With a rival in sight the pass reaches five epochs and no further, as for a member that waits for its end.
#[test]
fn a_line_with_a_rival_waits() {
    let place = folder();
    let (mut alice, mut bob, group) = two(place.path());
    let mut carol = Filed::new(place.path(), "carol", 3);
    let added = alice.member.engine.add_members(&group, &[carol.member.key_package()], false);
    let added = added.unwrap();
    alice.member.confirms(&added);
    carol.member.joins(&added.welcomes);
    bob.member.applies(event(&added));
    for member in [&mut alice, &mut bob, &mut carol] {
        member.waits(1_000);
    }
    let rival = commits(&mut bob, &group);
    let line: Vec<Event> = (0..8).map(|_| commits(&mut alice, &group)).collect();
    carol.member.applies(&line[0]);
    carol.takes(&rival);
    for commit in &line[1..5] {
        carol.member.applies(commit);
    }
    let waits = Verdict::Deferred(DeferredReason::FutureEpoch);
    assert_eq!(carol.takes(&line[5]).verdict, waits);
    for commit in &line[6..] {
        carol.takes(commit);
    }
    carol.waits(1_000);
    carol.waits(1_000);
    assert_eq!(carol.ends(&group), alice.ends(&group));
}

// shows: E4-5, F1-3
/// The oldest state of the window is there until the pass is over: for what was said in it, and for a rival made on it.
#[test]
fn the_oldest_state_lasts_as_long_as_the_pass() {
    let place = folder();
    let (mut alice, mut bob, _) = two(place.path());
    let mut carol = Filed::new(place.path(), "carol", 3);
    let mut dave = Filed::new(place.path(), "dave", 4);
    let group =
        alice.member.founds("another", &mut [&mut bob.member, &mut carol.member, &mut dave.member]);
    let promoted = alice.member.engine.promote(&group, &[bob.member.key()]).unwrap();
    alice.member.confirms(&promoted);
    for member in [&mut bob, &mut carol, &mut dave] {
        member.member.applies(event(&promoted));
        member.waits(1_000);
    }
    let text = dave.member.says(&group, "in the first epoch");
    let rival = commits(&mut bob, &group);
    for n in 0..6 {
        let commit = commits(&mut alice, &group);
        carol.member.applies(&commit);
        if n < 5 {
            carol.waits(1_000);
        }
    }
    assert_eq!(received(&carol.member.applies(&text)), ["in the first epoch"]);
    let waits = Verdict::Deferred(DeferredReason::Rival);
    assert_eq!(carol.takes(&rival).verdict, waits, "eligible, as for who waited before applying");
    carol.waits(1_000);
    let watch = testing::watch(&mut carol.member.engine, &group).unwrap();
    assert!(watch.states.iter().filter(|s| s.followed).count() == 6);
}
