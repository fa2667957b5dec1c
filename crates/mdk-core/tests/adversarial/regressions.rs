//! Faults that were found by trying to break a group: commits, leaves, invites and routes.

use std::collections::BTreeSet;

use mdk_core::{DeferredReason, Error, EventBody, GroupState, RejectCode, Verdict};
use mdk_wire::v2::component_id as id;
use mdk_wire::{ContentId, Event, EventId, GroupId, kind};

use crate::kit::foreign::{Change, Foreign, update};
use crate::kit::foreign_commits::{Handmade, Who, World, admins, by_value, self_update};
use crate::kit::{CLOSED, Member, REFUSED, RIVAL, event, named, now, received, three};

#[track_caller]
fn commit_pending<T>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::CommitPending)), "{:?}", result.err());
}

/// max asks to leave and we answer; a commit whose membership tag is wrong; a good commit by ann.
fn answered() -> (World, Event, Event, Event) {
    let mut w = World::new();
    let good = w.max.commit_event(self_update());
    w.max.forgets();
    let mut junk = w.max.commits(self_update()).commit;
    *junk.last_mut().unwrap() ^= 1;
    w.max.forgets();
    let junk = w.max.seals(&junk);
    let leave = w.max.leave_event();
    w.us.applies(&leave);
    w.ann.follows(&leave);
    let [answer] = w.us.waits(5000).reply.try_into().unwrap();
    (w, answer, junk, good)
}

// shows: C2-7
#[test]
fn a_commit_that_waits_does_not_supersede_the_automatic_one() {
    let (mut w, answer, junk, _) = answered();
    let epoch = w.epoch();
    assert_eq!(w.us.takes(&junk).verdict, Verdict::Deferred(DeferredReason::MissingParent));
    let pending = w.us.engine.pending().unwrap();
    assert_eq!(pending.len(), 1, "the answer is still pending");
    assert!(pending[0].automatic && event(&pending[0]).id() == answer.id());
    // Others took the answer; its echo makes it true here.
    w.ann.follows(&answer);
    w.us.applies(&answer);
    assert_eq!((w.epoch(), w.ann.mls().epoch().as_u64()), (epoch + 1, epoch + 1));
    assert!(w.us.engine.pending().unwrap().is_empty());
    w.hears(Who::Ann, "hello");
}

// shows: C2-9
/// Alice answers carol's leave, and bob's commit makes her give way before anybody has read of it: neither the call in
/// which she does, nor one that comes later, hands the answer out.
#[test]
fn what_has_given_way_is_not_handed_out() {
    for case in ["in one batch", "between two calls"] {
        let (mut alice, mut bob, mut carol, group) = three();
        let own = alice.engine.self_update(&group).unwrap();
        let leave = carol.engine.leave(&group).unwrap();
        let commit = bob.updates(&group, &mut []).event.unwrap();
        let outcomes = match case {
            "in one batch" => {
                alice.engine.discard(own.id).unwrap();
                alice.takes_all(&[leave, commit])
            }
            _ => {
                assert!(matches!(alice.takes(&leave).verdict, Verdict::Deferred(_)));
                alice.engine.discard(own.id).unwrap();
                assert!(alice.engine.pending().unwrap()[0].automatic);
                vec![alice.takes(&commit)]
            }
        };
        assert_eq!(outcomes.last().unwrap().verdict, Verdict::Applied, "{case}");
        assert!(outcomes.iter().all(|outcome| outcome.reply.is_empty()), "{case}");
        assert!(alice.engine.pending().unwrap().is_empty(), "{case}");
        // (the Welcomes of her founding are)
        let again = alice.engine.tick().unwrap().reply;
        assert!(again.iter().all(|event| event.kind() == kind::GIFT_WRAP), "{case}");
    }
}

