//! Routing ids that change: an admin's commit rotates the id that relays see, and nothing is lost between the two.

use mdk_core::{Config, Error, GroupUpdate, Pending, RejectCode, Verdict, testing};
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::Routing;
use mdk_wire::{Event, GroupId, NostrGroupId};

use crate::kit::foreign::{Change, update};
use crate::kit::foreign_commits::{Who, World, by_value, rename, self_update};
use crate::kit::{Member, RELAY, chat, event, pair, received, relayed_by, three};

fn id(n: u8) -> NostrGroupId {
    NostrGroupId::from_bytes([n; 32])
}

fn rotates(n: u8) -> Change {
    let routing = Routing::new(id(n), [RELAY.to_owned()]).encode().unwrap();
    by_value(vec![update(component_id::ROUTING, &routing)])
}

/// The ids that the engine asks relays for.
fn asked(member: &mut Member) -> Vec<NostrGroupId> {
    let interests = member.engine.interests().unwrap();
    let filter = &interests.iter().find(|i| i.filter.contains("\"kinds\":[445]")).unwrap().filter;
    let filter: serde_json::Value = serde_json::from_str(filter).unwrap();
    let list = filter["#h"].as_array().unwrap().iter();
    list.map(|id| NostrGroupId::from_hex(id.as_str().unwrap()).unwrap()).collect()
}

// shows: D1-2
#[test]
fn both_ids_are_served_while_an_epoch_of_the_old_one_is_in_the_window() {
    let mut world = World::new();
    let old = world.ann.route;
    let late = world.ann.says("under the old id");
    let too_late = world.max.says("too late");
    world.commits(Who::Ann, rotates(7));
    assert_eq!(world.us.info(&world.id.clone()).nostr_group_id, id(7));
    let mut both = asked(&mut world.us);
    both.sort();
    let mut expected = [old, id(7)];
    expected.sort();
    assert_eq!(both, expected);
    // What was said before the rotation comes after it.
    assert_eq!(received(&world.us.applies(&late)), ["under the old id"]);
    world.hears(Who::Ann, "under the new id");
    // We speak under the new one.
    let ours = world.us.says(&world.id.clone(), "ours");
    assert_eq!(route(&ours), id(7));
    assert!(world.ann.follows(&ours).is_some());
    for _ in 0..5 {
        world.commits(Who::Ann, self_update());
    }
    world.us.engine.tick().unwrap();
    assert_eq!(asked(&mut world.us), [id(7)]);
    assert_eq!(world.refuses(&too_late), (RejectCode::UnknownGroup, "D1-2"));
}

/// The id that relays see on an event.
fn route(event: &Event) -> NostrGroupId {
    let tag = event.tags().iter().find(|tag| tag[0] == "h").unwrap();
    NostrGroupId::from_hex(&tag[1]).unwrap()
}

fn relays(world: &mut World) -> Vec<String> {
    let interests = world.us.engine.interests().unwrap();
    interests.into_iter().find(|i| i.filter.contains("\"kinds\":[445]")).unwrap().relays
}

/// Who has not seen the commit speaks on the relays of before, and a rival of it goes there, too.
// shows: 2.4-16
#[test]
fn old_relays_are_served_while_a_state_that_used_them_is_retained() {
    const NEW: &str = "wss://new.example";
    let mut world = World::new();
    let route = world.ann.route;
    let moves = |to: &str| {
        let routing = Routing::new(route, [to.to_owned()]).encode().unwrap();
        by_value(vec![update(component_id::ROUTING, &routing)])
    };
    assert_eq!(relays(&mut world), [RELAY]);
    world.commits(Who::Ann, moves(NEW));
    assert_eq!(world.us.info(&world.id.clone()).relays, [NEW]);
    assert_eq!(relays(&mut world), [NEW, RELAY]);
    // Our own go where everybody is.
    assert_eq!(world.us.sends(&world.id, chat("here")).relays, [NEW]);
    for _ in 0..5 {
        world.commits(Who::Ann, self_update());
        assert_eq!(relays(&mut world)[0], NEW);
    }
    world.us.waits(1_000);
    assert_eq!(relays(&mut world), [NEW]);
}

