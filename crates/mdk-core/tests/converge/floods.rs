//! Floods by hostile members and by strangers: what is kept stays within bounds, in rows, on disk and in memory, and
//! honest traffic goes on.
//!
//! The bounds, per group: 8,192 events that nothing opens and 16 MiB of them; 256 opened handshakes without a place; 8
//! rival tips in whole states, and 256 rivals in rows (crowds.rs); 16 proposals of an account in an epoch; 4 Welcomes that wait. Per account: 16 unanswered invites of one inviter, 256 of all strangers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mdk_core::{Config, DeferredReason, Engine, EventBody, ManualClock, Verdict, testing};
use mdk_store::{DatabaseKey, HeldRow, Loss, OpenOptions, Store, StoreError};
use mdk_wire::budget::group::MAX_EPOCHS_TOLD;
use mdk_wire::v2::components::Profile;
use mdk_wire::{Event, EventId, GroupId, Keys, NostrGroupId, Secret};

use crate::kit::foreign_commits::{
    Handmade, Who, World, by_value, profile, rename, self_update, vlbytes,
};
use crate::kit::fork::Filed;
use crate::kit::steps::so_far;
use crate::kit::{self, Member, REFUSED, folder, received, shares, strays};

const MIB: u64 = 1 << 20;

/// A world whose engine has its database in a file.
fn world(folder: &Path) -> (World, PathBuf) {
    let Filed { member, path, .. } = Filed::new(folder, "us", 1);
    (World::of(member, |_, _| ()), path)
}

/// As `world`, with another number of events that may be held.
fn world_that_holds(folder: &Path, events: u32) -> (World, PathBuf) {
    let path = folder.join("us.db");
    (World::of(opened(&path, Keys::generate(), events), |_, _| ()), path)
}

fn opened(path: &Path, keys: Keys, events: u32) -> Member {
    let clock = ManualClock::at(kit::now());
    let (mut config, options) = (Config::default(), OpenOptions::default());
    (config.max_held_events, config.rotate_key_packages) = (events, false);
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let clocks = Arc::new(clock.clone());
    let engine = Engine::open(path, keys, &key, &options, config, clocks).unwrap();
    Member { name: "us", engine, clock }
}

/// The database with its log.
fn on_disk(path: &Path) -> u64 {
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    size(path.to_owned()) + size(PathBuf::from(format!("{}-wal", path.display())))
}

/// Bytes of this process in memory. Who measures it must be alone in the process.
fn in_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn noise(route: &NostrGroupId, size: usize) -> Event {
    strays::noise(route, size, kit::now())
}

fn takes(us: &mut Member, events: &[Event]) -> Vec<Verdict> {
    us.takes_all(events).into_iter().map(|outcome| outcome.verdict).collect()
}

/// A message and a commit of an honest admin, and time for what it brings.
fn honest_traffic(world: &mut World) {
    // (the same words in the same second would be the same message)
    let words = format!("honest in {}", world.epoch());
    let text = world.ann.says(&words);
    assert_eq!(received(&world.us.applies(&text)), [words]);
    let commit = world.ann.commit_event(by_value(vec![rename("honest")]));
    world.us.applies(&commit);
    world.ann.merges();
    world.us.clock.advance_millis(1_000);
    world.us.engine.tick().unwrap();
    let state = testing::state(&mut world.us.engine, &world.id).unwrap();
    assert_eq!(state.authenticator[..], *world.ann.mls().epoch_authenticator().as_slice());
}

// rule: D1-6
#[test]
fn events_that_nothing_opens_are_bounded_in_number() {
    if !shares::alone(events_that_nothing_opens_are_bounded_in_number) {
        return;
    }
    let place = folder();
    assert_eq!(Config::default().max_held_events, 8_192);
    let (mut world, path) = world_that_holds(place.path(), 1_000);
    let before = in_memory();
    let mut refused = 0;
    for _ in 0..8 {
        let batch: Vec<Event> = (0..200).map(|_| noise(&world.ann.route, 100)).collect();
        refused += takes(&mut world.us, &batch).iter().filter(|v| **v == REFUSED).count();
        honest_traffic(&mut world);
    }
    assert_eq!(refused, 1_600 - 1_000);
    assert_eq!(testing::watch(&mut world.us.engine, &world.id).unwrap().raw, 1_000);
    assert!(on_disk(&path) < 12 * MIB, "{} MiB", on_disk(&path) / MIB);
    assert!(in_memory().saturating_sub(before) < 128 * MIB);
    // The share is free again after a month.
    world.us.clock.advance_millis(31 * 86_400_000);
    world.us.engine.tick().unwrap();
    assert_eq!(testing::watch(&mut world.us.engine, &world.id).unwrap().raw, 0);
}

