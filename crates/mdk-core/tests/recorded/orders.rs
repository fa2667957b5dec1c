//! Recorded v2 traffic in other orders than the recorded one: late, early, doubled. Within the window the order changes
//! nothing: the seat ends where it ended when it was recorded, with the same payloads.
//!
//! `recorded_orders` of tests/sampling.json says how many orders of each story.

use mdk_core::testing;
use serde_json::Value;

use crate::kit::dice::Dice;
use crate::kit::recorded::{Seat, clock_is_recorded, list, load, number, text};
use crate::kit::telling::{Telling, invited, tell};
use crate::kit::{recorded, shares};
use crate::sampling;

/// Tells a story in all orders that are asked for, on all cores. `load` reads it, once in each process.
fn in_seeded_orders<T>(test: impl Fn(), load: impl Fn() -> T, tell: impl Fn(&T, u64)) {
    if !clock_is_recorded() {
        return;
    }
    let count = sampling::count("recorded_orders");
    let Some((from, step)) = shares::own() else {
        return shares::out(test, usize::try_from(count).unwrap());
    };
    let story = load();
    let seeds = sampling::seeds("recorded_orders").into_iter();
    seeds.skip(from).step_by(step).for_each(|seed| tell(&story, seed));
}

impl Dice {
    /// Each event comes up to five places late, one in six twice.
    fn order(&mut self, events: &[u64]) -> Vec<u64> {
        let mut places: Vec<(usize, u64)> = Vec::new();
        for (at, event) in events.iter().enumerate() {
            places.push((at + self.below(6), *event));
            if self.below(6) == 0 {
                places.push((at + self.below(12), *event));
            }
        }
        places.sort_by_key(|(place, _)| *place);
        places.into_iter().map(|(_, event)| event).collect()
    }
}

/// Gives a seat these events of its story. Sometimes a pass ends between two of them.
fn gives(seat: &mut Seat, story: &Value, order: &[u64], mut at: u64, dice: &mut Dice) {
    seat.may_answer = true;
    for event in order {
        at += dice.below(2) as u64;
        seat.takes(&list(&story["events"])[usize::try_from(*event).unwrap()]["event"], at);
    }
    seat.settles();
}

/// The history has these payloads, in whatever order, but for what their author deleted: that is blank, whether it came
/// before or after.
fn has(seat: &mut Seat, expected: &[String], seed: u64) {
    let stored = testing::history(&mut seat.engine).unwrap();
    let deleted = stored.iter().filter(|row| row.json.is_none()).count();
    let mut stored: Vec<String> = stored.into_iter().filter_map(|row| row.json).collect();
    assert_eq!(stored.len() + deleted, expected.len(), "seed {seed}");
    assert!(stored.iter().all(|json| expected.contains(json)), "seed {seed}");
    stored.sort();
    stored.dedup();
    assert_eq!(stored.len() + deleted, expected.len(), "seed {seed}: each once");
}

#[test]
fn main_in_seeded_orders() {
    let load = || (load("story-main.json"), tell("story-main.json", "dave", &Telling::default()));
    in_seeded_orders(main_in_seeded_orders, load, |(story, told), seed| {
        // Up to his removal: what comes behind that is not for him.
        let seqs: Vec<u64> =
            told.verdicts.keys().copied().filter(|seq| (14..42).contains(seq)).collect();
        let steps = list(&story["steps"]);
        let before = steps.iter().find(|step| step["name"] == "msg-after-race2").unwrap();
        let expected: Vec<String> = told.payloads.iter().map(|r| r.json.clone()).collect();
        let mut dice = Dice(seed * 7919);
        let order = dice.order(&seqs);
        let mut seat = invited(story, seed.is_multiple_of(8).then_some(3));
        gives(&mut seat, story, &order, number(story, "recorded_at"), &mut dice);
        seat.stands_at(&before["members"]["dave"]["state"], &format!("seed {seed}"));
        has(&mut seat, &expected, seed);
        // Then he is removed, and that is the end for him in every order, too.
        let (at, removal) = (seat.clock_at(), [42, 43]);
        let removal = dice.order(&removal);
        gives(&mut seat, story, &removal, at, &mut dice);
        let last = &list(&story["steps"]).last().unwrap()["members"]["dave"]["state"];
        seat.stands_at(last, &format!("seed {seed}, removed"));
        has(&mut seat, &expected, seed);
    });
}

#[test]
fn simple_in_seeded_orders() {
    let load =
        || (load("story-simple.json"), tell("story-simple.json", "bob", &Telling::default()));
    in_seeded_orders(simple_in_seeded_orders, load, |(story, told), seed| {
        let expected: Vec<String> = told.payloads.iter().map(|r| r.json.clone()).collect();
        let (welcome, rest): (Vec<u64>, Vec<u64>) =
            told.verdicts.keys().copied().partition(|seq| *seq < 7);
        let mut dice = Dice(seed * 7919);
        let order = dice.order(&rest);
        let at = number(story, "recorded_at");
        let group = text(story, "mls_group_id_hex");
        let restart = seed.is_multiple_of(8).then_some(3);
        let mut seat = Seat::take(&story["members"]["bob"], group, at, restart);
        gives(&mut seat, story, &[welcome, order].concat(), at, &mut dice);
        let last = &list(&story["steps"]).last().unwrap()["members"]["bob"]["state"];
        seat.stands_at(last, &format!("seed {seed}"));
        has(&mut seat, &expected, seed);
    });
}

#[test]
fn live_in_seeded_orders() {
    in_seeded_orders(
        live_in_seeded_orders,
        || load("story-live.json"),
        |story, seed| {
            let results = list(&story["listener_results"]);
            let events: Vec<u64> = results.iter().map(|result| number(result, "index")).collect();
            let app =
                |result: &Value| text(result, "result").strip_prefix("app ").map(str::to_owned);
            let expected: Vec<String> = results.iter().filter_map(app).collect();
            let mut dice = Dice(seed * 7919);
            let order = dice.order(&events[1..]);
            let group = text(&results[0], "mls_group_id_hex");
            let restart = seed.is_multiple_of(8).then_some(3);
            let first = number(&list(&story["events"])[0], "at") / 1000;
            let mut seat = Seat::take(&story["listener"], group, first, restart);
            // (all of it comes at once, after the last of it was made)
            let at = number(list(&story["events"]).last().unwrap(), "at") / 1000;
            gives(&mut seat, story, &[&events[..1], &order].concat(), at, &mut dice);
            let state = testing::state(&mut seat.engine, &seat.group).unwrap();
            let last = results.last().unwrap();
            assert_eq!(state.epoch, number(last, "epoch_after"), "seed {seed}");
            let authenticator = recorded::bytes(last, "epoch_authenticator_hex");
            assert_eq!(state.authenticator.as_slice(), authenticator, "seed {seed}");
            let key = recorded::bytes(last, "group_event_key_hex");
            assert_eq!(state.event_key.expose().as_slice(), key, "seed {seed}");
            has(&mut seat, &expected, seed);
        },
    );
}
