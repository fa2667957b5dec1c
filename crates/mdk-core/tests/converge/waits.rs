//! What waits costs nothing as long as nothing can have become of it: a member, or a stranger, may make much of it wait.

use mdk_core::{Config, DeferredReason, Verdict, testing};
use mdk_wire::{Event, OsRandom, group_message};

use crate::kit::foreign_commits::{Handmade, World, by_value, profile, rename};
use crate::kit::steps::so_far;
use crate::kit::strays::{self, lost};
use crate::kit::{self, Member, received};

/// How far ahead a message may be here.
const FORWARD: u32 = 20;

/// A group that has left the epoch in which we came.
fn world() -> World {
    let mut config = Config::default();
    (config.rotate_key_packages, config.ratchet.maximum_forward_distance) = (false, FORWARD);
    let mut world = World::of(Member::with("us", config), |_, _| ());
    for _ in 0..7 {
        let commit = world.ann.commit_event(by_value(vec![rename("on")]));
        world.us.applies(&commit);
        world.max.follows(&commit);
        world.ann.merges();
        world.us.waits(1_000);
    }
    world
}

fn takes(world: &mut World, events: &[Event]) -> Vec<Verdict> {
    world.us.takes_all(events).into_iter().map(|outcome| outcome.verdict).collect()
}

/// The steps that some ticks take, with this that waits.
fn tick_with(make: impl Fn(&mut World) -> Vec<Event>, reason: DeferredReason) -> (World, u64) {
    let mut world = world();
    let events = make(&mut world);
    let waits = Verdict::Deferred(reason);
    assert!(takes(&mut world, &events).iter().all(|verdict| *verdict == waits));
    world.us.waits(1_000);
    let before = so_far(&mut world.us.engine);
    (0..10).for_each(|_| drop(world.us.waits(1_000)));
    let steps = so_far(&mut world.us.engine) - before;
    assert_eq!(testing::watch(&mut world.us.engine, &world.id).unwrap().raw, events.len());
    (world, steps)
}

fn costs_nothing(
    make: impl Fn(&mut World, u16) -> Vec<Event>,
    reason: DeferredReason,
    (few, many): (u16, u16),
) -> World {
    let (_, short) = tick_with(|world| make(world, few), reason);
    let (world, long) = tick_with(|world| make(world, many), reason);
    assert!(
        short > 0 && long < 2 * short,
        "{short} steps with {few} that wait, {long} with {many}"
    );
    world
}

// shows: F1-5, D1-6
/// What nothing opens is read by no tick. What comes to be older than all that is retained is reported when everything
/// has been given, once.
#[test]
fn noise_costs_no_tick_anything_and_is_reported_when_it_is_old() {
    let now = kit::now();
    let noise = |world: &World, at: u64| strays::noise(&world.ann.route, 300, at);
    let many = |world: &mut World, n: u16| (0..n).map(|_| noise(world, now + 100_000)).collect();
    let mut world = costs_nothing(many, DeferredReason::Undecryptable, (100, 2_500));
    world.us.clock.advance_millis(60_000);
    let mut told = Vec::new();
    for _ in 0..7 {
        let ann = &mut world.ann;
        let made = ann.commits(by_value(vec![rename("later")])).commit;
        let (key, route) = (ann.epoch_key(), ann.route);
        let commit = group_message::seal(&made, &key, &route, now + 200_000, None, &mut OsRandom);
        world.us.applies(&commit.unwrap());
        world.ann.merges();
        told.push(lost(&world.us.waits(1_000)));
    }
    assert_eq!(told.concat(), [0; 0], "a commit that they wait for may still come: {told:?}");
    let settles = |world: &mut World| lost(&world.us.engine.settle().unwrap());
    assert_eq!(settles(&mut world), [2_500]);
    // One more, which came too late from the beginning.
    let late = noise(&world, now + 100_001);
    takes(&mut world, &[late]);
    assert_eq!(lost(&world.us.waits(1_000)), [0; 0]);
    assert_eq!(settles(&mut world), [1]);
    assert_eq!(settles(&mut world), [0; 0]);
}

