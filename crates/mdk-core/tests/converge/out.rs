//! Who is out of a group: comes back when the branch that put it out loses, in whatever order its commits come, and
//! keeps no key when nothing can bring it back.

use mdk_core::{DeferredReason, EventBody, GroupState, RejectCode, Verdict, testing};
use mdk_store::{DatabaseKey, GroupRow, OpenOptions, Store, StoreError};
use mdk_wire::{Event, GroupId, Secret, kind};

use crate::kit::fork::{Filed, found, orders};
use crate::kit::{acts, event, folder};

fn renames(member: &mut Filed, group: &GroupId, name: &str) -> Event {
    event(&acts::renames(member, group, name)).clone()
}

/// Alice and carol are admins, bob is a member; all are settled.
fn three(folder: &std::path::Path) -> ([Filed; 3], GroupId) {
    let mut all = [("alice", 1), ("bob", 2), ("carol", 3)].map(|(n, k)| Filed::new(folder, n, k));
    let group = found(&mut all, &[2]);
    (all, group)
}

fn row(path: &std::path::Path, group: &GroupId) -> GroupRow {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    let row: Result<_, StoreError> = store.read(|tx| {
        assert!(tx.nodes(group)?.is_empty() && tx.inputs(group)?.is_empty());
        assert!(tx.held(group)?.is_empty() && tx.mls_dump(group)?.expose().len() < 2);
        assert!(tx.sendable_welcomes()?.is_empty() && tx.withheld_welcomes(group)?.is_empty());
        for commit in 1..20 {
            assert!(tx.pending(commit)?.is_none());
        }
        Ok(tx.group(group)?.unwrap())
    });
    row.unwrap()
}

// shows: D6-4, D6-7
/// Two commits beat the one that put bob out, by a leave or by force: he follows them in every order of the three.
#[test]
fn who_is_out_on_a_branch_that_loses_comes_back_in_every_order() {
    for leaves in [true, false] {
        for order in orders(3) {
            let place = folder();
            let ([mut alice, mut bob, mut carol], group) = three(place.path());
            let out = if leaves {
                let leave = bob.member.engine.leave(&group).unwrap();
                let [answer] = alice.takes(&leave).reply.try_into().unwrap();
                answer
            } else {
                let key = bob.member.key();
                let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
                alice.member.confirms(&removal);
                event(&removal).clone()
            };
            let winner = [renames(&mut carol, &group, "c1"), renames(&mut carol, &group, "c2")];
            let said = carol.member.says(&group, "still here");
            let told = [&out, &winner[0], &winner[1]];
            for at in &order {
                bob.takes(told[*at]);
                if leaves {
                    bob.restarts();
                }
            }
            bob.waits(1_000);
            bob.waits(1_000);
            let expected = if leaves { GroupState::Leaving } else { GroupState::Active };
            assert_eq!(bob.member.info(&group).state, expected, "{leaves} {order:?}");
            assert_eq!(bob.member.info(&group).name, "c2", "{leaves} {order:?}");
            bob.takes(&said);
            assert_eq!(bob.member.texts(&group), ["still here"]);
            assert_eq!(testing::watch(&mut bob.member.engine, &group).unwrap().raw, 0);
        }
    }
}

// rule: D6-10
/// Bob is out, and what dave asks for on the branch that would take him back comes before anything else of it or between
/// its commits: it is at hand when the commit comes that refers to it.
#[test]
fn who_is_out_keeps_what_is_proposed_on_a_branch_that_takes_it_back() {
    for order in orders(3) {
        let place = folder();
        let ([mut alice, mut bob, mut carol], group) = three(place.path());
        let mut dave = Filed::new(place.path(), "dave", 4);
        let package = dave.member.key_package();
        let added = alice.member.engine.add_members(&group, &[package], false).unwrap();
        alice.member.confirms(&added);
        dave.member.joins(&added.welcomes);
        for member in [&mut bob, &mut carol] {
            member.member.applies(event(&added));
        }
        for member in [&mut alice, &mut bob, &mut carol, &mut dave] {
            member.waits(1_000);
        }
        let key = bob.member.key();
        let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
        alice.member.confirms(&removal);
        let renamed = renames(&mut carol, &group, "c1");
        dave.member.applies(&renamed);
        dave.waits(1_000);
        let leave = dave.member.engine.leave(&group).unwrap();
        let mut replies = carol.takes(&leave).reply;
        // (alice, who would answer first, is elsewhere)
        for _ in 0..120 {
            replies.extend(carol.waits(1_000).reply);
        }
        let [answer] = replies.try_into().unwrap();
        bob.takes(event(&removal));
        assert_eq!(bob.member.info(&group).state, GroupState::Removed);
        // (while the removal can still lose, what no key opens waits)
        bob.takes(&renamed);
        let told = [&leave, &answer, &renamed];
        for at in &order {
            bob.takes(told[*at]);
        }
        bob.waits(1_000);
        bob.waits(1_000);
        let info = bob.member.info(&group);
        assert_eq!((info.state, info.member_count), (GroupState::Active, 3), "{order:?}");
        carol.takes(&answer);
        let end = carol.ends(&group).authenticator;
        assert_eq!(bob.ends(&group).authenticator, end, "{order:?}");
    }
}

