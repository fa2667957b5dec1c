//! The edges of choosing: gates, restarts, removals and endings that lose a race, what is given up, what time ends.

use std::path::Path;
use std::sync::Arc;

use mdk_core::{
    Config, DeferredReason, Engine, Error, EventBody, GroupState, GroupUpdate, Pending, Verdict,
    testing,
};
use mdk_store::{DatabaseKey, InputState, OpenOptions, Store, StoreError};
use mdk_wire::{Event, GroupId, Keys, Secret};

use crate::kit::acts::rename;
use crate::kit::fork::{Filed, found, numbered};
use crate::kit::{RIVAL, event, folder};

/// Admins of one group, settled, by ascending key.
fn admins(folder: &Path, names: &[&'static str]) -> (Vec<Filed>, GroupId) {
    let mut all = numbered(folder, names);
    let group = found(&mut all, &Vec::from_iter(1..names.len()));
    all.sort_by_key(|m| m.member.engine.public_key());
    (all, group)
}

fn same(members: &mut [Filed], group: &GroupId) {
    let ends: Vec<_> = members.iter_mut().map(|m| m.ends(group)).collect();
    assert!(ends.windows(2).all(|two| two[0] == two[1]), "{ends:#?}");
}

// shows: E5-1, E5-2, E5-3, E5-8
/// A commit on the tip is read at once; our own waits for quiet, and five seconds at most.
#[test]
fn our_commits_wait_for_quiet() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b"]);
    let [a, b] = all.as_mut_slice() else { panic!() };
    let commits: Vec<Event> = (0..7)
        .map(|n| {
            let pending = rename(a, &group, &format!("{n}"));
            a.member.engine.discard(pending.id).unwrap();
            event(&pending).clone()
        })
        .collect();
    for (n, commit) in commits.iter().enumerate() {
        let verdict = b.takes(commit).verdict;
        // The first one is on the tip: applied at once.
        assert_eq!(verdict, if n == 0 { Verdict::Applied } else { RIVAL });
        let Err(Error::Settling { millis }) = b.member.engine.self_update(&group) else {
            panic!("{n}")
        };
        assert_eq!(millis, 1_000.min(5_000 - 800 * n as u64), "{n}");
        if n == 3 {
            b.restarts();
            assert!(matches!(b.member.engine.self_update(&group), Err(Error::Settling { .. })));
        }
        b.member.clock.advance_millis(if n < 6 { 800 } else { 200 });
    }
    // No tick is needed.
    let own = b.member.engine.self_update(&group).unwrap();
    b.member.confirms(&own);
    // Our own commit does not gate the next one.
    let next = b.member.engine.self_update(&group).unwrap();
    b.member.confirms(&next);
    for event in commits.iter().chain([event(&own), event(&next)]) {
        a.takes(event);
    }
    a.waits(1_000);
    same(&mut all, &group);
}

// shows: D6-3, D6-4, D6-5
/// Whoever is removed on a branch that loses stays, and whoever stays on a branch that loses is removed.
#[test]
fn a_removal_races_a_rename() {
    // By keys: a's commit wins over b's.
    for removal_wins in [true, false] {
        for removal_first in [true, false] {
            let place = folder();
            let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
            let key = all[2].member.key();
            let (remover, renamer) = if removal_wins { (0, 1) } else { (1, 0) };
            let removal = all[remover].member.engine.remove_members(&group, &[key]).unwrap();
            let renaming = rename(&mut all[renamer], &group, "renamed");
            all[remover].member.confirms(&removal);
            all[renamer].member.confirms(&renaming);
            let (first, second) =
                if removal_first { (&removal, &renaming) } else { (&renaming, &removal) };
            all[2].member.applies(event(first));
            all[2].restarts();
            assert_eq!(all[2].takes(event(second)).verdict, RIVAL);
            all[2].restarts();
            let told = all[2].waits(1_000).events;
            all[remover].takes(event(&renaming));
            all[renamer].takes(event(&removal));
            for member in &mut all[..2] {
                member.waits(1_000);
            }
            let state = all[2].member.info(&group).state;
            if removal_wins {
                assert_eq!(state, GroupState::Removed);
                let removed = told.iter().any(|e| matches!(e.body, EventBody::Removed { .. }));
                assert_eq!(removed, !removal_first);
                same(&mut all[..2], &group);
                // A day later nothing of the group's secrets is left.
                all[2].waits(86_400_000);
                let path = all[2].path.clone();
                drop(all);
                rows(&path, |tx| {
                    assert!(tx.nodes(&group)?.is_empty() && tx.inputs(&group)?.is_empty());
                    assert!(tx.mls_dump(&group)?.expose().len() < 2);
                    Ok(())
                });
            } else {
                assert_eq!(state, GroupState::Active);
                same(&mut all, &group);
                let said = all[2].member.says(&group, "still here");
                all[0].member.applies(&said);
                all[1].member.applies(&said);
            }
        }
    }
}