/// An event under an id that we do not know yet is nobody's, and counts when it comes again.
#[test]
fn what_comes_under_the_new_id_before_its_commit_can_come_again() {
    let mut world = World::new();
    let commit = world.ann.commit_event(rotates(7));
    world.ann.merges();
    let said = world.ann.says("early");
    assert_eq!(world.refuses(&said), (RejectCode::UnknownGroup, "D1-2"));
    world.us.applies(&commit);
    assert_eq!(received(&world.us.applies(&said)), ["early"]);
}

#[test]
fn twice_and_back_again() {
    let mut world = World::new();
    let old = world.ann.route;
    world.commits(Who::Ann, rotates(7));
    world.commits(Who::Ann, rotates(8));
    let back = Routing::new(old, [RELAY.to_owned()]).encode().unwrap();
    world.commits(Who::Ann, by_value(vec![update(component_id::ROUTING, &back)]));
    assert_eq!(asked(&mut world.us).len(), 3);
    world.hears(Who::Ann, "home");
    for _ in 0..5 {
        world.commits(Who::Ann, self_update());
    }
    world.us.engine.tick().unwrap();
    assert_eq!(asked(&mut world.us), [old], "it is the current one, however old");
}

/// A rotation races a rename, in both orders: whoever wins, its id is the one, and both are served while the choice can
/// still turn.
#[test]
fn a_rotation_races_a_rename() {
    for rotation_first in [true, false] {
        let mut world = World::of(Member::with("us", Config::default()), |_, _| ());
        let old = world.ann.route;
        let rotation = world.ann.commit_event(rotates(7));
        let renaming = world.ada.commit_event(by_value(vec![rename("raced")]));
        world.ann.merges();
        world.ada.merges();
        let said = [world.ann.says("on the rotated one"), world.ada.says("on the renamed one")];
        let order = if rotation_first { [&rotation, &renaming] } else { [&renaming, &rotation] };
        world.us.applies(order[0]);
        world.us.takes(order[1]);
        for event in &said {
            assert!(!matches!(world.us.takes(event).verdict, Verdict::Rejected(_)));
        }
        assert_eq!(asked(&mut world.us).len(), 2);
        world.us.waits(1_000);
        let rotated = world.ann.key() < world.ada.key();
        let (winner, expected, text) = if rotated {
            (Who::Ann, id(7), "on the rotated one")
        } else {
            (Who::Ada, old, "on the renamed one")
        };
        let state = testing::state(&mut world.us.engine, &world.id).unwrap();
        let theirs = world.peer(winner).mls().epoch_authenticator().as_slice().to_vec();
        assert_eq!(state.authenticator[..], *theirs, "the lower key wins");
        assert_eq!(world.us.info(&world.id.clone()).nostr_group_id, expected);
        let page = world.us.engine.messages(&world.id, 10, None, None).unwrap();
        let valid: Vec<_> = page.iter().filter(|m| !m.invalidated).map(|m| &m.text[..]).collect();
        assert_eq!(valid, [text]);
        let next = world.peer(winner).says("and on");
        assert_eq!(received(&world.us.applies(&next)), ["and on"]);
    }
}

/// The id of somebody else's group gives nobody our events, and takes none.
#[test]
fn a_rotation_to_the_id_of_another_group() {
    let mut one = World::new();
    let route = one.ann.route;
    // The second group of the same engine rotates to the id of the first.
    let mut ann = crate::kit::foreign::Foreign::new();
    let package = one.us.key_package();
    let wrapped = ann.founds_with(&ann.context(), &package);
    one.us.joins(&[wrapped]);
    let routing = Routing::new(route, [RELAY.to_owned()]).encode().unwrap();
    let event = ann.commit_event(by_value(vec![update(component_id::ROUTING, &routing)]));
    one.us.applies(&event);
    ann.merges();
    let (first, second) = (one.ann.says("first"), ann.says("second"));
    assert_eq!(received(&one.us.applies(&second)), ["second"]);
    assert_eq!(received(&one.us.applies(&first)), ["first"]);
    assert_eq!(one.us.texts(&one.id.clone()), ["first"]);
    one.still_follows(Who::Ann);
}