// rule: D6-11
/// What was said before the branches parted comes when bob is out on one of them: it is out of sight until he comes back
/// with the other one, which shares that state. What comes when the removal is decided on is refused.
#[test]
fn who_comes_back_has_what_was_said_before_the_branches_parted() {
    for decided in [true, false] {
        let place = folder();
        let ([mut alice, mut bob, mut carol], group) = three(place.path());
        let said = carol.member.says(&group, "before all that");
        let key = bob.member.key();
        let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
        alice.member.confirms(&removal);
        let winner = [renames(&mut carol, &group, "c1"), renames(&mut carol, &group, "c2")];
        bob.takes(event(&removal));
        if decided {
            bob.waits(1_000);
            let Verdict::Rejected(rejection) = bob.takes(&said).verdict else { panic!() };
            assert_eq!((rejection.code, rejection.rule), (RejectCode::UnknownGroup, "D1-3"));
            bob.takes(&winner[0]);
        }
        assert_eq!(bob.takes(&said).verdict, Verdict::Deferred(DeferredReason::Rival));
        assert!(bob.member.texts(&group).is_empty());
        bob.restarts();
        winner.iter().for_each(|commit| drop(bob.takes(commit)));
        bob.waits(1_000);
        assert_eq!(bob.member.info(&group).state, GroupState::Active);
        assert_eq!(bob.member.texts(&group), ["before all that"]);
        assert_eq!(bob.takes(&said).verdict, Verdict::Duplicate);
    }
}

// shows: D6-11
/// Whoever is put out and waits for the end of the pass has what was said before, like one who hears it first.
#[test]
fn who_is_out_has_what_was_said_before_and_came_within_the_pass() {
    let place = folder();
    let ([mut alice, mut bob, mut carol], group) = three(place.path());
    let said = carol.member.says(&group, "farewell");
    let key = bob.member.key();
    let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
    alice.member.confirms(&removal);
    bob.takes(event(&removal));
    bob.takes(&said);
    assert!(bob.member.texts(&group).is_empty());
    bob.waits(1_000);
    assert_eq!(bob.member.info(&group).state, GroupState::Removed);
    assert_eq!(bob.member.texts(&group), ["farewell"]);
}

// shows: D6-11
/// Before the removal is decided on he is invited again, so much later that the old branch cannot compete with it.
#[test]
fn who_is_invited_within_the_pass_has_what_was_said_before() {
    for later in [0, 1, 6] {
        let place = folder();
        let ([mut alice, mut bob, mut carol], group) = three(place.path());
        let said = carol.member.says(&group, "farewell");
        alice.takes(&said);
        let key = bob.member.key();
        let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
        alice.member.confirms(&removal);
        bob.takes(event(&removal));
        assert_eq!(bob.takes(&said).verdict, Verdict::Deferred(DeferredReason::Rival));
        for _ in 0..later {
            alice.waits(1_000);
            let renewal = alice.member.engine.self_update(&group).unwrap();
            alice.member.confirms(&renewal);
        }
        let package = bob.member.key_package();
        alice.waits(1_000);
        let added = alice.member.engine.add_members(&group, &[package], false).unwrap();
        alice.member.confirms(&added);
        bob.takes(&added.welcomes[0]);
        bob.waits(150_000);
        let invites = bob.member.engine.invites().unwrap();
        bob.member.engine.accept(&invites[0].id).unwrap();
        assert_eq!(bob.member.texts(&group), ["farewell"], "{later} commits later");
        let told = bob.member.engine.events(0, 100).unwrap().into_iter();
        let told = told.filter(|e| matches!(e.body, EventBody::MessageReceived { .. })).count();
        assert_eq!(told, 1, "{later} commits later");
    }
}

