//! Faults that were found by trying to break a group: commits, leaves, invites and routes.

use std::collections::BTreeSet;

use mdk_core::{DeferredReason, Error, EventBody, GroupState, GroupUpdate, RejectCode, Verdict};
use mdk_wire::v2::component_id as id;
use mdk_wire::{ContentId, Event, EventId, GroupId};
use openmls::prelude::tls_codec::Serialize as _;

use crate::kit::foreign::{Change, Foreign, update};
use crate::kit::foreign_commits::{Handmade, Who, World, admins, by_value, self_update, vlbytes};
use crate::kit::{Member, REFUSED, RIVAL, event, now, received, three};

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
    let leave = w.max.proposes_self_remove();
    let leave = w.max.seals(&leave);
    w.us.applies(&leave);
    w.ann.follows(&leave);
    w.us.clock.advance_millis(5000);
    let [answer] = w.us.engine.tick().unwrap().reply.try_into().unwrap();
    (w, answer, junk, good)
}

// shows: C2-7
#[test]
fn a_commit_that_waits_does_not_supersede_the_automatic_one() {
    let (mut w, answer, junk, _) = answered();
    let epoch = w.epoch();
    let waits = Verdict::Deferred(DeferredReason::MissingParent);
    assert_eq!(w.us.takes(&junk).verdict, waits);
    let pending = w.us.engine.pending().unwrap();
    assert_eq!(pending.len(), 1, "the answer is still pending");
    assert!(pending[0].automatic && event(&pending[0]).id() == answer.id());
    // Others took the answer; its echo makes it true here.
    w.ann.follows(&answer);
    w.us.applies(&answer);
    assert_eq!((w.epoch(), w.ann.mls().epoch().as_u64()), (epoch + 1, epoch + 1));
    assert!(w.us.engine.pending().unwrap().is_empty());
    let said = w.ann.says("hello");
    assert_eq!(received(&w.us.applies(&said)), ["hello"]);
}

// shows: C2-7
#[test]
fn a_commit_that_applies_supersedes_the_automatic_one() {
    let (mut w, answer, _, good) = answered();
    let epoch = w.epoch();
    w.us.applies(&good);
    assert_eq!(w.epoch(), epoch + 1);
    assert!(w.us.engine.pending().unwrap().is_empty());
    // Not lost: a rival, and the lower key of the two committers wins.
    assert!(matches!(w.us.takes(&answer).verdict, RIVAL | Verdict::Applied));
    assert_eq!(w.us.takes(&answer).verdict, Verdict::Duplicate);
    assert_eq!(w.epoch(), epoch + 1);
    assert!(w.us.engine.self_update(&w.id).is_ok(), "nothing blocks the group");
}

