//! In, out, and in again: what a membership ends stays ended, and the next one begins clean.

use mdk_core::{EventBody, GroupState, Verdict, testing};
use mdk_wire::{GroupId, PublicKey};

use crate::kit::foreign::{Change, Foreign, read_key_package};
use crate::kit::{Member, WAITS, event, received, three};

/// Who came and who went, as an observer was told.
fn changes(member: &mut Member) -> (Vec<PublicKey>, Vec<PublicKey>) {
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for event in member.engine.events(0, 10_000).unwrap() {
        if let EventBody::MembersChanged { added, removed, left, .. } = event.body {
            came.extend(added);
            went.extend(removed.into_iter().chain(left));
        }
    }
    (came, went)
}

// shows: B4-5
/// By one KeyPackage: that of last resort serves more than once. The second time he leaves of himself.
#[test]
fn three_times_in_and_out() {
    let (mut alice, mut bob, mut carol, group) = three();
    let package = bob.key_package();
    let mut heard = Vec::new();
    for round in 0..3 {
        let text = format!("in {round}");
        alice.tells(&group, &text, &mut [&mut bob, &mut carol]);
        heard.push(text);
        let out = if round == 1 {
            let leave = bob.engine.leave(&group).unwrap();
            let [answer] = alice.applies(&leave).reply.try_into().unwrap();
            for event in [&leave, &answer] {
                carol.applies(event);
            }
            alice.applies(&answer);
            bob.applies(&answer);
            answer
        } else {
            alice.removes(&group, bob.key(), &mut [&mut bob, &mut carol]).event.unwrap()
        };
        let state = if round == 1 { GroupState::Left } else { GroupState::Removed };
        assert_eq!(bob.info(&group).state, state);
        let between = carol.says(&group, &format!("out {round}"));
        alice.applies(&between);
        assert_ne!(bob.takes(&between).verdict, Verdict::Applied);
        let added = alice.adds(&group, package.clone(), &mut [&mut carol]);
        bob.joins(&added.welcomes);
        assert_eq!(bob.info(&group).state, GroupState::Active);
        // Neither what was said meanwhile nor what led here is his.
        for event in [&between, &out, event(&added)] {
            assert_ne!(bob.takes(event).verdict, Verdict::Applied);
        }
        bob.tells(&group, "back", &mut [&mut alice, &mut carol]);
        heard.push("back".into());
    }
    assert_eq!(bob.texts(&group), heard, "the history of all memberships");
    assert_eq!(changes(&mut carol), (vec![bob.key(); 3], vec![bob.key(); 3]));
    let [a, b, c] = [&mut alice, &mut bob, &mut carol]
        .map(|m| testing::state(&mut m.engine, &group).unwrap().authenticator);
    assert!(a == b && b == c);
}

/// Whoever was in when an invitation came was not asked. It may be from a branch that has kept the account, so when it
/// comes again after the membership it is for the user to say, once.
// shows: B4-20
#[test]
fn an_invitation_that_was_refused_while_in_asks_once_when_it_comes_again() {
    let (mut alice, mut bob, _, group) = three();
    let package = bob.key_package();
    let mut dave = Foreign::new();
    let mut context = dave.context();
    context.id = group.as_bytes().to_vec();
    dave.founds(&context);
    let welcome = dave.invites(&[&package]);
    let beside = dave.wraps(&welcome, &package);
    bob.refuses(&beside, "B4-4");
    alice.removes(&group, bob.key(), &mut [&mut bob]);
    assert!(bob.engine.invites().unwrap().is_empty(), "it does not ask by itself");
    bob.applies(&beside);
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    assert_ne!(bob.info(&group).state, GroupState::Active);
    bob.engine.decline(&invite.id).unwrap();
    assert_eq!(bob.info(&group).state, GroupState::Left);
    assert_eq!(bob.takes(&beside).verdict, Verdict::Duplicate);
    assert!(bob.engine.invites().unwrap().is_empty());
}

/// The old leaf goes and the new one comes in one commit, as whoever could not be reached is invited again; the Welcome
/// comes after the commit, or before it.
#[test]
fn removed_and_added_in_one_commit() {
    for welcome_first in [false, true] {
        let mut bob = Member::new("bob");
        let mut founder = Foreign::new();
        let package = bob.key_package();
        let wrapped = founder.founds_with(&founder.context(), &package);
        bob.joins(&[wrapped]);
        let group = GroupId::from_bytes(founder.mls().group_id().as_slice()).unwrap();
        let fresh = bob.key_package();
        let removes = vec![founder.leaf_of(&bob.key())];
        let adds = vec![read_key_package(&fresh)];
        let made = founder.commits(Change { adds, removes, ..Change::default() });
        let commit = founder.seals(&made.commit);
        founder.merges();
        let welcome = founder.wraps(&made.welcome.unwrap(), &fresh);
        if welcome_first {
            assert_eq!(bob.takes(&welcome).verdict, WAITS);
            bob.takes(&commit);
        } else {
            bob.applies(&commit);
            bob.applies(&welcome);
        }
        bob.joins(&[]);
        assert_eq!(bob.info(&group).state, GroupState::Active, "welcome first: {welcome_first}");
        assert_eq!(received(&bob.applies(&founder.says("hello again"))), ["hello again"]);
        let answer = bob.says(&group, "hello");
        assert!(founder.follows(&answer).is_some());
    }
}
