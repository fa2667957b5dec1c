//! Machines and gate in random worlds: lines that drop, relays that hide what they have until they know us, subscriptions that
//! end, histories that fail, other topics, too much at a time, an engine without room, clocks that jump, starts in between.
//! The model is a set: once all is calm, what some relay kept of what is wanted was read, and what passed before never
//! came before something older of that relay.
//!
//! tests/sampling.json says how many; `MDK_SYNC_WORLDS=1 MDK_SEED=7` plays one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mdk_wire::Event;
use mdk_wire::budget::relay::HELD_BYTES;
use tokio::time::{Duration, Instant};

use super::by_time::by_time;
use super::cursor::Cursor;
use super::gate::{CatchUpGate, GateAction, GateInput, Gift, View};
use super::relay_sync::{Action, Input, JobEnd, JobId, Now, Opened, RelaySync};
use super::topics::{Rules, Scope, Span};
use crate::client::feed::IngestReport;
use crate::options::ClientOptions;
use crate::testing::event_with;

#[path = "../../../../tests/sampling.rs"]
#[allow(dead_code)]
mod sampling;

const STEPS: usize = 150;
const TOPICS: [&str; 3] = ["aa", "bb", "cc"];
const WAITED_FOR: Duration = Duration::from_secs(30);
/// Two of these are more than is held.
const BIG: usize = HELD_BYTES / 2;

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.number() % most as u64).expect("it is below a usize")
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// An event before it is written: no two are of one time, so that it names them.
#[derive(Clone)]
struct Draft {
    at: u64,
    topic: &'static str,
    big: bool,
}

impl Draft {
    fn event(&self) -> Event {
        event_with(self.at, self.at, "[]", if self.big { BIG } else { 0 })
    }
}

struct Job {
    id: JobId,
    spans: Vec<Span>,
    /// The events that are still to be given, once they were read.
    rest: Option<VecDeque<Draft>>,
    /// The engine has not what was given last.
    waits: bool,
}

struct Relay {
    name: String,
    sync: RelaySync,
    /// The cursor as it is written down.
    saved: Cursor,
    scope: Scope,
    store: Vec<Draft>,
    connected: bool,
    /// It does not know us yet, and gives nothing.
    hides: bool,
    /// Its machine has not heard that it knows us by now.
    suspect: bool,
    open: BTreeMap<u64, BTreeSet<String>>,
    orders: VecDeque<Action>,
    arrived: VecDeque<Input>,
    said: VecDeque<Input>,
    job: Option<Job>,
    /// What it had of what was wanted when its history was asked for last, and when that was, by our clock.
    asked: (u64, Vec<u64>),
    heard: u64,
}

impl Relay {
    /// The line is another one than its machine knows of.
    fn is_another(&self) -> bool {
        let news = |one: &Input| matches!(one, Input::Connected | Input::Disconnected);
        self.arrived.iter().any(news)
    }
}