// shows: D6-11, E5-10
/// The removal has won over another branch, which is retained still: what was said before comes late, and is shown.
#[test]
fn who_is_out_has_what_was_said_before_and_came_after_the_pass() {
    let place = folder();
    let ([mut alice, mut bob, mut carol], group) = three(place.path());
    let said = [carol.member.says(&group, "farewell"), carol.member.says(&group, "and thanks")];
    let first = renames(&mut alice, &group, "a");
    let key = bob.member.key();
    let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
    alice.member.confirms(&removal);
    let rival = renames(&mut carol, &group, "c");
    for commit in [&first, event(&removal), &rival] {
        bob.takes(commit);
    }
    bob.waits(1_000);
    bob.waits(6_000);
    assert_eq!(bob.member.info(&group).state, GroupState::Removed);
    for said in &said {
        let told = bob.takes(said);
        assert_eq!((told.verdict, told.events.len()), (Verdict::Applied, 1));
    }
    assert_eq!(bob.member.texts(&group), ["farewell", "and thanks"]);
}

// shows: D6-11
/// Two accounts speak on the branch that removes bob, which makes it the better one: he counts them in whatever order it
/// all comes, also when he is out already, and goes where carol goes.
#[test]
fn who_is_out_counts_what_was_said_before_the_removal() {
    for order in orders(3) {
        let place = folder();
        let ([mut alice, mut bob, mut carol], group) = three(place.path());
        let mut dave = Filed::new(place.path(), "dave", 4);
        let package = dave.member.key_package();
        let added = alice.member.engine.add_members(&group, &[package], false).unwrap();
        alice.member.confirms(&added);
        dave.member.joins(&added.welcomes);
        for member in [&mut bob, &mut carol] {
            member.member.applies(event(&added));
        }
        for member in [&mut alice, &mut bob, &mut carol, &mut dave] {
            member.waits(1_000);
        }
        let renamed = renames(&mut alice, &group, "a1");
        dave.takes(&renamed);
        let said = [alice.member.says(&group, "alice"), dave.member.says(&group, "dave")];
        let key = bob.member.key();
        let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
        alice.member.confirms(&removal);
        let beaten = ["c1", "c2", "c3"].map(|name| renames(&mut carol, &group, name));
        let parts = [vec![event(&removal)], said.iter().collect(), beaten.iter().collect()];
        bob.takes(&renamed);
        for at in &order {
            for told in &parts[*at] {
                bob.takes(told);
            }
        }
        for told in [&[&renamed, event(&removal)][..], &[&said[0], &said[1]]].concat() {
            carol.takes(told);
        }
        carol.waits(1_000);
        assert_eq!(carol.member.info(&group).name, "a1");
        bob.waits(1_000);
        assert_eq!(bob.member.info(&group).state, GroupState::Removed, "{order:?}");
        let mut texts = bob.member.texts(&group);
        texts.sort_unstable();
        assert_eq!(texts, ["alice", "dave"], "{order:?}");
    }
}

// rule: D6-9
/// Bob goes over to the branch that renames the group and then removes him, or that removes him at once: he sees the
/// group as it was there when he went, and nothing of what the branch that lost had made of it.
#[test]
fn who_is_put_out_by_another_branch_sees_the_group_as_it_was_there() {
    for renamed in [true, false] {
        let place = folder();
        let ([mut alice, mut bob, mut carol], group) = three(place.path());
        let key = bob.member.key();
        let mut winner = Vec::new();
        if renamed {
            winner.push(renames(&mut alice, &group, "there"));
        }
        let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
        alice.member.confirms(&removal);
        winner.push(event(&removal).clone());
        // An ordinary commit of hers would lose, and so does this one: by its key, or by depth.
        let here = renames(&mut carol, &group, "here");
        bob.member.applies(&here);
        for commit in &winner {
            bob.takes(commit);
        }
        bob.waits(1_000);
        carol.takes(&winner[0]);
        carol.waits(1_000);
        let wins = carol.member.info(&group).name != "here";
        let info = bob.member.info(&group);
        let expected = match (wins || renamed, renamed) {
            (true, true) => (GroupState::Removed, "there"),
            (true, false) => (GroupState::Removed, "before"),
            (false, _) => (GroupState::Active, "here"),
        };
        assert_eq!((info.state, info.name.as_str()), expected);
        assert!(renamed || wins == (alice.member.key() < carol.member.key()));
    }
}

// rule: D6-8
/// The child comes long before its parent, when nothing competes yet: it is refused then. With the parent the other branch
/// is known, is subscribed to, and the child counts when it comes again.
#[test]
fn who_is_out_asks_again_for_a_branch_that_would_take_it_back() {
    let place = folder();
    let ([mut alice, mut bob, mut carol], group) = three(place.path());
    let key = bob.member.key();
    let route = bob.member.info(&group).nostr_group_id.to_hex();
    let asks = |bob: &mut Filed| {
        bob.member.engine.interests().unwrap().iter().any(|i| i.filter.contains(&route))
    };
    let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
    alice.member.confirms(&removal);
    let winner = [renames(&mut carol, &group, "c1"), renames(&mut carol, &group, "c2")];
    assert!(asks(&mut bob));
    bob.member.applies(event(&removal));
    bob.waits(1_000);
    assert!(!asks(&mut bob));
    assert!(matches!(bob.takes(&winner[1]).verdict, Verdict::Rejected(_)));
    assert_eq!(bob.takes(&winner[0]).verdict, Verdict::Deferred(DeferredReason::Rival));
    assert!(asks(&mut bob));
    bob.waits(1_000);
    bob.takes(&winner[1]);
    bob.waits(1_000);
    assert_eq!(bob.member.info(&group).state, GroupState::Active);
    assert_eq!(bob.member.info(&group).name, "c2");
}