const ROTATE: GroupUpdate = GroupUpdate {
    name: None,
    description: None,
    relays: None,
    rotate_routing: true,
    admins: None,
    retention: None,
    image: None,
    avatar_url: None,
    media_servers: None,
};

fn rotation(member: &mut Member, group: &GroupId) -> Pending {
    member.engine.update_group(group, ROTATE).unwrap()
}

/// A rotation of ours: old and new id, and its commit.
fn rotates_for_all(
    admin: &mut Member,
    group: &GroupId,
    others: &mut [&mut Member],
) -> [NostrGroupId; 2] {
    let (old, listened) = (admin.info(group).nostr_group_id, asked(admin));
    let pending = rotation(admin, group);
    // Those who are to follow it listen to the old one.
    assert_eq!(route(event(&pending)), old);
    assert_eq!((admin.info(group).nostr_group_id, asked(admin)), (old, listened));
    let new = admin.confirms(&pending).nostr_group_id;
    assert_ne!(new, old);
    for other in others {
        other.applies(event(&pending));
        assert_eq!(other.info(group).nostr_group_id, new);
    }
    [old, new]
}

// shows: C1-7, D1-2
#[test]
fn our_own_rotation_is_followed_and_loses_nothing() {
    let (mut alice, mut bob, group) = pair();
    let (late, too_late) = (bob.says(&group, "under the old id"), bob.says(&group, "too late"));
    let before = alice.info(&group);
    let ids = rotates_for_all(&mut alice, &group, &mut [&mut bob]);
    let [_, new] = ids;
    let after = alice.info(&group);
    assert_eq!((&after.relays, &after.name), (&before.relays, &before.name));
    for member in [&mut alice, &mut bob] {
        let (mut all, mut expected) = (asked(member), ids);
        all.sort();
        expected.sort();
        assert_eq!(all, expected);
    }
    assert_eq!(received(&alice.applies(&late)), ["under the old id"]);
    let said = [alice.says(&group, "new, of alice"), bob.says(&group, "new, of bob")];
    assert_eq!(said.each_ref().map(route), [new; 2]);
    assert_eq!(received(&bob.applies(&said[0])), ["new, of alice"]);
    assert_eq!(received(&alice.applies(&said[1])), ["new, of bob"]);
    for _ in 0..5 {
        let pending = bob.engine.self_update(&group).unwrap();
        assert_eq!(route(event(&pending)), new);
        bob.confirms(&pending);
        alice.applies(event(&pending));
    }
    for member in [&mut alice, &mut bob] {
        member.engine.tick().unwrap();
        assert_eq!(asked(member), [new]);
    }
    alice.refuses(&too_late, "D1-2");
}

#[test]
fn each_rotation_of_ours_is_drawn_anew() {
    let (mut alice, mut bob, group) = pair();
    let mut ids = vec![alice.info(&group).nostr_group_id];
    for _ in 0..4 {
        // One that is given up leaves no trace, and its id is not used again.
        let pending = rotation(&mut alice, &group);
        alice.engine.discard(pending.id).unwrap();
        assert_eq!(alice.info(&group).nostr_group_id, *ids.last().unwrap());
        let [old, new] = rotates_for_all(&mut alice, &group, &mut [&mut bob]);
        assert_eq!(old, *ids.last().unwrap());
        assert!(!ids.contains(&new) && new != id(0));
        ids.push(new);
    }
}

