//! Back after a long time: every message once, in the order of epochs, whatever order a relay gives them in.

use std::sync::atomic::{AtomicBool, Ordering};

use mdk_core::testing::{cost, mls_steps, watch};
use mdk_core::{Clock, Config, Error, ManualClock, Verdict};
use mdk_wire::{Event, GroupId};
use std::sync::Arc;

use crate::kit::Member;
use crate::kit::dice::Dice;
use crate::kit::strays::gaps;
use crate::sampling;

/// As the protocol has it: passes last a second.
fn patient(name: &'static str) -> Member {
    Member::with(name, Config::default())
}

/// What was said while bob was away: `per_epoch` messages in each of `epochs`, each epoch ended by a commit.
struct Absence {
    alice: Member,
    bob: Member,
    group: GroupId,
    events: Vec<Event>,
    texts: Vec<String>,
}

impl Absence {
    fn of(epochs: usize, per_epoch: usize) -> Self {
        let (mut alice, mut bob) = (patient("alice"), patient("bob"));
        let group = alice.founds("g", &mut [&mut bob]);
        let (mut events, mut texts) = (Vec::new(), Vec::new());
        for epoch in 0..epochs {
            alice.clock.advance_millis(10_000);
            for n in 0..per_epoch {
                let text = format!("{epoch}/{n}");
                events.push(alice.says(&group, &text));
                texts.push(text);
            }
            events.extend(alice.updates(&group, &mut []).event);
        }
        bob.clock.advance_millis(10_000 * epochs as u64 + 10_000);
        Self { alice, bob, group, events, texts }
    }

    /// Those of an absence with one message in each epoch.
    fn commits(&self) -> Vec<Event> {
        self.events.iter().skip(1).step_by(2).cloned().collect()
    }

    /// Bob gets them in batches of this size.
    fn comes_back(&mut self, events: &[Event], batch: usize) {
        self.comes_with(events, batch);
        self.bob.engine.settle().unwrap();
    }

    fn comes_with(&mut self, events: &[Event], batch: usize) {
        for outcome in events.chunks(batch).flat_map(|batch| self.bob.takes_all(batch)) {
            assert!(!matches!(outcome.verdict, Verdict::Rejected(_)), "{outcome:?}");
        }
    }

    /// Everything is there, by epochs, and nothing was reported as lost.
    fn nothing_is_lost(&mut self, in_order: bool) {
        let page = self.bob.engine.messages(&self.group, 100_000, None, None).unwrap();
        let epochs: Vec<u64> = page.iter().map(|m| m.times.epoch).collect();
        assert!(!in_order || epochs.is_sorted(), "in the order of epochs: {epochs:?}");
        assert!(page.iter().all(|m| !m.fate.invalidated && !m.fate.deleted));
        let mut texts: Vec<String> = page.into_iter().map(|m| m.text).collect();
        texts.sort();
        let mut expected = self.texts.clone();
        expected.sort();
        assert_eq!(texts, expected, "every message once");
        assert_eq!(self.bob.info(&self.group).epoch, self.alice.info(&self.group).epoch);
        assert!(gaps(&mut self.bob).is_empty());
        self.bob.engine.tick().unwrap();
        assert!(gaps(&mut self.bob).is_empty());
        let held = mdk_core::testing::held(&mut self.bob.engine, &self.group).unwrap();
        assert!(held.events.is_empty() && held.inputs.is_empty());
        let said = self.alice.says(&self.group, "welcome back");
        self.bob.applies(&said);
    }
}

// shows: F1-1, F1-3, E5-7
/// However few come together: those that come last are of the first epochs. Those of "twice" come from two relays, of which
/// the first one has the commits only.
#[test]
fn every_message_once_in_any_order() {
    for (epochs, per_epoch, order, batch) in [
        (6, 3, "as sent", 1),
        (6, 3, "reversed", 1_000),
        (6, 3, "reversed", 8),
        (6, 3, "reversed", 1),
        (6, 3, "mixed", 1_000),
        (30, 3, "mixed", 1_000),
        (30, 3, "mixed", 10),
        (200, 1, "reversed", 1),
        (200, 1, "reversed", 8),
        (200, 1, "twice", 100),
    ] {
        println!("{epochs} epochs {order}, {batch} together");
        let mut absence = Absence::of(epochs, per_epoch);
        let mut events = absence.events.clone();
        match order {
            "reversed" => events.reverse(),
            "mixed" => Dice(epochs as u64 + batch as u64).shuffles(&mut events),
            "twice" => events = [absence.commits(), events].concat(),
            _ => {}
        }
        absence.comes_back(&events, batch);
        // A message that comes after its successors is delivered after them, unless they came together.
        absence.nothing_is_lost(order == "as sent" || order == "reversed" && batch > 1);
    }
}

/// Time that goes on within a call: its first look shows the moment at which it began, every later one the end.
struct Busy {
    clock: ManualClock,
    looked: AtomicBool,
    millis: u64,
}

impl Clock for Busy {
    fn now_millis(&self) -> u64 {
        let later = if self.looked.swap(true, Ordering::SeqCst) { self.millis } else { 0 };
        self.clock.now_millis() + later
    }
}

impl Busy {
    /// The call is over.
    fn is_done(&self) {
        self.clock.advance_millis(self.millis);
        self.looked.store(false, Ordering::SeqCst);
    }
}