// rule: C1-1
#[test]
fn an_automatic_commit_blocks_commits_but_not_messages() {
    for echoed in [true, false] {
        let (mut alice, mut bob, mut carol, group) = three();
        let leave = carol.engine.leave(&group).unwrap();
        let [answer] = alice.applies(&leave).reply.try_into().unwrap();
        bob.applies(&leave);
        commit_pending(alice.engine.self_update(&group));
        commit_pending(alice.engine.leave(&group));
        commit_pending(alice.engine.update_group(&group, named("n")));
        commit_pending(alice.engine.promote(&group, &[bob.key()]));
        commit_pending(alice.engine.demote(&group, &[alice.key()]));
        commit_pending(alice.engine.remove_members(&group, &[bob.key()]));
        commit_pending(alice.engine.disband(&group));
        let package = Member::new("dave").key_package();
        commit_pending(alice.engine.add_members(&group, &[package], false));

        alice.tells(&group, "from alice", &mut [&mut bob]);
        bob.tells(&group, "from bob", &mut [&mut alice]);

        bob.applies(&answer);
        alice.engine.tick().unwrap();
        assert_eq!(alice.info(&group).member_count, 3, "not by publishing it");
        if echoed {
            alice.applies(&answer);
        } else {
            let [pending] = alice.engine.pending().unwrap().try_into().unwrap();
            assert!(pending.automatic && event(&pending) == &answer);
            alice.confirms(&pending);
            assert_eq!(alice.takes(&answer).verdict, Verdict::Duplicate);
        }
        assert!(alice.engine.pending().unwrap().is_empty());
        carol.applies(&answer);
        assert_eq!(alice.info(&group).member_count, 2);
        alice.updates(&group, &mut [&mut bob]);
        bob.tells(&group, "after", &mut [&mut alice]);
    }
}

// rule: C1-1
#[test]
fn who_answers_a_leave_does_not_leave_meanwhile() {
    let (mut w, answer, _, _) = answered();
    commit_pending(w.us.engine.leave(&w.id));
    assert_eq!(w.us.info(&w.id).state, GroupState::Active);
    w.us.applies(&answer);
    w.us.engine.leave(&w.id).unwrap();
}

// rule: C2-5, D1-1
#[test]
fn a_commit_that_a_relay_has_cannot_be_discarded() {
    let (mut alice, mut bob, _carol, group) = three();
    let update = alice.engine.self_update(&group).unwrap();
    bob.applies(event(&update));
    assert_eq!(alice.takes(event(&update)).verdict, Verdict::Duplicate);
    let before = alice.digest();
    assert!(matches!(alice.engine.discard(update.id), Err(Error::NotAllowed(_))));
    assert_eq!(alice.digest(), before);
    assert_eq!(alice.engine.pending().unwrap().len(), 1, "an echo is not a confirmation");
    alice.confirms(&update);
    assert_eq!(alice.takes(event(&update)).verdict, Verdict::Duplicate);
    assert_eq!(alice.info(&group).epoch, 2);
    bob.tells(&group, "hi", &mut [&mut alice]);
    alice.tells(&group, "hi", &mut [&mut bob]);
}

// rule: 2.7-5
#[test]
fn a_flood_of_leaves_takes_its_own_share_only() {
    let mut w = World::new();
    // ada gives up its admin role, so that it may leave too.
    let policy = admins(&[w.ann.key()]);
    let demotion = w.commits(Who::Ann, by_value(vec![update(id::ADMIN_POLICY, &policy)]));
    w.ada.follows(&demotion);
    w.max.follows(&demotion);
    let epoch = w.epoch();

    let mut kept = BTreeSet::new();
    let (mut lowest, mut refused) = (None, 0);
    for i in 0..64u32 {
        w.max.group.as_mut().unwrap().set_aad(i.to_be_bytes().to_vec());
        let bytes = w.max.proposes_self_remove();
        let (content, sealed) = (ContentId::of(&bytes), w.max.seals(&bytes));
        let fits = kept.len() < 16 || kept.last() > Some(&content);
        let verdict = w.us.takes(&sealed).verdict;
        assert_eq!(verdict, if fits { Verdict::Applied } else { REFUSED }, "proposal {i}");
        if kept.first().is_none_or(|first| content < *first) {
            lowest = Some(sealed);
        }
        if fits {
            kept.insert(content);
        }
        if kept.len() > 16 {
            kept.pop_last();
        }
        refused += u32::from(!fits);
    }
    assert!(refused > 0);
    // Another's leave, and a commit that loses, still find room.
    let leave = w.ada.leave_event();
    w.us.applies(&leave);
    w.ada.forgets();
    let rival = w.ada.commit_event(self_update());
    for proposal in [lowest.as_ref().unwrap(), &leave] {
        w.ann.follows(proposal);
    }
    w.commits(Who::Ann, Change::by_reference());
    assert_eq!((w.epoch(), w.us.info(&w.id).member_count), (epoch + 1, 2));
    // Who speaks on a branch outweighs the key of who made it.
    w.hears(Who::Ann, "hello");
    assert_eq!(w.us.takes(&rival).verdict, RIVAL);
}