#[test]
fn a_rotation_goes_with_other_relays_and_brings_no_rights() {
    const NEW: &str = "wss://new.example";
    let (mut alice, mut bob, group) = pair();
    let old = alice.info(&group).nostr_group_id;
    let before = bob.digest();
    assert!(matches!(bob.engine.update_group(&group, ROTATE), Err(Error::NotAdmin)));
    assert!(bob.digest() == before);
    let before = alice.digest();
    let bad = GroupUpdate { relays: Some(vec!["http://relay.example".into()]), ..ROTATE };
    assert!(alice.engine.update_group(&group, bad).is_err());
    assert!(alice.digest() == before);

    let both = GroupUpdate { relays: Some(vec![NEW.into()]), name: Some("moved".into()), ..ROTATE };
    let pending = alice.engine.update_group(&group, both).unwrap();
    assert_eq!(pending.relays, [RELAY]);
    let info = alice.confirms(&pending);
    bob.applies(event(&pending));
    assert_ne!(info.nostr_group_id, old);
    assert_eq!((info.relays, &info.name[..]), (vec![NEW.to_owned()], "moved"));
    assert_eq!(bob.info(&group).nostr_group_id, info.nostr_group_id);
    // Other relays alone leave the id.
    let pending = alice.engine.update_group(&group, relayed_by(vec![RELAY.into()])).unwrap();
    assert_eq!(alice.confirms(&pending).nostr_group_id, info.nostr_group_id);
}

#[test]
fn who_is_invited_after_a_rotation_knows_the_new_id_alone() {
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(Member::new);
    let group = alice.founds("g", &mut [&mut bob]);
    let [_, new] = rotates_for_all(&mut alice, &group, &mut [&mut bob]);
    let pending = alice.adds(&group, carol.key_package(), &mut [&mut bob]);
    carol.joins(&pending.welcomes);
    assert_eq!(asked(&mut carol), [new]);
    let said = carol.says(&group, "hello");
    assert_eq!(route(&said), new);
    for member in [&mut alice, &mut bob] {
        assert_eq!(received(&member.applies(&said)), ["hello"]);
    }
    let [_, next] = rotates_for_all(&mut alice, &group, &mut [&mut bob, &mut carol]);
    assert_eq!(route(&carol.says(&group, "again")), next);
}

/// Two admins rotate at once: one of the two ids is the group's, for all, whatever came first.
#[test]
fn two_rotations_race() {
    for _ in 0..6 {
        let (mut alice, mut bob, mut carol, group) = three();
        alice.promotes(&group, bob.key(), &mut [&mut bob, &mut carol]);
        let (hers, his) = (rotation(&mut alice, &group), rotation(&mut bob, &group));
        let ids = [alice.confirms(&hers), bob.confirms(&his)].map(|info| info.nostr_group_id);
        let said = [alice.says(&group, "on hers"), bob.says(&group, "on his")];
        assert_eq!(said.each_ref().map(route), ids);
        let events = [event(&hers), event(&his), &said[0], &said[1]];
        for (member, order) in [(&mut alice, [1, 3]), (&mut bob, [0, 2])] {
            for i in order {
                member.takes(events[i]);
            }
        }
        for i in [1, 0, 3, 2] {
            carol.takes(events[i]);
        }
        for member in [&mut alice, &mut bob, &mut carol] {
            member.engine.tick().unwrap();
        }
        let one = alice.info(&group).nostr_group_id;
        let winner = ids.iter().position(|id| *id == one).expect("one of the two");
        let states = [&mut alice, &mut bob, &mut carol].map(|member| {
            assert_eq!(member.info(&group).nostr_group_id, one);
            assert!(asked(member).contains(&one));
            testing::state(&mut member.engine, &group).unwrap().authenticator
        });
        assert_eq!(states, [states[0]; 3]);
        // What was said under the other id is told, and not counted; who has lost speaks under that of the other.
        let valid = [&mut alice, &mut bob, &mut carol].map(|member| {
            let page = member.engine.messages(&group, 10, None, None).unwrap();
            page.into_iter().filter(|m| !m.invalidated).map(|m| m.text).collect::<Vec<_>>()
        });
        let expected = vec![["on hers", "on his"][winner].to_owned()];
        assert_eq!(valid, [expected.clone(), expected.clone(), expected]);
        let (winning, losing) =
            if winner == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let next = losing.says(&group, "and on");
        assert_eq!(route(&next), one);
        for other in [winning, &mut carol] {
            assert_eq!(received(&other.applies(&next)), ["and on"]);
        }
    }
}