// shows: E5-2
/// Pages that take their time: while we are at work nobody can give us the next one.
#[test]
fn our_own_work_is_no_quiet() {
    let absence = |millis: u64| {
        let absence = Absence::of(30, 1);
        let clock = absence.bob.clock.clone();
        (absence, Arc::new(Busy { clock, looked: AtomicBool::new(false), millis }))
    };
    for millis in [2_000, 7_000] {
        let (mut absence, busy) = absence(millis);
        let before = absence.bob.engine.set_clock(busy.clone());
        // One relay has the commits only, the next one everything.
        let events = absence.events.clone();
        for page in [&absence.commits(), &events] {
            absence.comes_with(page, page.len());
            busy.is_done();
        }
        absence.bob.engine.set_clock(before);
        absence.bob.engine.settle().unwrap();
        absence.nothing_is_lost(false);
    }
    // The second without work ends the pass as ever.
    let (mut absence, busy) = absence(2_000);
    let before = absence.bob.engine.set_clock(busy.clone());
    absence.comes_with(&absence.events.clone(), 1_000);
    busy.is_done();
    absence.bob.engine.set_clock(before);
    absence.bob.clock.advance_millis(999);
    assert!(matches!(absence.bob.engine.self_update(&absence.group), Err(Error::Settling { .. })));
    absence.bob.clock.advance_millis(1);
    absence.bob.engine.self_update(&absence.group).unwrap();
}

// shows: E5-2
/// A relay that gives its history page by page: until all of it is there, time closes nothing.
#[test]
fn while_more_is_expected_a_pass_waits_on() {
    let start = |absence: &mut Absence, of: bool| {
        let route = absence.bob.info(&absence.group).nostr_group_id;
        absence.bob.engine.expect_more(of.then_some(&[route][..]), 60_000).unwrap();
        absence.comes_with(&absence.commits(), 1_000);
    };
    let waits = |absence: &mut Absence, millis: u64| {
        absence.bob.waits(millis);
    };
    let mut absence = Absence::of(30, 1);
    start(&mut absence, true);
    for page in absence.events.clone().chunks(5) {
        waits(&mut absence, 1_500);
        absence.comes_with(page, page.len());
    }
    absence.bob.engine.settle().unwrap();
    absence.nothing_is_lost(false);
    // With everything there, the next pass ends with its second of quiet.
    absence.alice.updates(&absence.group, &mut [&mut absence.bob]);
    waits(&mut absence, 1_000);
    absence.bob.engine.self_update(&absence.group).unwrap();
    // Our own commits do not wait for ever.
    let mut absence = Absence::of(30, 1);
    start(&mut absence, false);
    waits(&mut absence, 19_999);
    assert!(matches!(absence.bob.engine.self_update(&absence.group), Err(Error::Settling { .. })));
    waits(&mut absence, 1);
    absence.bob.engine.self_update(&absence.group).unwrap();
    // Nor for what is expected of another group.
    let mut absence = Absence::of(3, 1);
    absence.bob.engine.expect_more(Some(&[]), 60_000).unwrap();
    absence.comes_with(&absence.events.clone(), 100);
    waits(&mut absence, 1_000);
    absence.bob.engine.self_update(&absence.group).unwrap();
}

/// The work of MLS and of the store grows with the number of events, not with its square; of keys each event is tried with
/// that of each state once at most.
#[test]
fn two_hundred_epochs_reversed_in_linear_steps() {
    let steps = |epochs: usize| {
        let mut absence = Absence::of(epochs, 2);
        let mut events = absence.events.clone();
        events.reverse();
        let (before, mls) = (cost(&mut absence.bob.engine).unwrap(), mls_steps());
        absence.comes_with(&events, 100_000);
        let mls = mls_steps() - mls;
        let after = cost(&mut absence.bob.engine).unwrap();
        let (keys, most) = (after.0 - before.0, events.len() * (epochs + 4));
        assert!(keys <= most as u64, "{keys} keys for {epochs} epochs, {most} at most");
        absence.bob.engine.settle().unwrap();
        absence.nothing_is_lost(true);
        [mls, after.1 - before.1]
    };
    let (short, long) = (steps(50), steps(200));
    println!("50 epochs {short:?}, 200 epochs {long:?}");
    for (short, long) in short.into_iter().zip(long) {
        // Four times the events; a square has sixteen.
        assert!(long <= 5 * short, "{short} for 50 epochs, {long} for 200");
    }
}

// shows: F1-2
/// Pages of a relay, the oldest first, and no choice between them: the states of the whole line are retained. Each of their
/// keys is tried once on what it does not open, however often that is looked at, and no event reads them anew.
#[test]
fn a_long_line_costs_an_event_its_keys_once() {
    let epochs = usize::try_from(sampling::count("long_absence")).unwrap();
    for page in [30, 500] {
        let mut absence = Absence::of(epochs, 2);
        let (mut most, before) = (0, cost(&mut absence.bob.engine).unwrap());
        for events in absence.events.clone().chunks(page) {
            let watch = watch(&mut absence.bob.engine, &absence.group).unwrap();
            // Each state that is retained, and those that the page leads to; twice what opens it.
            most += events.len() * (watch.states.len() + page / 3 + 4);
            absence.comes_with(events, page);
        }
        let after = cost(&mut absence.bob.engine).unwrap();
        let (tried, read) = (after.0 - before.0, after.1 - before.1);
        let count = absence.events.len() as u64;
        println!(
            "{epochs} epochs by {page}: {} keys, {} rows an event",
            tried / count,
            read / count
        );
        assert!(tried <= most as u64, "{tried} keys, {most} at most");
        assert!(read <= count, "{read} rows for {count} events");
        absence.bob.engine.settle().unwrap();
        absence.nothing_is_lost(true);
    }
}