// shows: D2-1, D5-2
/// Commits of a member that claim epochs far ahead are opened once.
#[test]
fn what_claims_an_epoch_to_come_costs_no_tick_anything() {
    let forged = |world: &mut World, count: u16| {
        let ahead = world.epoch() + 900;
        let forge = |n: u16| {
            let mut commit = Handmade::profile(&world.max, &profile(&format!("forged {n}")));
            commit.epoch = ahead;
            world.max.seals(&commit.bytes(&world.max))
        };
        (0..count).map(forge).collect()
    };
    costs_nothing(forged, DeferredReason::FutureEpoch, (20, 400));
}

// shows: D2-7
/// Messages too far ahead of what was read of their sender are tried when more was read of it, the first one first.
#[test]
fn what_is_too_far_ahead_costs_no_tick_anything_and_comes_when_it_can() {
    let far = |world: &mut World, count: u16| {
        let (first, count) = (u16::try_from(FORWARD + 5).unwrap(), count);
        let all: Vec<Event> =
            (0..first + count).map(|n| world.max.says(&format!("{n:03}"))).collect();
        EARLIER.with_borrow_mut(|earlier| *earlier = all[..usize::from(first)].to_vec());
        all[usize::from(first)..].to_vec()
    };
    let mut world = costs_nothing(far, DeferredReason::FutureGeneration, (20, 300));
    // Another's message changes nothing.
    let said = world.ann.says("meanwhile");
    assert_eq!(received(&world.us.applies(&said)), ["meanwhile"]);
    assert!(world.us.waits(1_000).events.is_empty());
    let mut texts = Vec::new();
    for event in EARLIER.take() {
        texts.extend(received(&world.us.applies(&event)));
    }
    texts.extend(received(&world.us.waits(1_000)));
    let expected: Vec<String> = (0..FORWARD + 305).map(|n| format!("{n:03}")).collect();
    assert_eq!(texts, expected);
    assert_eq!(testing::watch(&mut world.us.engine, &world.id).unwrap().raw, 0);
}

thread_local! {
    /// What comes before the messages that wait.
    static EARLIER: std::cell::RefCell<Vec<Event>> = const { std::cell::RefCell::new(Vec::new()) };
}

// shows: E5-5
/// A branch that lost is known for as long as nobody commits. Who speaks meanwhile is read once, not with each message.
#[test]
fn a_message_costs_the_same_however_much_was_said_since_a_fork() {
    let mut world = world();
    let rival = world.max.commit_event(by_value(Vec::new()));
    world.max.forgets();
    let commit = world.ann.commit_event(by_value(vec![rename("wins")]));
    world.us.applies(&commit);
    world.us.takes(&rival);
    world.ann.merges();
    world.max.follows(&commit);
    world.us.waits(1_000);
    let watch = testing::watch(&mut world.us.engine, &world.id).unwrap();
    assert!(watch.states.iter().any(|state| !state.followed));
    let mut steps = Vec::new();
    for (round, filling) in [10, 1_500].into_iter().enumerate() {
        for n in 0..filling {
            let text = world.ann.says(&format!("{round} {n} {}", "x".repeat(500)));
            world.us.applies(&text);
        }
        world.us.waits(1_000);
        let said: Vec<Event> = (0..20).map(|n| world.ann.says(&format!("{round} {n}"))).collect();
        let before = so_far(&mut world.us.engine);
        said.iter().for_each(|text| drop(world.us.applies(text)));
        steps.push(so_far(&mut world.us.engine) - before);
    }
    // (reading all of it each time would be more than ten times as much)
    assert!(steps[1] < 3 * steps[0], "{steps:?}");
    // One more account only makes the winner stronger.
    let text = world.max.says("me too");
    world.us.applies(&text);
    assert!(!testing::watch(&mut world.us.engine, &world.id).unwrap().pass_open);
}