// rule: C1-1
#[test]
fn an_automatic_commit_blocks_commits_but_not_messages() {
    for echoed in [true, false] {
        let (mut alice, mut bob, mut carol, group) = three();
        let leave = carol.engine.leave(&group).unwrap();
        let [answer] = alice.applies(&leave).reply.try_into().unwrap();
        bob.applies(&leave);
        let rename = GroupUpdate { name: Some("n".into()), ..GroupUpdate::default() };
        commit_pending(alice.engine.self_update(&group));
        commit_pending(alice.engine.leave(&group));
        commit_pending(alice.engine.update_group(&group, rename));
        commit_pending(alice.engine.promote(&group, &[bob.key()]));
        commit_pending(alice.engine.demote(&group, &[alice.key()]));
        commit_pending(alice.engine.remove_members(&group, &[bob.key()]));
        commit_pending(alice.engine.disband(&group));
        let package = Member::new("dave").key_package();
        commit_pending(alice.engine.add_members(&group, &[package], false));

        let said = alice.says(&group, "from alice");
        assert_eq!(received(&bob.applies(&said)), ["from alice"]);
        let said = bob.says(&group, "from bob");
        assert_eq!(received(&alice.applies(&said)), ["from bob"]);

        if echoed {
            alice.applies(&answer);
        } else {
            let pending = alice.engine.pending().unwrap();
            alice.confirms(&pending[0]);
            assert_eq!(alice.takes(&answer).verdict, Verdict::Duplicate);
        }
        bob.applies(&answer);
        carol.applies(&answer);
        assert_eq!(alice.info(&group).member_count, 2);
        let fresh = alice.engine.self_update(&group).unwrap();
        bob.applies(event(&fresh));
        alice.confirms(&fresh);
        let said = bob.says(&group, "after");
        assert_eq!(received(&alice.applies(&said)), ["after"]);
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

// rule: C2-5
#[test]
fn a_commit_that_a_relay_has_cannot_be_discarded() {
    let (mut alice, mut bob, _carol, group) = three();
    let update = alice.engine.self_update(&group).unwrap();
    bob.applies(event(&update));
    assert_eq!(alice.takes(event(&update)).verdict, Verdict::Duplicate);
    let before = alice.engine.digest().unwrap();
    assert!(matches!(alice.engine.discard(update.id), Err(Error::NotAllowed(_))));
    assert_eq!(alice.engine.digest().unwrap(), before);
    alice.confirms(&update);
    let said = bob.says(&group, "hi");
    assert_eq!(received(&alice.applies(&said)), ["hi"]);
    let said = alice.says(&group, "hi");
    assert_eq!(received(&bob.applies(&said)), ["hi"]);
}

// rule: 2.7-5
#[test]
fn a_flood_of_leaves_takes_its_own_share_only() {
    let mut w = World::new();
    // ada gives up its admin role, so that it may leave too.
    let policy = admins(&[w.ann.key()]);
    let demotion = w.ann.commit_event(by_value(vec![update(id::ADMIN_POLICY, &policy)]));
    w.us.applies(&demotion);
    w.ada.follows(&demotion);
    w.max.follows(&demotion);
    w.ann.merges();
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
    let leave = w.ada.proposes_self_remove();
    let leave = w.ada.seals(&leave);
    w.us.applies(&leave);
    w.ada.forgets();
    let rival = w.ada.commit_event(self_update());
    for proposal in [lowest.as_ref().unwrap(), &leave] {
        w.ann.follows(proposal);
    }
    let answer = w.ann.commit_event(Change { by_reference: true, path: true, ..Change::default() });
    w.us.applies(&answer);
    w.ann.merges();
    assert_eq!((w.epoch(), w.us.info(&w.id).member_count), (epoch + 1, 2));
    // Who speaks on a branch outweighs the key of who made it.
    let said = w.ann.says("hello");
    assert_eq!(received(&w.us.applies(&said)), ["hello"]);
    assert_eq!(w.us.takes(&rival).verdict, RIVAL);
}

/// A commit by ann that adds a KeyPackage with this lifetime. It is made by hand, since OpenMLS commits no expired
/// one; all but the confirmation tag, which is checked last, is right.
fn adds(w: &World, lifetime: (u64, u64)) -> Event {
    let mut dave = Foreign::new();
    dave.package.lifetime = lifetime;
    let package = dave.key_package().tls_serialize_detached().unwrap();
    // RFC 9420, 12.4: proposals by value, of type add; no path.
    let proposals = [&[1, 0, 1][..], &package].concat();
    let mut commit = Handmade::proposal(&w.ann, [vlbytes(&proposals), vec![0]].concat());
    commit.content_type = 3;
    commit.confirmation_tag = Some(vec![0; 32]);
    w.ann.seals(&commit.bytes(&w.ann))
}

// shows: D4-7f
#[test]
fn an_expired_key_package_is_no_verdict_on_the_commit() {
    let mut w = World::new();
    let current = adds(&w, (now() - 7200, now() + 3600));
    assert_eq!(w.refuses(&current), (RejectCode::InvalidSignature, "D4-7"));
    let expired = adds(&w, (now() - 7200, now() - 3600));
    let waits = Verdict::Deferred(DeferredReason::CannotJudge);
    assert_eq!(w.us.takes(&expired).verdict, waits);
    // Kept, so it is known when it comes again; and the group goes on without it.
    assert_eq!(w.us.takes(&expired).verdict, Verdict::Duplicate);
    w.still_follows(Who::Ann);
}

/// The event log without invites, which are shown while they can be answered.
fn happened(member: &mut Member) -> Vec<i64> {
    let events = member.engine.events(0, 1000).unwrap();
    let lasting = events.iter().filter(|e| !matches!(e.body, EventBody::Invited { .. }));
    lasting.map(|e| e.cursor).collect()
}

// shows: D6-2
#[test]
fn declining_a_second_invite_keeps_the_history() {
    let (mut alice, mut bob, mut carol, group) = three();
    let said = alice.says(&group, "old message");
    bob.applies(&said);
    let removal = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
    bob.applies(event(&removal));
    carol.applies(event(&removal));
    alice.confirms(&removal);
    assert_eq!(bob.info(&group).state, GroupState::Removed);
    let before = happened(&mut bob);

    let package = bob.key_package();
    let add = alice.engine.add_members(&group, &[package], false).unwrap();
    alice.confirms(&add);
    for welcome in &add.welcomes {
        bob.applies(welcome);
    }
    assert_eq!(bob.texts(&group), ["old message"]);
    assert_eq!(bob.info(&group).state, GroupState::Pending);
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    bob.engine.decline(&invite.id).unwrap();
    assert_eq!(bob.info(&group).state, GroupState::Left);
    assert_eq!(bob.texts(&group), ["old message"]);
    assert_eq!(happened(&mut bob), before, "what had happened stays");
    assert!(bob.engine.invites().unwrap().is_empty());
    assert!(matches!(bob.engine.accept(&invite.id), Err(Error::InviteNotFound)));
    // A third invite can still be accepted.
    let removal = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
    alice.confirms(&removal);
    let package = bob.key_package();
    let add = alice.engine.add_members(&group, &[package], false).unwrap();
    alice.confirms(&add);
    bob.joins(&add.welcomes);
    let said = alice.says(&group, "again");
    bob.applies(&said);
    assert_eq!(bob.texts(&group), ["old message", "again"]);
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
        let said = alice.says(&group, "old message");
        bob.applies(&said);
        bob.engine.mark_read(&group, None).unwrap();
        let old = bob.engine.messages(&group, 9, None, None).unwrap();
        let removal = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
        bob.applies(event(&removal));
        carol.applies(event(&removal));
        alice.confirms(&removal);
        let before = (told(&mut bob), bob.info(&group));

        let add = alice.engine.add_members(&group, &[bob.key_package()], false).unwrap();
        alice.confirms(&add);
        bob.applies(&add.welcomes[0]);
        assert_eq!(bob.info(&group).unread_count, 0, "what was read stays so");
        let mut came = vec![
            alice.says(&group, "new message"),
            alice.engine.react(&group, &old[0].id, "👍").unwrap().event,
            alice.engine.edit(&group, &old[0].id, "old message, edited").unwrap().event,
        ];
        for _ in 0..commits {
            let renamed = alice.engine.self_update(&group).unwrap();
            alice.confirms(&renamed);
            came.extend(renamed.event);
            came.push(alice.says(&group, "newer message"));
        }
        for event in &came {
            bob.applies(event);
        }
        assert_eq!(bob.info(&group).unread_count, 1 + commits);
        bob.engine.mark_read(&group, None).unwrap();
        let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
        bob.engine.decline(&invite.id).unwrap();

        assert_eq!(bob.engine.messages(&group, 9, None, None).unwrap(), old);
        assert!(bob.engine.search("new", None, 9).unwrap().is_empty());
        assert!(bob.engine.search("edited", None, 9).unwrap().is_empty());
        let info = bob.info(&group);
        assert_eq!(info.last_message, before.1.last_message);
        assert_eq!((info.unread_count, info.state), (0, GroupState::Left));
        assert_eq!(told(&mut bob), before.0);
        // What comes after it is at none of the positions that were counted as read.
        let cursor = before.0.last().unwrap().0;
        let add = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
        alice.confirms(&add);
        let add = alice.engine.add_members(&group, &[bob.key_package()], false).unwrap();
        alice.confirms(&add);
        bob.joins(&add.welcomes);
        let said = alice.says(&group, "again");
        let [happened] = bob.applies(&said).events.try_into().unwrap();
        assert!(happened.cursor > cursor);
        assert_eq!(bob.texts(&group), ["old message", "again"]);
        assert_eq!(bob.info(&group).unread_count, 1);
    }
}

// shows: D6-2
#[test]
fn declining_a_first_invite_deletes_all_of_it() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut []);
    let add = alice.engine.add_members(&group, &[bob.key_package()], false).unwrap();
    alice.confirms(&add);
    bob.applies(&add.welcomes[0]);
    let early = alice.says(&group, "before the answer");
    bob.applies(&early);
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    bob.engine.decline(&invite.id).unwrap();
    assert!(matches!(bob.engine.group(&group), Err(Error::GroupNotFound)));
    assert!(matches!(bob.engine.messages(&group, 9, None, None), Err(Error::GroupNotFound)));
    assert!(bob.engine.groups(None).unwrap().is_empty());
    assert!(bob.engine.invites().unwrap().is_empty());
    assert!(bob.engine.events(0, 1000).unwrap().is_empty(), "no event speaks of it");
    assert!(bob.engine.search("before", None, 9).unwrap().is_empty());
}

