//! Recorded v2 traffic in other orders than the recorded one: late, early, doubled. Within the window the order changes
//! nothing: the seat ends where it ended when it was recorded, with the same payloads.
//!
//! `recorded_orders` of tests/sampling.json says how many orders.

use mdk_core::testing;
use serde_json::Value;

use crate::kit::dice::Dice;
use crate::kit::recorded::{Seat, clock_is_recorded, list, load, number};
use crate::kit::shares;
use crate::kit::telling::{Telling, invited, tell};
use crate::sampling;

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
    if !clock_is_recorded() {
        return;
    }
    let count = sampling::count("recorded_orders");
    let Some((from, step)) = shares::own() else {
        return shares::out(main_in_seeded_orders, usize::try_from(count).unwrap());
    };
    let (story, told) =
        (load("story-main.json"), tell("story-main.json", "dave", &Telling::default()));
    // Up to his removal: what comes behind that is not for him.
    let seqs: Vec<u64> =
        told.verdicts.keys().copied().filter(|seq| (14..42).contains(seq)).collect();
    let steps = list(&story["steps"]);
    let before = steps.iter().find(|step| step["name"] == "msg-after-race2").unwrap();
    let expected: Vec<String> = told.payloads.iter().map(|r| r.json.clone()).collect();
    for seed in sampling::seeds("recorded_orders").into_iter().skip(from).step_by(step) {
        let mut dice = Dice(seed * 7919);
        let order = dice.order(&seqs);
        let mut seat = invited(&story, seed.is_multiple_of(8).then_some(3));
        gives(&mut seat, &story, &order, number(&story, "recorded_at"), &mut dice);
        seat.stands_at(&before["members"]["dave"]["state"], &format!("seed {seed}"));
        has(&mut seat, &expected, seed);
        // Then he is removed, and that is the end for him in every order, too.
        let (at, removal) = (seat.clock_at(), dice.order(&[42, 43]));
        gives(&mut seat, &story, &removal, at, &mut dice);
        let last = &steps.last().unwrap()["members"]["dave"]["state"];
        seat.stands_at(last, &format!("seed {seed}, removed"));
        has(&mut seat, &expected, seed);
    }
}