// rule: D1-6
#[test]
fn events_that_nothing_opens_are_bounded_in_size() {
    let place = folder();
    let (mut world, path) = world(place.path());
    let mut refused = 0;
    for _ in 0..12 {
        let batch: Vec<Event> = (0..25).map(|_| noise(&world.ann.route, 60_000)).collect();
        refused += takes(&mut world.us, &batch).iter().filter(|v| **v == REFUSED).count();
    }
    honest_traffic(&mut world);
    let kept = testing::watch(&mut world.us.engine, &world.id).unwrap().raw;
    assert_eq!(kept + refused, 300);
    assert!((200..210).contains(&kept), "16 MiB of 80,400 bytes each: {kept}");
    assert!(on_disk(&path) < 48 * MIB, "{} MiB", on_disk(&path) / MIB);
}

// shows: D7-4
/// A member commits without end, and the application reads nothing meanwhile: of a group the log has so many changes of the
/// epoch, and they lead without a gap from where we came in to where we are.
#[test]
fn who_commits_without_end_fills_no_log() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    let began = bob.info(&group).epoch;
    let beyond = 20;
    let mut last = 0;
    for n in 0..MAX_EPOCHS_TOLD + beyond {
        if n == beyond / 2 {
            let said = alice.says(&group, "in between");
            bob.applies(&said);
        }
        alice.clock.advance_millis(10_000);
        let commit = alice.engine.self_update(&group).unwrap();
        alice.confirms(&commit);
        bob.applies(&commit.event.unwrap());
        last = alice.info(&group).epoch;
    }
    let log = bob.engine.events(0, 100_000).unwrap();
    assert!(log.iter().map(|event| event.cursor).is_sorted());
    let steps: Vec<(u64, u64)> = log
        .iter()
        .filter_map(|event| match event.body {
            EventBody::EpochChanged { old, new, .. } => Some((old, new)),
            _ => None,
        })
        .collect();
    assert_eq!(steps.len(), MAX_EPOCHS_TOLD as usize);
    assert_eq!((steps[0].0, steps.last().unwrap().1), (began, last));
    assert!(steps.windows(2).all(|two| two[0].1 == two[1].0), "{steps:?}");
    assert!(log.iter().any(|event| matches!(event.body, EventBody::MessageReceived { .. })));
}

/// A commit by max that says what it likes; `change` breaks it. The number makes each another one.
fn forged(world: &World, n: u16, change: impl FnOnce(&mut Handmade)) -> Event {
    let mut commit = Handmade::profile(&world.max, &profile(&format!("forged {n}")));
    change(&mut commit);
    world.max.seals(&commit.bytes(&world.max))
}

/// By a member, so all of them are opened: for no known state, for epochs to come, with a wrong signature, unauthorized.
#[test]
fn invalid_commits_are_bounded() {
    let place = folder();
    let (mut world, path) = world(place.path());
    let count = 300u16;
    let tip = world.epoch();
    let kept = |world: &mut World| testing::watch(&mut world.us.engine, &world.id).unwrap();
    // Made on a state of this epoch that nobody has.
    let batch: Vec<Event> = (0..count).map(|n| forged(&world, n, |c| c.break_tag = true)).collect();
    let verdicts = takes(&mut world.us, &batch);
    assert_eq!(verdicts.iter().filter(|v| **v == REFUSED).count(), usize::from(count) - 256);
    assert_eq!(kept(&mut world).inputs, 256);
    // Refused, and forgotten.
    let wrong: Vec<Event> =
        (0..count).map(|n| forged(&world, n, |c| c.break_signature = true)).collect();
    assert!(takes(&mut world.us, &wrong).iter().all(|v| matches!(v, Verdict::Rejected(_))));
    let forbidden: Vec<Event> = (0..20)
        .map(|n| {
            let change = by_value(vec![rename(&format!("by max {n}"))]);
            let event = world.max.commit_event(change);
            world.max.forgets();
            event
        })
        .collect();
    assert!(takes(&mut world.us, &forbidden).iter().all(|v| matches!(v, Verdict::Rejected(_))));
    assert_eq!(kept(&mut world).inputs, 256);
    // Of an epoch to come: they wait as they came, within the share of what nothing opens.
    let early: Vec<Event> =
        (0..count).map(|n| forged(&world, n, |c| c.epoch = tip + 900)).collect();
    takes(&mut world.us, &early);
    assert_eq!(kept(&mut world).raw, usize::from(count));
    // Honest traffic goes on, and what claimed those epochs is forgotten with them.
    for _ in 0..7 {
        honest_traffic(&mut world);
    }
    assert_eq!(kept(&mut world).inputs, 0);
    assert!(kept(&mut world).states.len() <= 6);
    assert!(on_disk(&path) < 16 * MIB, "{} MiB", on_disk(&path) / MIB);
}