/// bob is in alice's group; a stranger's group, which bob was invited to earlier, claims its routing id.
fn hijacked() -> (Member, Member, Foreign, GroupId, EventId) {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let mut carol = Member::new("carol");
    let group = alice.founds("g", &mut [&mut carol]);
    let package = bob.key_package();
    let mut mallory = Foreign::new();
    mallory.route = alice.info(&group).nostr_group_id;
    let fake = mallory.founds_with(&mallory.context(), &package);
    bob.applies(&fake);
    let add = alice.engine.add_members(&group, &[package], false).unwrap();
    alice.confirms(&add);
    bob.applies(&add.welcomes[0]);
    let invites = bob.engine.invites().unwrap();
    let real = invites.iter().find(|i| i.group_id == group).unwrap().id;
    let fake = invites.iter().find(|i| i.group_id != group).unwrap().id;
    bob.engine.accept(&real).unwrap();
    (alice, bob, mallory, group, fake)
}

// shows: D5-2
#[test]
fn a_stolen_routing_id_does_not_keep_events_back() {
    let (mut alice, mut bob, _, group, _) = hijacked();
    let update = alice.engine.self_update(&group).unwrap();
    alice.confirms(&update);
    let early = alice.says(&group, "early bird");
    let waits = Verdict::Deferred(DeferredReason::Undecryptable);
    assert_eq!(bob.takes(&early).verdict, waits);
    assert_eq!(received(&bob.applies(event(&update))), ["early bird"]);
    assert_eq!(bob.texts(&group), ["early bird"]);
    assert_eq!(bob.takes(&early).verdict, Verdict::Duplicate);
}