// shows: C5-1, C5-2, C5-3
/// The end of a group is one branch among others, and final when it has won.
#[test]
fn a_disband_races_a_rename() {
    for disband_wins in [true, false] {
        let place = folder();
        let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
        let (ender, renamer) = if disband_wins { (0, 1) } else { (1, 0) };
        let end = all[ender].member.engine.disband(&group).unwrap();
        let renaming = rename(&mut all[renamer], &group, "goes on");
        all[ender].member.confirms(&end);
        all[renamer].member.confirms(&renaming);
        all[2].member.applies(event(&end));
        all[2].takes(event(&renaming));
        all[ender].takes(event(&renaming));
        all[renamer].takes(event(&end));
        let mut again = Vec::new();
        for member in &mut all {
            member.restarts();
            let outcome = member.waits(1_000);
            again.extend(outcome.reply.into_iter().filter(|e| e.kind() == 445));
            let told = outcome.events;
            let ended = told.iter().any(|e| matches!(e.body, EventBody::Disbanded { .. }));
            assert_eq!(ended, disband_wins);
            member.waits(1_000);
            let state = member.member.info(&group).state;
            assert_eq!(
                state,
                if disband_wins { GroupState::Disbanded } else { GroupState::Active }
            );
        }
        if disband_wins {
            let path = all[2].path.clone();
            drop(all);
            rows(&path, |tx| {
                assert!(tx.nodes(&group)?.is_empty());
                assert!(tx.mls_dump(&group)?.expose().len() < 2);
                Ok(())
            });
        } else {
            same(&mut all, &group);
            // It is made again on the winner, and its echo makes it true for its author.
            again.sort_by_key(Event::id);
            again.dedup();
            assert_eq!(again.len(), 1);
            for member in &mut all {
                member.takes(&again[0]);
                member.waits(1_000);
                assert_eq!(member.member.info(&group).state, GroupState::Disbanded);
            }
        }
    }
}

/// Opens the database behind the engine's back.
fn rows(path: &Path, f: impl FnOnce(&mdk_store::Tx<'_>) -> Result<(), StoreError>) {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    store.write(f).unwrap();
}

// rule: E6-1, E6-2
/// A lost state that a rival needs is no reason to choose the only one left.
#[test]
fn a_lost_state_makes_the_group_unrecoverable() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    let first = rename(&mut all[0], &group, "first");
    let rival = rename(&mut all[1], &group, "rival");
    all[0].member.confirms(&first);
    all[2].member.applies(event(&first));
    let other = folder();
    let mut whole = all[2].copied(other.path());
    // The same event, with the state of its parent and without.
    assert_eq!(whole.takes(event(&rival)).verdict, RIVAL);
    let third = all.pop().unwrap();
    let (path, clock) = (third.path.clone(), third.member.clock.clone());
    drop(third);
    rows(&path, |tx| {
        let parent = tx.nodes(&group)?.into_iter().find(|n| n.epoch == 2).unwrap();
        assert_eq!(tx.nodes(&group)?.len(), 3);
        tx.set_node_state(&group, &parent.authenticator, &mdk_wire::SecretVec::new(vec![]))
    });
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let open = || {
        let keys = Keys::from_secret(Secret::new([3; 32])).unwrap();
        let clock = Arc::new(clock.clone());
        Engine::open(&path, keys, &key, &OpenOptions::default(), Config::default(), clock)
    };
    // Accounts were sorted by key: find out which one this is.
    let numbers = [1u8, 2, 3];
    let mut engine = open().or_else(|_| {
        numbers
            .into_iter()
            .find_map(|n| {
                let keys = Keys::from_secret(Secret::new([n; 32])).unwrap();
                let clock = Arc::new(clock.clone());
                let config = Config::default();
                Engine::open(&path, keys, &key, &OpenOptions::default(), config, clock).ok()
            })
            .ok_or(Error::WrongAccount)
    });
    let engine = engine.as_mut().unwrap();
    let outcome = engine.process(event(&rival).to_json().as_bytes()).unwrap();
    assert_eq!(outcome.verdict, Verdict::Deferred(DeferredReason::CannotJudge));
    assert!(matches!(
        outcome.events.as_slice(),
        [e] if matches!(&e.body, EventBody::Unrecoverable { reason } if reason == "retained_state_lost")
    ));
    assert_eq!(engine.group(&group).unwrap().state, GroupState::Unrecoverable);
    assert!(matches!(engine.self_update(&group), Err(Error::Unrecoverable(_))));
    assert_eq!(testing::held(engine, &group).unwrap().inputs.len(), 1, "what came is kept");
    // History can still be read, and nothing moves any more.
    let later = rename(&mut all[0], &group, "later");
    let outcome = engine.process(event(&later).to_json().as_bytes()).unwrap();
    assert!(matches!(outcome.verdict, Verdict::Deferred(_)));
}

