//! Routing ids that change: an admin's commit rotates the id that relays see, and nothing is lost between the two.

use mdk_core::{Error, GroupUpdate, Pending, testing};
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::Routing;
use mdk_wire::{Event, GroupId, NostrGroupId};

use crate::kit::foreign::{Change, update};
use crate::kit::foreign_commits::{Who, World, by_value, self_update};
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
    assert_eq!((&after.relays, &after.profile.name), (&before.relays, &before.profile.name));
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
    for _ in 0..2 {
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
    assert_eq!((info.relays, &info.profile.name[..]), (vec![NEW.to_owned()], "moved"));
    assert_eq!(bob.info(&group).nostr_group_id, info.nostr_group_id);
    // Other relays alone leave the id.
    let pending = alice.engine.update_group(&group, relayed_by(vec![RELAY.into()])).unwrap();
    assert_eq!(alice.confirms(&pending).nostr_group_id, info.nostr_group_id);
}

/// Two admins rotate at once: one of the two ids is the group's, for all, whatever came first.
#[test]
fn two_rotations_race() {
    for lower in [true, false] {
        let (mut alice, mut bob, mut carol, group) = three();
        alice.promotes(&group, bob.key(), &mut [&mut bob, &mut carol]);
        if (alice.key() < bob.key()) != lower {
            std::mem::swap(&mut alice, &mut bob);
        }
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
            page.into_iter().filter(|m| !m.fate.invalidated).map(|m| m.text).collect::<Vec<_>>()
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
