//! Routing ids that change: an admin's commit rotates the id that relays see, and nothing is lost between the two.

use std::sync::Arc;

use mdk_core::{Config, Engine, ManualClock, NewMessage, RejectCode, Verdict, testing};
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::Routing;
use mdk_wire::{Event, Keys, NostrGroupId};

use crate::foreign::{Change, update};
use crate::foreign_commits::{Who, World, by_value, rename, self_update};
use crate::kit::{Member, RELAY, received};

fn id(n: u8) -> NostrGroupId {
    NostrGroupId::from_bytes([n; 32])
}

fn rotates(n: u8) -> Change {
    let routing = Routing::new(id(n), [RELAY.to_owned()]).encode().unwrap();
    by_value(vec![update(component_id::ROUTING, &routing)])
}

/// The ids that the engine asks relays for.
fn served(world: &mut World) -> Vec<NostrGroupId> {
    let interests = world.us.engine.interests().unwrap();
    let filter = &interests.iter().find(|i| i.filter.contains("\"kinds\":[445]")).unwrap().filter;
    let filter: serde_json::Value = serde_json::from_str(filter).unwrap();
    let list = filter["#h"].as_array().unwrap().iter();
    list.map(|id| NostrGroupId::from_hex(id.as_str().unwrap()).unwrap()).collect()
}

fn apply(world: &mut World, who: Who, change: Change) -> Event {
    let event = world.peer(who).commit_event(change);
    world.us.applies(&event);
    world.peer(who).merges();
    event
}

// shows: D1-2
#[test]
fn both_ids_are_served_while_an_epoch_of_the_old_one_is_in_the_window() {
    let mut world = World::new();
    let old = world.ann.route;
    let late = world.ann.says("under the old id");
    let too_late = world.max.says("too late");
    apply(&mut world, Who::Ann, rotates(7));
    assert_eq!(world.us.info(&world.id.clone()).nostr_group_id, id(7));
    let mut both = served(&mut world);
    both.sort();
    let mut expected = [old, id(7)];
    expected.sort();
    assert_eq!(both, expected);
    // What was said before the rotation comes after it.
    assert_eq!(received(&world.us.applies(&late)), ["under the old id"]);
    let said = world.ann.says("under the new id");
    assert_eq!(received(&world.us.applies(&said)), ["under the new id"]);
    // We speak under the new one.
    let ours = world.us.says(&world.id.clone(), "ours");
    let h = ours.tags().iter().find(|t| t[0] == "h").unwrap()[1].clone();
    assert_eq!(h, id(7).to_hex());
    assert!(world.ann.follows(&ours).is_some());
    for _ in 0..5 {
        apply(&mut world, Who::Ann, self_update());
    }
    world.us.engine.tick().unwrap();
    assert_eq!(served(&mut world), [id(7)]);
    assert_eq!(world.refuses(&too_late), (RejectCode::UnknownGroup, "D1-2"));
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
    apply(&mut world, Who::Ann, moves(NEW));
    assert_eq!(world.us.info(&world.id.clone()).relays, [NEW]);
    assert_eq!(relays(&mut world), [NEW, RELAY]);
    // Our own go where everybody is.
    let new = NewMessage { text: "here".into(), kind: 9, ..NewMessage::default() };
    assert_eq!(world.us.engine.create_message(&world.id, new).unwrap().relays, [NEW]);
    for _ in 0..5 {
        apply(&mut world, Who::Ann, self_update());
        assert_eq!(relays(&mut world)[0], NEW);
    }
    world.us.clock.advance_millis(1_000);
    world.us.engine.tick().unwrap();
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
    apply(&mut world, Who::Ann, rotates(7));
    apply(&mut world, Who::Ann, rotates(8));
    let back = Routing::new(old, [RELAY.to_owned()]).encode().unwrap();
    apply(&mut world, Who::Ann, by_value(vec![update(component_id::ROUTING, &back)]));
    assert_eq!(served(&mut world).len(), 3);
    let said = world.ann.says("home");
    assert_eq!(received(&world.us.applies(&said)), ["home"]);
    for _ in 0..5 {
        apply(&mut world, Who::Ann, self_update());
    }
    world.us.engine.tick().unwrap();
    assert_eq!(served(&mut world), [old], "it is the current one, however old");
}

/// A rotation races a rename, in both orders: whoever wins, its id is the one, and both are served while the choice can
/// still turn.
#[test]
fn a_rotation_races_a_rename() {
    for rotation_first in [true, false] {
        let clock = ManualClock::at(crate::kit::now());
        let config = Config::default();
        let engine = Engine::in_memory(Keys::generate(), config, Arc::new(clock.clone())).unwrap();
        let mut world = World::of(Member { name: "us", engine, clock }, |_, _| ());
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
        assert_eq!(served(&mut world).len(), 2);
        world.us.clock.advance_millis(1_000);
        world.us.engine.tick().unwrap();
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
    let mut ann = crate::foreign::Foreign::new();
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
