//! More rivals than are kept as whole states: whatever came first, all members come to one state, and what is kept stays
//! within bounds.

use std::collections::BTreeSet;
use std::path::Path;

use mdk_core::RelayVerdict;
use mdk_core::testing::{self, Watch};
use mdk_wire::{ContentId, Event, GroupId, GroupMessage, OsRandom, Secret, group_message};

use crate::kit::dice::Dice;
use crate::kit::fork::{End, Filed};
use crate::kit::{self, Member, folder, fork, named, unhurried};
use crate::sampling;

/// Whole states: six of the followed branch, and the paths of eight rival tips, which are of one epoch here.
const WHOLE: usize = 6 + 8;

/// Rivals of one account on one state.
const SHARE: usize = 8;

fn member(name: &'static str) -> Member {
    Member::with(name, unhurried())
}

/// A settled group of as many members, the first of whom is the admin.
fn crowd(members: usize) -> (Vec<Member>, GroupId) {
    let mut all: Vec<Member> = (0..members).map(|_| member("one of many")).collect();
    let (first, others) = all.split_at_mut(1);
    let mut others: Vec<&mut Member> = others.iter_mut().collect();
    let group = first[0].founds("crowd", &mut others);
    settle(&mut all);
    (all, group)
}

/// As [`crowd`], with one more whose database lies in a file.
fn crowd_and_a_reader(members: usize, place: &Path) -> (Vec<Member>, Filed, GroupId) {
    let (mut all, group) = crowd(members);
    let mut reader = Filed::new(place, "reader", 1);
    let (first, others) = all.split_at_mut(1);
    let mut others: Vec<&mut Member> = others.iter_mut().collect();
    let added = first[0].adds(&group, reader.key_package(), &mut others);
    reader.member.joins(&added.welcomes);
    settle(&mut all);
    (all, reader, group)
}

/// The pass of each of them is over.
fn settle(members: &mut [Member]) {
    members.iter_mut().for_each(|member| drop(member.waits(1_000)));
}

/// A commit of a leaf that takes effect where it was made.
fn renews(member: &mut Member, group: &GroupId) -> Event {
    member.updates(group, &mut []).event.unwrap()
}

/// As [`renews`], but it does not take effect there.
fn would_renew(member: &mut Member, group: &GroupId) -> Event {
    let pending = member.engine.self_update(group).unwrap();
    member.engine.discard(pending.id).unwrap();
    pending.event.unwrap()
}

fn takes(member: &mut Member, events: &[Event], together: bool) {
    if together {
        member.takes_all(events);
    } else {
        events.iter().for_each(|event| drop(member.takes(event)));
    }
}

fn end(member: &mut Member, group: &GroupId) -> End {
    fork::end(&mut member.engine, group)
}

fn one_end(members: &mut [Member], group: &GroupId) -> End {
    let ends: Vec<End> = members.iter_mut().map(|m| end(m, group)).collect();
    let names: BTreeSet<&str> = ends.iter().map(|end| end.authenticator.as_str()).collect();
    assert_eq!(names.len(), 1, "{ends:#?}");
    assert!(ends.windows(2).all(|two| two[0].said == two[1].said), "{ends:#?}");
    ends[0].clone()
}

fn kept(member: &mut Member, group: &GroupId) -> Watch {
    testing::watch(&mut member.engine, group).unwrap()
}

/// Commits of ten members in one epoch, the one that comes last by the order of branches, and a word that makes it win.
fn ten_and_a_word(all: &mut [Member], group: &GroupId) -> (Vec<Event>, Event, Event) {
    let speaker = (0..10).max_by_key(|who| all[*who].key()).unwrap();
    let mut commits: Vec<Event> = all[..10].iter_mut().map(|m| renews(m, group)).collect();
    let word = all[speaker].says(group, "hello");
    let spoken_on = commits.remove(speaker);
    (commits, spoken_on, word)
}