// shows: D1-3, D6-7
/// Once nothing competes any more, what comes for a group that we are out of is refused.
#[test]
fn who_is_out_for_good_waits_for_nothing() {
    let place = folder();
    let ([mut alice, mut bob, mut carol], group) = three(place.path());
    let key = bob.member.key();
    let removal = alice.member.engine.remove_members(&group, &[key]).unwrap();
    alice.member.confirms(&removal);
    carol.member.applies(event(&removal));
    bob.member.applies(event(&removal));
    let said = alice.member.says(&group, "among us");
    // Until the choice is made it might belong to another branch.
    assert_eq!(bob.takes(&said).verdict, Verdict::Deferred(DeferredReason::Undecryptable));
    bob.waits(1_000);
    let said = alice.member.says(&group, "among us again");
    let before = bob.member.engine.digest().unwrap();
    let Verdict::Rejected(rejection) = bob.takes(&said).verdict else { panic!() };
    assert_eq!((rejection.code, rejection.rule), (RejectCode::UnknownGroup, "D1-3"));
    assert_eq!(bob.member.engine.digest().unwrap(), before);
    // What waited goes with the states that it waited for, and is nobody's loss.
    let told = bob.waits(86_400_000).events;
    assert!(told.is_empty(), "{told:?}");
    let path = bob.path.clone();
    drop(bob);
    let row = row(&path, &group);
    assert_eq!(row.event_key.expose(), &[0; 32], "the key of the last epoch");
}

// shows: C5-2
/// The end of a group leaves no key of it, with who ended it and with who heard of it.
#[test]
fn the_end_leaves_no_key() {
    let place = folder();
    let ([mut alice, mut bob, carol], group) = three(place.path());
    let key = testing::state(&mut bob.member.engine, &group).unwrap().event_key;
    assert_ne!(key.expose(), &[0; 32]);
    let end = alice.member.engine.disband(&group).unwrap();
    alice.member.confirms(&end);
    bob.member.applies(event(&end));
    for mut member in [alice, bob] {
        member.waits(1_000);
        assert_eq!(member.member.info(&group).state, GroupState::Disbanded);
        let path = member.path.clone();
        drop(member);
        assert_eq!(row(&path, &group).event_key.expose(), &[0; 32]);
    }
    drop(carol);
}

// rule: C5-5
/// An invitation that is still to be handed out when its group ends is not handed out any more.
#[test]
fn nobody_is_invited_to_a_group_that_has_ended() {
    let place = folder();
    let ([mut alice, bob, carol], group) = three(place.path());
    let gift_wraps = |alice: &mut Filed| {
        alice.restarts();
        let reply = alice.waits(1_000).reply;
        reply.iter().filter(|event| event.kind() == kind::GIFT_WRAP).count()
    };
    assert_eq!(gift_wraps(&mut alice), 2, "nobody said that they were sent");
    let end = alice.member.engine.disband(&group).unwrap();
    alice.member.confirms(&end);
    assert_eq!(gift_wraps(&mut alice), 2, "the end may be withdrawn");
    assert_eq!(alice.member.info(&group).state, GroupState::Disbanded);
    assert_eq!(gift_wraps(&mut alice), 0);
    drop((bob, carol));
}

// shows: D6-3
/// Of an admin who was put out not even its own commits stay, when its Welcomes have had their time.
#[test]
fn who_has_invited_and_is_out_keeps_no_commit() {
    let place = folder();
    let ([mut alice, bob, mut carol], group) = three(place.path());
    let key = alice.member.key();
    let removal = carol.member.engine.remove_members(&group, &[key]).unwrap();
    carol.member.confirms(&removal);
    alice.takes(event(&removal));
    alice.waits(1_000);
    assert_eq!(alice.member.info(&group).state, GroupState::Removed);
    // Its states are kept for a day, its Welcomes for three.
    alice.waits(2 * 86_400_000);
    alice.waits(2 * 86_400_000);
    let path = alice.path.clone();
    drop((alice, bob, carol));
    row(&path, &group);
}