// shows: D4-7f
#[test]
fn an_expired_key_package_is_no_verdict_on_the_commit() {
    let mut w = World::new();
    let adds = |from, until| w.ann.seals(&Handmade::adding(&w.ann, (from, until)));
    let (current, expired) = (adds(now() - 7200, now() + 3600), adds(now() - 7200, now() - 3600));
    assert_eq!(w.refuses(&current), (RejectCode::InvalidSignature, "D4-7"));
    assert_eq!(w.us.takes(&expired).verdict, Verdict::Deferred(DeferredReason::CannotJudge));
    // Kept, so it is known when it comes again; and the group goes on without it.
    assert_eq!(w.us.takes(&expired).verdict, Verdict::Duplicate);
    w.still_follows(Who::Ann);
}

/// The event log without invites; of having joined only the place, since it shows the group as it is now.
fn told(member: &mut Member) -> Vec<(i64, Option<EventBody>)> {
    let mut events = member.engine.events(0, 1000).unwrap();
    events.retain(|event| !matches!(event.body, EventBody::Invited { .. }));
    let events = events.into_iter();
    let body = |body| Some(body).filter(|body| !matches!(body, EventBody::Joined { .. }));
    events.map(|event| (event.cursor, body(event.body))).collect()
}

// shows: D6-2
/// breaks: what is said, done to what was said before, and changed between a second invite and the refusal of it stays.
#[test]
fn declining_a_second_invite_deletes_what_came_with_it() {
    // Also when what is retained does not go back to the invite any more.
    for commits in [1, 8] {
        let (mut alice, mut bob, mut carol, group) = three();
        alice.tells(&group, "old message", &mut [&mut bob]);
        bob.engine.mark_read(&group, None).unwrap();
        let old = bob.engine.messages(&group, 9, None, None).unwrap();
        alice.removes(&group, bob.key(), &mut [&mut bob, &mut carol]);
        let before = (told(&mut bob), bob.info(&group));

        let add = alice.adds(&group, bob.key_package(), &mut []);
        bob.applies(&add.welcomes[0]);
        assert_eq!(bob.info(&group).unread_count, 0, "what was read stays so");
        let mut came = vec![
            alice.says(&group, "new message"),
            alice.engine.react(&group, &old[0].id, "👍").unwrap().event,
            alice.engine.edit(&group, &old[0].id, "old message, edited").unwrap().event,
        ];
        for _ in 0..commits {
            let renamed = alice.updates(&group, &mut []);
            came.extend(renamed.event);
            came.push(alice.says(&group, "newer message"));
        }
        for event in &came {
            bob.applies(event);
        }
        assert_eq!(bob.info(&group).unread_count, 1 + commits);
        bob.engine.mark_read(&group, None).unwrap();
        assert_eq!(bob.info(&group).state, GroupState::Pending);
        let invite = bob.declines();

        assert!(bob.engine.invites().unwrap().is_empty());
        assert!(matches!(bob.engine.accept(&invite.id), Err(Error::InviteNotFound)));
        assert_eq!(bob.engine.messages(&group, 9, None, None).unwrap(), old);
        assert!(bob.engine.search("new", None, 9).unwrap().is_empty());
        assert!(bob.engine.search("edited", None, 9).unwrap().is_empty());
        let info = bob.info(&group);
        assert_eq!(info.last_message, before.1.last_message);
        assert_eq!((info.unread_count, info.state), (0, GroupState::Left));
        assert_eq!(told(&mut bob), before.0);
        // What comes after it is at none of the positions that were counted as read.
        let cursor = before.0.last().unwrap().0;
        alice.removes(&group, bob.key(), &mut []);
        let add = alice.adds(&group, bob.key_package(), &mut []);
        bob.joins(&add.welcomes);
        let said = alice.says(&group, "again");
        let [happened] = bob.applies(&said).events.try_into().unwrap();
        assert!(happened.cursor > cursor);
        assert_eq!(bob.texts(&group), ["old message", "again"]);
        assert_eq!(bob.info(&group).unread_count, 1);
    }
}