// shows: E3-7
/// The word comes before every other commit, after them, and in one batch with them.
#[test]
fn a_word_counts_whenever_it_comes() {
    let (mut all, group) = crowd(13);
    let (others, spoken_on, word) = ten_and_a_word(&mut all, &group);
    let mut readers = all.split_off(10);
    takes(&mut readers[0], &[spoken_on.clone(), word.clone()], false);
    takes(&mut readers[0], &others, false);
    takes(&mut readers[1], &others, false);
    takes(&mut readers[1], &[spoken_on.clone(), word.clone()], false);
    let mut backwards: Vec<Event> = others.iter().cloned().rev().collect();
    backwards.extend([word.clone(), spoken_on.clone()]);
    takes(&mut readers[2], &backwards, true);
    settle(&mut readers);
    let settled = one_end(&mut readers, &group);
    assert_eq!(settled.said, [("hello".to_owned(), false)]);
    for reader in &mut readers {
        let watch = kept(reader, &group);
        assert!(watch.states.len() <= WHOLE, "{}", watch.states.len());
        assert_eq!(watch.states.len() + watch.asleep.len(), 1 + 10);
        // All of it once more changes nothing.
        takes(reader, &others, false);
        takes(reader, &[word.clone(), spoken_on.clone()], false);
        reader.waits(1_000);
    }
    assert_eq!(one_end(&mut readers, &group), settled);
    // The group goes on, also for those who renewed their leaves in vain.
    for member in &mut all {
        takes(member, &others, false);
        takes(member, &[spoken_on.clone(), word.clone()], false);
        member.waits(1_000);
    }
    all.append(&mut readers);
    assert_eq!(one_end(&mut all, &group).said, settled.said);
}

// shows: E3-7
/// What sleeps is made again by a process that has just begun, whatever comes next; also what a child is made of.
#[test]
fn what_sleeps_outlives_a_restart() {
    let place = folder();
    let (mut all, mut reader, group) = crowd_and_a_reader(12, place.path());
    let (others, spoken_on, word) = ten_and_a_word(&mut all, &group);
    for event in others.iter().chain([&spoken_on]) {
        reader.takes(event);
        reader.restarts();
    }
    assert_eq!(kept(&mut reader.member, &group).asleep.len(), 10 - 1 - 8);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut hears = reader.copied(elsewhere.path());
    hears.takes(&word);
    hears.restarts();
    hears.waits(1_000);
    hears.restarts();
    takes(&mut all[11], &[spoken_on, word], false);
    all[11].waits(1_000);
    assert_eq!(hears.ends(&group), end(&mut all[11], &group));
    // A commit on a state that sleeps makes that branch the longest.
    let child = renews(&mut all[11], &group);
    reader.takes(&child);
    reader.restarts();
    reader.waits(1_000);
    let (ours, theirs) = (reader.ends(&group), end(&mut all[11], &group));
    assert_eq!((ours.epoch, ours.authenticator), (theirs.epoch, theirs.authenticator));
}

/// Who has spoken on a branch that is one of too many speaks there once more when it wins after all.
fn uses_no_key_twice(answer_comes_late: bool) {
    let (mut all, group) = crowd(12);
    // (while the loser of another race is known, every commit is kept that could make its state again)
    let race = [would_renew(&mut all[0], &group), would_renew(&mut all[1], &group)];
    for member in &mut all {
        takes(member, &race, false);
        member.waits(1_000);
        assert!(kept(member, &group).contested);
    }
    let last = (0..10).max_by_key(|who| all[*who].key()).unwrap();
    let commits: Vec<Event> = all[..10].iter_mut().map(|m| renews(m, &group)).collect();
    takes(&mut all[10], std::slice::from_ref(&commits[last]), false);
    all[10].waits(1_000);
    let mut log = commits;
    if answer_comes_late {
        all[10].engine.enable_outbox();
    }
    log.push(all[10].says(&group, "one"));
    all[last].applies(&log[10]);
    // On every other branch somebody has spoken, too, and their commits come first by the order of branches.
    for who in (0..10).filter(|who| *who != last) {
        log.push(all[who].says(&group, &format!("said by {who}")));
    }
    for reader in [10, 11] {
        takes(&mut all[reader], &log, false);
        all[reader].waits(1_000);
        assert!(!kept(&mut all[reader], &group).asleep.is_empty());
    }
    let lost = |member: &mut Member| {
        let end = end(member, &group);
        end.said.into_iter().find(|(text, _)| text == "one").unwrap().1
    };
    assert!(lost(&mut all[10]) && lost(&mut all[11]));
    let second = all[last].says(&group, "two");
    for reader in [10, 11] {
        takes(&mut all[reader], std::slice::from_ref(&second), false);
        all[reader].waits(1_000);
    }
    if answer_comes_late {
        let item = all[10].engine.outbox(1).unwrap().remove(0);
        all[10].engine.outbox_result(item.seq, &item.relays[0], RelayVerdict::Accepted).unwrap();
        all[10].waits(1_000);
    }
    assert!(!lost(&mut all[10]) && !lost(&mut all[11]));
    let again = all[10].says(&group, "three");
    // (who never left that branch has no key for a second use)
    all[last].applies(&again);
    all[11].applies(&again);
    assert_eq!(end(&mut all[10], &group), end(&mut all[11], &group));
}