/// An older copy of the database does not know our own commit: the others go where it cannot follow.
#[test]
fn our_own_commit_is_lost_with_a_restored_copy() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b"]);
    let backup = folder();
    let mut old = all[0].copied(backup.path());
    let own = rename(&mut all[0], &group, "forgotten");
    all[0].member.confirms(&own);
    assert_eq!(old.takes(event(&own)).verdict, Verdict::Deferred(DeferredReason::CannotJudge));
    assert_eq!(old.member.info(&group).state, GroupState::Active, "a rival may still come");
    old.restarts();
    let told = old.waits(1_000).events;
    assert!(told.iter().any(
        |e| matches!(&e.body, EventBody::Unrecoverable { reason } if reason == "own_commit_lost")
    ));
    assert_eq!(old.member.info(&group).state, GroupState::Unrecoverable);
}

// shows: E3-1, E3-2
/// A commit that we gave up and a relay took after all competes like any other; so do ones we confirmed.
#[test]
fn our_own_commits_are_realised_again() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    // b gives its commit up, but it was out; c's comes first. b's key is the lower one.
    let given_up = rename(&mut all[1], &group, "given up");
    all[1].member.engine.discard(given_up.id).unwrap();
    let other = rename(&mut all[2], &group, "other");
    all[2].member.confirms(&other);
    all[1].member.applies(event(&other));
    all[1].restarts();
    assert_eq!(all[1].takes(event(&given_up)).verdict, RIVAL);
    all[0].member.applies(event(&given_up));
    all[0].takes(event(&other));
    all[2].takes(event(&given_up));
    all.iter_mut().for_each(|m| drop(m.waits(1_000)));
    same(&mut all, &group);
    assert_eq!(all[1].member.info(&group).name, "given up");
    // A confirmed one that loses first, because others speak on the rival, and wins when it is built upon.
    let ours = rename(&mut all[0], &group, "ours");
    let theirs = rename(&mut all[1], &group, "theirs");
    all[0].member.confirms(&ours);
    all[1].member.confirms(&theirs);
    let said = all[1].member.says(&group, "on theirs");
    all[0].takes(event(&theirs));
    all[0].takes(&said);
    all[0].waits(1_000);
    assert_eq!(all[0].member.info(&group).name, "theirs");
    all[2].member.applies(event(&ours));
    all[2].waits(1_000);
    let on_ours = rename(&mut all[2], &group, "built on ours");
    all[2].member.confirms(&on_ours);
    let more = all[2].member.says(&group, "deeper");
    all[0].restarts();
    assert_eq!(all[0].takes(event(&on_ours)).verdict, RIVAL);
    assert_eq!(all[0].takes(&more).verdict, RIVAL);
    for at in [0, 1, 2] {
        for event in [event(&ours), event(&theirs), &said, event(&on_ours), &more] {
            all[at].takes(event);
        }
    }
    all.iter_mut().for_each(|m| drop(m.waits(1_000)));
    same(&mut all, &group);
    assert_eq!(all[0].member.info(&group).name, "built on ours");
    assert_eq!(all[0].member.info(&group).epoch, 5);
}