struct World {
    chance: Chance,
    rules: Arc<Rules>,
    relays: Vec<Relay>,
    gate: CatchUpGate,
    feeding: Option<Vec<Gift>>,
    at: Instant,
    /// The time that events name, and ours.
    time: u64,
    wall: u64,
    serial: u32,
    calm: bool,
    /// The times of the events that the engine has, in the order in which it got them.
    order: Vec<u64>,
    read: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

fn topics(filters: &[String]) -> BTreeSet<String> {
    let text = filters.concat();
    TOPICS.iter().filter(|topic| text.contains(*topic)).map(|topic| (*topic).to_owned()).collect()
}

fn scope(topics: impl IntoIterator<Item = &'static str>) -> Scope {
    let groups = topics.into_iter().map(|topic| (topic.to_owned(), 0)).collect();
    Scope { own: false, inbox: false, groups }
}

impl World {
    fn new(seed: u64, relays: usize, together_for: Duration) -> Self {
        // Without overlaps, so that what is not asked for is missed.
        let none = Duration::ZERO;
        let options = ClientOptions {
            inbox_overlap: none,
            group_overlap: none,
            group_overlap_at_start: none,
            ..ClientOptions::default()
        };
        let mut world = Self {
            chance: Chance(seed),
            rules: Arc::new(Rules::of("me".to_owned(), &options)),
            relays: Vec::new(),
            gate: CatchUpGate::new(together_for),
            feeding: None,
            at: Instant::now(),
            time: 1_000_000,
            wall: 1_000_000,
            serial: 0,
            calm: false,
            order: Vec::new(),
            read: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        for number in 0..relays {
            let scope = scope(TOPICS);
            let relay = Relay {
                name: format!("relay {number}"),
                sync: world.machine(&scope, Cursor::default()),
                saved: Cursor::default(),
                scope,
                store: Vec::new(),
                connected: false,
                hides: false,
                suspect: false,
                open: BTreeMap::new(),
                orders: VecDeque::new(),
                arrived: VecDeque::new(),
                said: VecDeque::new(),
                job: None,
                asked: (0, Vec::new()),
                heard: 0,
            };
            world.relays.push(relay);
        }
        world
    }

    fn machine(&mut self, scope: &Scope, cursor: Cursor) -> RelaySync {
        self.serial += 1;
        RelaySync::new(self.rules.clone(), self.serial, scope.clone(), cursor, self.at)
    }

    fn now(&mut self) -> Now {
        Now { at: self.at, wall: self.wall, chance: 0.5 }
    }

    fn passes(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
        self.time += seconds;
        self.wall += seconds;
    }

    fn tell(&mut self, relay: usize, input: Input) {
        if input == Input::Connected {
            let relay = &mut self.relays[relay];
            relay.suspect = relay.hides || relay.is_another();
        }
        let now = self.now();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let actions = self.relays[relay].sync.on(input, now);
            let save = actions.contains(&Action::SaveCursor);
            for action in actions {
                match action {
                    Action::Subscribe(_) | Action::Unsubscribe(_) => {
                        self.relays[relay].orders.push_back(action);
                    }
                    Action::Fetch { slow, .. } => {
                        self.relays[relay].asked = (now.wall, self.kept(relay));
                        self.relays[relay].orders.push_back(action);
                        let began = GateInput::Began { awaited: !slow, alone: false };
                        self.gate.on(began, self.at);
                    }
                    Action::Give { job, events, last } => {
                        let relay = self.relays[relay].name.clone();
                        self.gate.on(GateInput::Give(Gift { relay, job, events, last }), self.at);
                    }
                    Action::Deliver { events, .. } => {
                        self.in_order(relay, &events);
                        inputs.push_back(Input::Delivered(self.ingest(&events)));
                    }
                    Action::CompleteAsOf(at) => self.complete(relay, at),
                    Action::SaveCursor | Action::CheckPublished | Action::SearchedDeeper(_) => {}
                }
            }
            // (what a start knows of a relay that hid something is what it said)
            if save && !self.relays[relay].suspect {
                self.relays[relay].saved = self.relays[relay].sync.cursor().clone();
            }
        }
    }

    /// What a relay has of what is wanted of it.
    fn kept(&self, relay: usize) -> Vec<u64> {
        let relay = &self.relays[relay];
        let wanted = |event: &&Draft| relay.scope.groups.contains_key(event.topic);
        relay.store.iter().filter(wanted).map(|event| event.at).collect()
    }

    /// Of a relay that is said to be complete as of then, everything was read that it had then.
    fn complete(&self, relay: usize, at: u64) {
        let relay = &self.relays[relay];
        assert_eq!(at, relay.asked.0);
        let known = |at: &&u64| self.read.contains(*at) || self.refused.contains(*at);
        let missing: Vec<&u64> = relay.asked.1.iter().filter(|at| !known(at)).collect();
        assert!(relay.suspect || missing.is_empty(), "{} still has {missing:?}", relay.name);
    }

    /// A relay that has given everything lets nothing pass before something older of it.
    fn in_order(&self, relay: usize, events: &[Event]) {
        let relay = &self.relays[relay];
        if !relay.sync.is_live() || relay.suspect || relay.hides {
            return;
        }
        let wanted = |event: &&Draft| relay.scope.groups.contains_key(event.topic);
        let there: BTreeSet<u64> = events.iter().map(Event::created_at).collect();
        let known =
            |at: &u64| self.read.contains(at) || self.refused.contains(at) || there.contains(at);
        for event in relay.store.iter().filter(wanted).filter(|event| there.contains(&event.at)) {
            let older = relay.store.iter().filter(wanted).filter(|other| other.at < event.at);
            let missing: Vec<u64> = older.map(|other| other.at).filter(|at| !known(at)).collect();
            assert!(missing.is_empty(), "{}: {} before {missing:?}", relay.name, event.at);
        }
    }