// shows: E3-8, E4-7
/// Also when it does not count yet, because no relay is known to have it.
#[test]
fn who_has_spoken_uses_no_key_twice() {
    [false, true].into_iter().for_each(uses_no_key_twice);
}

/// Everybody commits in one epoch, some say something there, and everybody gets everything in an order of its own.
fn a_crowd_agrees(seed: u64, speakers: usize, together: bool) {
    let (mut all, group) = crowd(14);
    let mut dice = Dice(seed);
    let mut log: Vec<Event> = all.iter_mut().map(|m| renews(m, &group)).collect();
    let mut who: Vec<usize> = (0..all.len()).collect();
    dice.shuffles(&mut who);
    for speaker in &who[..speakers] {
        log.push(all[*speaker].says(&group, &format!("said by {speaker}")));
    }
    for member in &mut all {
        dice.shuffles(&mut log);
        takes(member, &log, together);
        member.waits(1_000);
        member.waits(1_000);
    }
    println!("seed {seed}, {speakers} speak, together: {together}");
    let end = one_end(&mut all, &group);
    // Of what was said on one branch each, one word stands.
    assert_eq!(end.said.len(), speakers);
    assert_eq!(end.said.iter().filter(|(_, lost)| !lost).count(), 1);
}

// shows: E3-7
#[test]
fn a_crowd_agrees_in_any_order() {
    for seed in sampling::seeds("crowds") {
        a_crowd_agrees(seed, 1, true);
        a_crowd_agrees(seed, 2, false);
    }
}

/// Commits of one admin on one state, each made by a copy of it, and a word of that copy on each.
fn admin_of_many_minds(admin: &mut Filed, group: &GroupId, minds: usize) -> Vec<(Event, Event)> {
    let mut made: Vec<(ContentId, Event, Event)> = (0..minds)
        .map(|n| {
            let place = folder();
            let mut copy = admin.copied(place.path());
            let rival = named(format!("rival {n}"));
            let event = copy.member.changes(group, rival, &mut []).event.unwrap();
            let word = copy.member.says(group, &format!("word {n}"));
            let id = testing::content_of(&mut copy.member.engine, group, &event).unwrap().unwrap();
            (id, event, word)
        })
        .collect();
    // In the order in which they count.
    made.sort_by_key(|(id, ..)| *id);
    made.into_iter().map(|(_, event, word)| (event, word)).collect()
}

fn with_a_flooding_admin(place: &Path) -> (Filed, Vec<Member>, GroupId) {
    let mut admin = Filed::new(place, "admin", 1);
    let mut honest: Vec<Member> = ["ann", "bob", "cem", "dot"].map(member).into();
    let group = admin.member.founds("before", &mut honest.iter_mut().collect::<Vec<_>>());
    admin.waits(1_000);
    settle(&mut honest);
    (admin, honest, group)
}

// rule: E3-5
/// One admin makes fourteen commits of one state and speaks on one of them: the last one within its share, the first one
/// that is not, and the last of all. Whoever hears that first stands where others cannot go.
#[test]
fn an_admin_of_many_minds_splits_nobody() {
    for spoken in [SHARE - 1, SHARE, 13] {
        let place = folder();
        let (mut admin, mut honest, group) = with_a_flooding_admin(place.path());
        let rivals = admin_of_many_minds(&mut admin, &group, 14);
        let (event, word) = &rivals[spoken];
        let mut log: Vec<Event> = rivals.iter().map(|(event, _)| event.clone()).collect();
        Dice(spoken as u64 + 1).shuffles(&mut log);
        // The word first, last, in a batch; and one settles on that branch and builds on it before the others come.
        takes(&mut honest[0], &[event.clone(), word.clone()], false);
        takes(&mut honest[0], &log, false);
        takes(&mut honest[1], &log, false);
        takes(&mut honest[1], std::slice::from_ref(word), false);
        takes(&mut honest[2], &[&log[..], std::slice::from_ref(word)].concat(), true);
        takes(&mut honest[3], &[event.clone(), word.clone()], false);
        honest[3].waits(1_000);
        let child = renews(&mut honest[3], &group);
        takes(&mut honest[3], &log, false);
        let ends = |honest: &mut [Member]| {
            settle(honest);
            let ends: Vec<End> = honest.iter_mut().map(|m| end(m, &group)).collect();
            let name = |end: &End| (end.authenticator.clone(), end.name.clone());
            assert!(
                ends.windows(2).all(|two| name(&two[0]) == name(&two[1])),
                "{spoken} {ends:#?}"
            );
            ends[0].epoch
        };
        let before = ends(&mut honest[..3]);
        for member in &mut honest[..3] {
            takes(member, std::slice::from_ref(&child), false);
        }
        let after = ends(&mut honest);
        assert_eq!(after, before + u64::from(spoken < SHARE), "{spoken}");
        for member in &mut honest {
            let watch = kept(member, &group);
            let beside = watch.states.iter().filter(|state| !state.followed).count();
            assert!(beside + watch.asleep.len() <= SHARE, "{beside}, {}", watch.asleep.len());
        }
    }
}