// shows: E5-5
/// What is said later on a branch that lost can still turn the choice, and only what can turn it opens a pass.
#[test]
fn late_witnesses_turn_the_choice() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    let better = rename(&mut all[0], &group, "better");
    let worse = rename(&mut all[1], &group, "worse");
    all[0].member.confirms(&better);
    all[1].member.confirms(&worse);
    all[2].member.applies(event(&worse));
    let said = [
        all[1].member.says(&group, "one"),
        all[1].member.says(&group, "again"),
        all[2].member.says(&group, "two"),
        all[2].member.says(&group, "and again"),
    ];
    all[0].takes(event(&worse));
    all[0].waits(1_000);
    let settled = |member: &mut Filed| match member.member.engine.self_update(&group) {
        Ok(own) => {
            member.member.engine.discard(own.id).unwrap();
            true
        }
        Err(Error::Settling { .. }) => false,
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(all[0].member.info(&group).name, "better");
    // A second sender's first message counts, nobody's second one does.
    for (at, opens) in [(0, true), (1, false), (2, true), (3, false)] {
        assert!(settled(&mut all[0]));
        all[0].takes(&said[at]);
        assert_eq!(settled(&mut all[0]), !opens, "{at}");
        all[0].waits(1_000);
        assert_eq!(all[0].member.info(&group).name, "worse");
    }
    for member in &mut all {
        for event in said.iter().chain([event(&better), event(&worse)]) {
            member.takes(event);
        }
        member.waits(1_000);
    }
    same(&mut all, &group);
}

// shows: D2-9
/// A leave is asked for again on the branch that won, and answered there.
#[test]
fn a_leave_survives_a_race() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    let key = all[2].member.key();
    let demoted = all[0].member.engine.demote(&group, &[key]).unwrap();
    all[0].member.confirms(&demoted);
    for member in &mut all[1..] {
        member.member.applies(event(&demoted));
        member.waits(1_000);
    }
    let ours = rename(&mut all[0], &group, "ours");
    let theirs = rename(&mut all[1], &group, "theirs");
    all[0].member.confirms(&ours);
    all[1].member.confirms(&theirs);
    // c follows the one that will lose, and asks to leave there.
    all[2].member.applies(event(&theirs));
    let leave = all[2].member.engine.leave(&group).unwrap();
    all[2].takes(event(&ours));
    let again = all[2].waits(1_000).reply;
    assert_eq!(again.len(), 1, "asked again on the winner");
    assert_ne!(again[0].id(), leave.id());
    all[0].takes(event(&theirs));
    all[1].takes(event(&ours));
    all[1].takes(&leave);
    all[0].waits(1_000);
    all[1].waits(1_000);
    let mut answers = all[0].takes(&again[0]).reply;
    answers.extend(all[0].waits(2_000).reply);
    assert_eq!(answers.len(), 1);
    for member in &mut all {
        member.takes(&again[0]);
        member.takes(&answers[0]);
        member.waits(1_000);
    }
    same(&mut all[..2], &group);
    assert_eq!(all[2].member.info(&group).state, GroupState::Left);
    assert_eq!(all[0].member.info(&group).member_count, 2);
}

// shows: 2.9-4, 2.9-5
/// What was to disappear while the process was down is gone before anything is read, from the file too.
#[test]
fn time_passes_while_the_process_is_down() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b"]);
    let update = GroupUpdate { retention: Some(60), ..GroupUpdate::default() };
    let timed = all[0].member.engine.update_group(&group, update).unwrap();
    all[0].member.confirms(&timed);
    all[1].member.applies(event(&timed));
    all[1].waits(1_000);
    let secret = "the hidden word is xylophone";
    let said = all[0].member.says(&group, secret);
    all[1].member.applies(&said);
    let id = all[1].member.engine.messages(&group, 10, None, None).unwrap()[0].id;
    assert_eq!(all[1].member.engine.search("xylophone", None, 10).unwrap().len(), 1);
    all[1].member.clock.advance_millis(61_000);
    let place = folder();
    let mut reopened = all[1].copied(place.path());
    let engine = &mut reopened.member.engine;
    assert!(engine.messages(&group, 10, None, None).unwrap().is_empty());
    assert!(engine.search("xylophone", None, 10).unwrap().is_empty());
    assert!(matches!(engine.message(&group, &id), Err(Error::MessageNotFound)));
    assert!(engine.group(&group).unwrap().last_message.is_none());
    // One that comes after its time is not shown at all.
    let late = all[0].member.says(&group, "late");
    reopened.member.clock.advance_millis(120_000);
    reopened.member.applies(&late);
    assert!(reopened.member.engine.messages(&group, 10, None, None).unwrap().is_empty());
    let path = reopened.path.clone();
    drop(reopened);
    rows(&path, |tx| {
        for row in tx.messages_after(0, 100)? {
            assert!(row.content.is_empty() && row.tags.is_empty());
            assert_ne!(row.id, id, "its id is a hash of what it said");
        }
        Ok(())
    });
}