    fn ingest(&mut self, events: &[Event]) -> IngestReport {
        let mut report = IngestReport::default();
        for at in events.iter().map(Event::created_at) {
            if self.read.contains(&at) {
            } else if !self.calm && self.chance.percent(1) {
                self.refused.insert(at);
                report.refused_from = Some(report.refused_from.map_or(at, |from| from.min(at)));
                continue;
            } else {
                self.read.insert(at);
                self.order.push(at);
                report.new += 1;
            }
            report.newest = report.newest.max(at).min(self.wall);
        }
        report
    }

    /// The line to a relay does what was ordered next.
    fn order(&mut self, number: usize) {
        let (refuses, late) = match self.calm {
            true => (false, false),
            false => (self.chance.percent(5), self.chance.percent(5)),
        };
        let relay = &mut self.relays[number];
        match relay.orders.pop_front() {
            Some(Action::Subscribe(opening)) => {
                let last = opening.new.last().map_or(0, |(id, _)| *id);
                if opening.crowded || late {
                    opening.former.iter().for_each(|id| drop(relay.open.remove(id)));
                }
                let mut opened = if late { Opened::Late } else { Opened::Well };
                if refuses || !relay.connected {
                    opened = Opened::Refused;
                } else {
                    for (id, filters) in opening.new {
                        let topics = topics(&filters);
                        let stored = relay.store.iter().rfind(|one| topics.contains(one.topic));
                        if let Some(stored) = stored.filter(|_| !relay.hides) {
                            relay.arrived.push_back(Input::Event(id, stored.event()));
                        }
                        relay.arrived.push_back(Input::EndOfStored(id));
                        relay.open.insert(id, topics);
                    }
                }
                relay.said.push_back(Input::Opened(last, opened));
            }
            Some(Action::Unsubscribe(ids)) => {
                ids.iter().for_each(|id| drop(relay.open.remove(id)));
            }
            Some(Action::Fetch { job, spans, .. }) => {
                relay.job = Some(Job { id: job, spans, rest: None, waits: false });
            }
            _ => {}
        }
    }

    /// A history goes on by one page, or part, or comes to its end.
    fn fetch(&mut self, number: usize) {
        let (fails, slow) = match self.calm {
            true => (false, false),
            false => (self.chance.percent(10), self.chance.percent(10)),
        };
        // (parts are given by who is slow)
        let (ends, part) = (self.calm || self.chance.percent(50), self.chance.below(4));
        let relay = &mut self.relays[number];
        // (a history that goes on over a line that hides everything is known to do so)
        let reads = relay.connected && !(relay.hides && relay.is_another());
        let Some(job) = relay.job.as_mut().filter(|job| !job.waits) else { return };
        relay.heard += u64::from(relay.connected);
        let heard = relay.heard;
        let end =
            |rest, complete| JobEnd { rest, complete, heard, sends_eose: true, skipped: false };
        if fails {
            relay.said.push_back(Input::Ended(job.id, end(None, Vec::new())));
            relay.job = None;
            return;
        }
        if slow {
            relay.said.push_back(Input::Slow(job.id));
        }
        let Some(rest) = &mut job.rest else {
            let is_wanted = |event: &&Draft| {
                let covers = |span: &Span| {
                    event.at >= span.since && span.topics.iter().any(|topic| topic == event.topic)
                };
                !relay.hides && job.spans.iter().any(covers)
            };
            if reads {
                job.rest = Some(relay.store.iter().filter(is_wanted).cloned().collect());
            }
            return;
        };
        if ends {
            let rest = rest.iter().map(Draft::event).collect();
            let complete = job.spans.iter().flat_map(|span| span.topics.clone()).collect();
            relay.said.push_back(Input::Ended(job.id, end(Some(rest), complete)));
            relay.job = None;
        } else if part.min(rest.len()) > 0 {
            let part = rest.drain(..part.min(rest.len())).map(|event| event.event()).collect();
            relay.said.push_back(Input::Part(job.id, part));
            job.waits = true;
        }
    }