/// The same message under the key of another state.
fn sealed_otherwise(event: &Event, with: &Secret<32>, now: &Secret<32>) -> Event {
    let sealed = GroupMessage::parse(event.clone()).unwrap();
    let bytes = sealed.open(with).unwrap();
    group_message::seal(&bytes, now, &sealed.group, kit::now(), None, &mut OsRandom).unwrap()
}

// rule: E3-1
/// Under the key of the state before the race, so that everybody can open it: who follows its branch and who does not.
#[test]
fn a_commit_that_is_sealed_with_another_key_is_taken_up_by_nobody() {
    let (mut all, group) = crowd(5);
    let key = |member: &mut Member| testing::state(&mut member.engine, &group).unwrap().event_key;
    let before = key(&mut all[0]);
    let commits: Vec<Event> = all[..3].iter_mut().map(|m| renews(m, &group)).collect();
    all[2].waits(1_000);
    let own = key(&mut all[2]);
    let child = renews(&mut all[2], &group);
    let odd = [sealed_otherwise(&child, &own, &before)];
    takes(&mut all[3], &[&commits[2..], &odd[..], &commits[..2]].concat(), false);
    takes(&mut all[4], &[&commits[..], &odd[..]].concat(), true);
    let epoch = all[0].info(&group).epoch;
    settle(&mut all[3..]);
    assert_eq!(one_end(&mut all[3..], &group).epoch, epoch);
    // Nor does it stand in the way of what its maker sealed.
    for member in &mut all[3..] {
        takes(member, std::slice::from_ref(&child), false);
        member.waits(1_000);
    }
    assert_eq!(one_end(&mut all[3..], &group).epoch, epoch + 1);
}

// rule: E3-6
/// Three hundred valid commits of many members on one state, and many of one: rows, whole states, bytes.
#[test]
fn a_crowd_is_bounded() {
    const ALONE: usize = 40;
    let place = folder();
    let (mut all, mut reader, group) = crowd_and_a_reader(36, place.path());
    let mut flood: Vec<Event> = (0..ALONE).map(|_| would_renew(&mut all[1], &group)).collect();
    flood.iter().for_each(|event| drop(reader.takes(event)));
    let watch = kept(&mut reader.member, &group);
    let beside = |watch: &Watch| watch.states.iter().filter(|s| !s.followed).count();
    assert_eq!(beside(&watch) + watch.asleep.len() + 1, SHARE + usize::from(beside(&watch) == 8));
    for member in &mut all[2..] {
        flood.extend((0..9).map(|_| would_renew(member, &group)));
    }
    let bytes: usize = flood.iter().map(|event| event.content().len()).sum();
    let mut backwards: Vec<Event> = flood[ALONE..].to_vec();
    backwards.reverse();
    takes(&mut reader.member, &flood[ALONE..], true);
    takes(&mut all[0], &backwards, true);
    for member in [&mut reader.member, &mut all[0]] {
        let watch = kept(member, &group);
        assert!(watch.states.len() <= WHOLE, "{}", watch.states.len());
        assert!(beside(&watch) + watch.asleep.len() <= 256, "{}", watch.asleep.len());
        assert!(watch.asleep.len() > 200, "{}", watch.asleep.len());
        assert_eq!(watch.inputs, 0);
    }
    reader.waits(1_000);
    let size = |name: &str| std::fs::metadata(place.path().join(name)).map_or(0, |f| f.len());
    let disk = size("reader.db") + size("reader.db-wal");
    assert!(disk < 8 << 20, "{disk} bytes for {bytes}");
    // The group goes on, and all of it is forgotten.
    for _ in 0..7 {
        let commit = renews(&mut reader.member, &group);
        takes(&mut all[0], std::slice::from_ref(&commit), false);
        all[0].waits(1_000);
        reader.waits(1_000);
    }
    let watch = kept(&mut reader.member, &group);
    assert_eq!((watch.states.len(), watch.asleep.len(), watch.inputs), (6, 0, 0));
}