/// Retained states are those of five epochs, on every branch, and no input outlives them.
#[test]
fn nothing_outlives_the_window() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    let mut losers = Vec::new();
    for n in 0..9 {
        let better = rename(&mut all[0], &group, &format!("a{n}"));
        let worse = rename(&mut all[1], &group, &format!("b{n}"));
        all[0].member.confirms(&better);
        all[1].member.engine.discard(worse.id).unwrap();
        losers.push(event(&worse).clone());
        for at in [1, 2] {
            all[at].takes(event(&better));
            all[at].takes(event(&worse));
        }
        all[0].takes(event(&worse));
        all.iter_mut().for_each(|m| drop(m.waits(1_000)));
        same(&mut all, &group);
    }
    let tip = all[2].member.info(&group).epoch;
    assert_eq!(tip, 11);
    assert!(!matches!(all[2].takes(&losers[0]).verdict, Verdict::Applied));
    let paths: Vec<_> = all.iter().map(|m| m.path.clone()).collect();
    drop(all);
    for path in paths {
        rows(&path, |tx| {
            let nodes = tx.nodes(&group)?;
            let (kept, rivals): (Vec<_>, Vec<_>) = nodes.iter().partition(|n| n.canonical);
            assert_eq!(kept.iter().map(|n| n.epoch).collect::<Vec<_>>(), [11, 10, 9, 8, 7, 6]);
            assert_eq!(rivals.len(), 5);
            for rival in rivals {
                assert!(kept.iter().any(|n| rival.parent == Some(n.authenticator)));
            }
            assert!(tx.inputs(&group)?.iter().all(|i| i.epoch >= 6));
            assert!(tx.inputs(&group)?.iter().all(|i| i.state != InputState::Losing));
            assert_eq!(tx.group(&group)?.unwrap().pass.floor, 6);
            Ok(())
        });
    }
}

// rule: E3-3
/// A flood of valid rivals by a member takes a bounded number of states, and honest traffic goes on.
#[test]
fn a_flood_of_rivals_is_bounded() {
    let place = folder();
    let (mut all, group) = admins(place.path(), &["a", "b", "c"]);
    let tip = all[0].member.info(&group).epoch;
    let flood: Vec<Event> = (0..24)
        .map(|n| {
            let pending = rename(&mut all[2], &group, &format!("flood {n}"));
            all[2].member.engine.discard(pending.id).unwrap();
            event(&pending).clone()
        })
        .collect();
    let honest = rename(&mut all[0], &group, "honest");
    for event in &flood[..12] {
        all[1].takes(event);
    }
    all[1].takes(event(&honest));
    for event in &flood[12..] {
        all[1].takes(event);
    }
    all[0].member.confirms(&honest);
    all[1].waits(1_000);
    same(&mut all[..2], &group);
    assert_eq!(all[1].member.info(&group).epoch, tip + 1);
    let path = all[1].path.clone();
    drop(all);
    rows(&path, |tx| {
        assert!(tx.nodes(&group)?.iter().filter(|n| !n.canonical).count() <= 8);
        Ok(())
    });
}

// rule: E3-3
/// One member makes more rival commits than are kept. Another one's branch, which looks worse as long as it is short, is
/// not pushed out by them, and wins when it has grown.
#[test]
fn a_flood_of_rivals_pushes_out_no_branch_of_another() {
    let place = folder();
    let names = ["us", "one", "two"];
    let mut all: Vec<Filed> =
        names.into_iter().zip(1..).map(|(n, i)| Filed::new(place.path(), n, i)).collect();
    all[1..].sort_by_key(|member| member.member.engine.public_key());
    let [us, flooder, honest] = all.as_mut_slice() else { panic!() };
    let group = us.member.founds("g", &mut [&mut flooder.member, &mut honest.member]);
    let flood: Vec<Pending> = (0..10)
        .map(|_| {
            let pending = flooder.member.engine.self_update(&group).unwrap();
            flooder.member.engine.discard(pending.id).unwrap();
            pending
        })
        .collect();
    let branch: Vec<Pending> = (0..2)
        .map(|_| {
            let pending = honest.member.engine.self_update(&group).unwrap();
            honest.member.confirms(&pending);
            pending
        })
        .collect();
    for commit in flood.iter().chain(&branch) {
        us.takes(event(commit));
    }
    us.waits(1_000);
    assert_eq!(us.ends(&group).authenticator, honest.ends(&group).authenticator);
}