/// bob is in alice's group; a stranger's group, which bob was invited to earlier, claims its routing id.
fn hijacked() -> (Member, Member, Foreign, GroupId, EventId) {
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(Member::new);
    let group = alice.founds("g", &mut [&mut carol]);
    let package = bob.key_package();
    let mut mallory = Foreign::new();
    mallory.route = alice.info(&group).nostr_group_id;
    let fake = mallory.founds_with(&mallory.context(), &package);
    bob.applies(&fake);
    let add = alice.adds(&group, package, &mut []);
    bob.applies(&add.welcomes[0]);
    let invites = bob.engine.invites().unwrap();
    let real = invites.iter().find(|i| i.group_id == group).unwrap().id;
    let fake = invites.iter().find(|i| i.group_id != group).unwrap().id;
    bob.engine.accept(&real).unwrap();
    (alice, bob, mallory, group, fake)
}

// shows: D5-2
/// What comes too early for the group whose routing id was stolen is kept for it, whatever becomes of the other group.
#[test]
fn a_stolen_routing_id_does_not_keep_events_back() {
    type Meanwhile = fn(&mut Member, &mut Foreign, &EventId);
    let cases: [(&str, Meanwhile); 3] = [
        ("nothing", |_, _, _| ()),
        ("declined", |bob, _, fake| bob.engine.decline(fake).unwrap()),
        ("removed", |bob, mallory, _| {
            let removes = vec![mallory.leaf_of(&bob.key())];
            let change = Change { removes, path: true, ..Change::default() };
            bob.applies(&mallory.commit_event(change));
        }),
    ];
    for (which, meanwhile) in cases {
        let (mut alice, mut bob, mut mallory, group, fake) = hijacked();
        let update = alice.updates(&group, &mut []);
        let early = alice.says(&group, "early bird");
        assert_eq!(bob.takes(&early).verdict, CLOSED, "{which}");
        meanwhile(&mut bob, &mut mallory, &fake);
        assert_eq!(received(&bob.applies(event(&update))), ["early bird"], "{which}");
        assert_eq!(bob.texts(&group), ["early bird"], "{which}");
        assert_eq!(bob.takes(&early).verdict, Verdict::Duplicate, "{which}");
    }
}

// shows: 2.7-1
#[test]
fn a_leaving_member_who_is_promoted_can_step_down_and_leave() {
    let (mut alice, mut bob, mut carol, group) = three();
    let _not_delivered = carol.engine.leave(&group).unwrap();
    let promotion = alice.engine.promote(&group, &[carol.key()]).unwrap();
    bob.applies(event(&promotion));
    let outcome = carol.applies(event(&promotion));
    alice.confirms(&promotion);
    assert!(outcome.reply.is_empty(), "an admin does not ask to leave");
    assert_eq!(carol.info(&group).state, GroupState::Active);
    carol.tells(&group, "still here", &mut [&mut alice]);
    carol.demotes(&group, carol.key(), &mut [&mut alice, &mut bob]);
    let leave = carol.engine.leave(&group).unwrap();
    let [answer] = alice.applies(&leave).reply.try_into().unwrap();
    bob.applies(&leave);
    bob.applies(&answer);
    carol.applies(&answer);
    assert_eq!(carol.info(&group).state, GroupState::Left);
}