// rule: E3-3
/// Valid ones, on every epoch of the window, with children: the eight best tips stay, and an admin's commits win.
#[test]
fn valid_rivals_are_bounded() {
    let place = folder();
    let (mut world, path) = world(place.path());
    for _ in 0..8 {
        let mut flood = Vec::new();
        for _ in 0..12 {
            flood.push(world.max.commit_event(self_update()));
            world.max.forgets();
        }
        let commit = world.ann.commit_event(by_value(vec![rename("honest")]));
        takes(&mut world.us, &flood[..6]);
        world.us.takes(&commit);
        takes(&mut world.us, &flood[6..]);
        world.max.follows(&commit);
        world.ann.merges();
        let watch = testing::watch(&mut world.us.engine, &world.id).unwrap();
        assert!(watch.states.len() <= 6 + 1 + 8, "{}", watch.states.len());
        assert!(watch.inputs == 0);
        world.us.clock.advance_millis(1_000);
        world.us.engine.tick().unwrap();
        let state = testing::state(&mut world.us.engine, &world.id).unwrap();
        assert_eq!(state.authenticator[..], *world.ann.mls().epoch_authenticator().as_slice());
    }
    world.us.clock.advance_millis(1_000);
    honest_traffic(&mut world);
    assert!(on_disk(&path) < 16 * MIB, "{} MiB", on_disk(&path) / MIB);
    // Everything that competed is gone with its epochs.
    for _ in 0..6 {
        honest_traffic(&mut world);
    }
    world.still_follows(Who::Ann);
    let watch = testing::watch(&mut world.us.engine, &world.id).unwrap();
    assert!(watch.states.iter().all(|state| state.followed));
}

/// What no state takes is tried once, not after every commit.
fn waits_at_no_cost(forge: impl Fn(&World, u16) -> Event) {
    let steps_with = |count: u16| {
        let place = folder();
        let (mut world, _) = world(place.path());
        let batch: Vec<Event> = (0..count).map(|n| forge(&world, n)).collect();
        let missing = Verdict::Deferred(DeferredReason::MissingParent);
        assert!(takes(&mut world.us, &batch).iter().all(|verdict| *verdict == missing));
        // (the first of the commits ends no pass with these in it)
        honest_traffic(&mut world);
        let before = testing::mls_steps();
        honest_traffic(&mut world);
        let steps = testing::mls_steps() - before;
        let kept = testing::watch(&mut world.us.engine, &world.id).unwrap().inputs;
        assert_eq!(kept, usize::from(count));
        steps
    };
    let (none, many) = (steps_with(0), steps_with(256));
    assert!(many < 2 * none, "{none} steps with none that waits, {many} with 256");
}

// shows: D5-2
#[test]
fn commits_of_a_state_that_nobody_has_wait_at_no_cost() {
    waits_at_no_cost(|world, n| {
        let settings = Profile { name: format!("{n}"), description: "d".repeat(4_000) };
        let mut commit = Handmade::profile(&world.max, &settings.encode().unwrap());
        commit.break_tag = true;
        world.max.seals(&commit.bytes(&world.max))
    });
}

// rule: D5-3
#[test]
fn commits_to_proposals_that_nobody_made_wait_at_no_cost() {
    waits_at_no_cost(|world, n| {
        let nobodys = n.to_be_bytes().repeat(16);
        let reference = [vec![2], vlbytes(&nobodys)].concat();
        world.max.seals(&Handmade::commit(&world.max, &reference).bytes(&world.max))
    });
}

// rule: D1-6
/// What is refused for want of room costs the same, however much is held.
#[test]
fn what_is_refused_costs_the_same_however_much_is_held() {
    let steps_with = |held: u32| {
        let place = folder();
        let (world, path) = world_that_holds(place.path(), held);
        let World { ann, us, id, .. } = world;
        let keys = testing::keys(&us.engine);
        us.engine.close().unwrap();
        fill(&path, &id, held);
        let mut us = opened(&path, keys, held);
        // (what is read once is read by now)
        let mut refused = || {
            let before = so_far(&mut us.engine);
            let batch: Vec<Event> = (0..20).map(|_| noise(&ann.route, 100)).collect();
            assert!(takes(&mut us, &batch).iter().all(|verdict| *verdict == REFUSED));
            so_far(&mut us.engine) - before
        };
        refused();
        refused()
    };
    let (few, many) = (steps_with(250), steps_with(6_000));
    assert!(few > 0 && many < 3 * few, "{few} steps with 250 held, {many} with 6,000");
}

/// Makes a group hold events, behind the engine's back.
fn fill(path: &Path, group: &GroupId, events: u32) {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    let filled: Result<(), StoreError> = store.write(|tx| {
        for n in 0..events {
            let row = HeldRow {
                event_id: EventId::from_bytes(
                    [&n.to_be_bytes()[..], &[0; 28]].concat().try_into().unwrap(),
                ),
                group: group.clone(),
                event_json: "x".repeat(1_900),
                received_at: kit::now(),
                loss: Loss::Possible,
                closed: true,
                source: 0,
            };
            assert!(tx.hold(&row, events)?);
        }
        Ok(())
    });
    filled.unwrap();
}