    /// The engine has what the gate gave it.
    fn feed(&mut self) {
        let Some(gifts) = self.feeding.take() else { return };
        let of = |gift: &Gift| (Arc::from(gift.relay.as_str()), gift.events.clone());
        let all = by_time(gifts.iter().map(of).collect());
        let all: Vec<Event> = all.into_iter().map(|(_, event)| event).collect();
        let report = self.ingest(&all);
        self.gate.on(GateInput::Fed, self.at);
        for gift in gifts {
            let newest = gift.events.iter().map(Event::created_at).max();
            let newest = newest.unwrap_or(0).min(report.newest);
            let report = IngestReport { newest, ..report.clone() };
            let name = |relay: &Relay| relay.name == gift.relay;
            let relay = self.relays.iter().position(name).expect("relays stay");
            let ours = self.relays[relay].job.as_mut().filter(|job| job.id == gift.job);
            if let Some(job) = ours {
                job.waits = false;
            }
            self.gate.on(GateInput::Ended { new: report.new, whole: gift.last }, self.at);
            match gift.last {
                true => self.tell(relay, Input::GateOpened(gift.job, report)),
                false => self.tell(relay, Input::Taken(gift.job, report)),
            }
        }
    }

    fn look(&mut self) {
        let longest = self.relays.iter().any(|relay| relay.sync.is_live()).then_some(WAITED_FOR);
        let is = |relay: &&Relay| relay.sync.awaited_until(longest, self.at).is_some();
        let awaited = self.relays.iter().filter(is).map(|relay| relay.name.clone()).collect();
        let view = View { awaited, ..View::default() };
        for action in self.gate.on(GateInput::Look(view), self.at) {
            match action {
                GateAction::Feed(gifts) => {
                    assert!(self.feeding.replace(gifts).is_none(), "one after the other");
                }
                GateAction::Settle => drop(self.gate.on(GateInput::Settled, self.at)),
                _ => {}
            }
        }
    }

    fn publish(&mut self, big: bool) {
        let most = 1 + self.chance.below(5) as u64;
        self.passes(most);
        let event = Draft { at: self.time, topic: TOPICS[self.chance.below(3)], big };
        let sure = self.chance.below(self.relays.len());
        for (number, relay) in self.relays.iter_mut().enumerate() {
            if number != sure && !self.chance.percent(50) {
                continue;
            }
            relay.store.push(event.clone());
            let hears = relay.open.iter().find(|(_, topics)| topics.contains(event.topic));
            if let Some((id, _)) = hears.filter(|_| !relay.hides) {
                for _ in 0..=usize::from(self.chance.percent(10)) {
                    relay.arrived.push_back(Input::Event(*id, event.event()));
                }
            }
        }
    }

    fn connect(&mut self, number: usize, hides: bool) {
        let relay = &mut self.relays[number];
        if !relay.connected {
            (relay.connected, relay.hides) = (true, hides);
            relay.suspect |= hides;
            relay.arrived.push_back(Input::Connected);
        }
    }

    fn drop_line(&mut self, number: usize) {
        // (who hides something and is gone before it knows us cannot be found out)
        self.reveal(number);
        let relay = &mut self.relays[number];
        if std::mem::take(&mut relay.connected) {
            relay.open.clear();
            relay.arrived.push_back(Input::Disconnected);
        }
    }

    /// It knows us by now.
    fn reveal(&mut self, number: usize) {
        let relay = &mut self.relays[number];
        if relay.connected && std::mem::take(&mut relay.hides) {
            relay.arrived.push_back(Input::Connected);
        }
    }