// shows: D5-2
#[test]
fn what_was_held_under_a_stolen_routing_id_survives_the_decline() {
    let (mut alice, mut bob, _, group, fake) = hijacked();
    let update = alice.engine.self_update(&group).unwrap();
    alice.confirms(&update);
    let early = alice.says(&group, "early bird");
    let waits = Verdict::Deferred(DeferredReason::Undecryptable);
    assert_eq!(bob.takes(&early).verdict, waits);
    bob.engine.decline(&fake).unwrap();
    assert_eq!(received(&bob.applies(event(&update))), ["early bird"]);
    assert_eq!(bob.texts(&group), ["early bird"]);
}

// shows: D5-2
#[test]
fn what_was_held_under_a_stolen_routing_id_survives_a_removal() {
    let (mut alice, mut bob, mut mallory, group, _) = hijacked();
    let update = alice.engine.self_update(&group).unwrap();
    alice.confirms(&update);
    let early = alice.says(&group, "early bird");
    let waits = Verdict::Deferred(DeferredReason::Undecryptable);
    assert_eq!(bob.takes(&early).verdict, waits);
    let removes = vec![mallory.leaf_of(&bob.key())];
    let removal = mallory.commit_event(Change { removes, path: true, ..Change::default() });
    bob.applies(&removal);
    assert_eq!(received(&bob.applies(event(&update))), ["early bird"]);
    assert_eq!(bob.texts(&group), ["early bird"]);
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
    let said = carol.says(&group, "still here");
    alice.applies(&said);
    let demotion = carol.engine.demote(&group, &[carol.key()]).unwrap();
    alice.applies(event(&demotion));
    bob.applies(event(&demotion));
    carol.confirms(&demotion);
    let leave = carol.engine.leave(&group).unwrap();
    let [answer] = alice.applies(&leave).reply.try_into().unwrap();
    bob.applies(&leave);
    bob.applies(&answer);
    carol.applies(&answer);
    assert_eq!(carol.info(&group).state, GroupState::Left);
}