    fn step(&mut self) {
        let number = self.chance.below(self.relays.len());
        match self.chance.below(100) {
            0..=19 => self.publish(false),
            20..=23 => {
                let hides = self.chance.percent(15);
                self.connect(number, hides);
            }
            24..=25 => self.drop_line(number),
            26..=28 => self.reveal(number),
            29..=30 => {
                let relay = &mut self.relays[number];
                if let Some((id, _)) = relay.open.pop_first() {
                    relay.arrived.push_back(Input::Closed(id));
                }
            }
            31..=32 => {
                let picked = TOPICS.into_iter().filter(|_| self.chance.percent(60));
                let scope = scope(picked);
                if !scope.groups.is_empty() {
                    self.relays[number].scope = scope.clone();
                    self.tell(number, Input::Scope(scope));
                }
            }
            33 => self.tell(number, Input::Sync),
            34 => {
                let jump = self.chance.below(7_200) as u64;
                self.wall = (self.time + jump).saturating_sub(3_600);
            }
            35 if self.holds() => (0..2).for_each(|_| self.publish(true)),
            36 if self.chance.percent(50) => {
                // As after a start.
                let (scope, saved) =
                    (self.relays[number].scope.clone(), self.relays[number].saved.clone());
                let sync = self.machine(&scope, saved);
                let relay = &mut self.relays[number];
                (relay.sync, relay.connected, relay.job) = (sync, false, None);
                relay.open.clear();
                relay.orders.clear();
                relay.arrived.clear();
                relay.said.clear();
                self.tell(number, Input::Scope(scope));
            }
            _ => self.go_on(number),
        }
        if self.chance.percent(20) {
            let seconds = self.chance.below(20) as u64;
            self.passes(seconds);
        }
        self.look();
    }

    /// Whether one that is heard has not given everything.
    fn holds(&self) -> bool {
        self.relays.iter().any(|relay| !relay.open.is_empty() && !relay.sync.is_live())
    }

    /// Something that is on its way arrives.
    fn go_on(&mut self, number: usize) {
        match self.chance.below(6) {
            0 => self.order(number),
            1 => self.fetch(number),
            2 => self.feed(),
            3 => self.tell(number, Input::Tick),
            4 => {
                if let Some(said) = self.relays[number].said.pop_front() {
                    self.tell(number, said);
                }
            }
            _ => {
                if let Some(arrived) = self.relays[number].arrived.pop_front() {
                    self.tell(number, arrived);
                }
            }
        }
    }

    /// From now on everything works, and in the end everything is read.
    fn come_to_rest(&mut self) {
        self.calm = true;
        for number in 0..self.relays.len() {
            self.reveal(number);
            self.connect(number, false);
        }
        for round in 0..20_000 {
            for number in 0..self.relays.len() {
                self.go_on(number);
                self.look();
            }
            if round % 10 == 0 {
                self.passes(5);
            }
            let rests = |relay: &Relay| {
                relay.arrived.is_empty()
                    && relay.said.is_empty()
                    && relay.orders.is_empty()
                    && relay.sync.is_live()
                    && !relay.sync.is_fetching()
            };
            if self.feeding.is_none() && self.relays.iter().all(rests) {
                break;
            }
        }
        for (number, relay) in self.relays.iter().enumerate() {
            assert!(relay.sync.is_live(), "{} stays {:?}", relay.name, relay.sync);
            let kept = self.kept(number).into_iter();
            let missing: Vec<u64> = kept.filter(|at| !self.read.contains(at)).collect();
            assert!(missing.is_empty(), "{} kept {missing:?}", relay.name);
        }
    }
}

#[test]
fn what_some_relay_kept_is_read_in_any_world() {
    for seed in sampling::seeds("sync_worlds") {
        println!("world {seed}");
        let relays = 1 + usize::try_from(seed % 3).expect("it is small");
        let mut world = World::new(seed, relays, Duration::from_secs(10));
        (0..STEPS).for_each(|_| world.step());
        world.come_to_rest();
    }
}

/// Where nothing fails, what all of them have goes to the engine oldest first, though each has other parts of it.
#[test]
fn what_relays_have_is_read_in_order_where_nothing_fails() {
    for seed in sampling::seeds("sync_worlds") {
        println!("world {seed}");
        let mut world = World::new(seed, 3, Duration::from_secs(100_000));
        (0..40).for_each(|_| world.publish(false));
        world.calm = true;
        (0..3).for_each(|number| {
            world.connect(number, false);
            world.relays[number].arrived.pop_front();
            world.tell(number, Input::Connected);
        });
        world.look();
        world.come_to_rest();
        assert!(world.order.is_sorted(), "world {seed}: {:?}", world.order);
        assert_eq!(world.order.len(), 40);
    }
}
