//! An honest engine that a hostile member of its group feeds: what that member's own engine makes, in any order and any
//! number of times, cut, changed and sealed anew, among words of an honest third. What is honest stays readable, and rows stay
//! few.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mdk_core::{
    Config, Engine, GroupUpdate, ManualClock, NewGroup, NewMessage, RequirementsUpdate, Verdict,
    testing,
};
use mdk_wire::{
    Event, EventId, GroupId, GroupMessage, Keys, NostrGroupId, OsRandom, Secret, group_message,
    kind,
};
use zeroize::Zeroizing;

/// Steps of one input; each takes four bytes.
const MOST: usize = 24;

/// One account.
struct Member {
    engine: Engine,
    clock: ManualClock,
}

impl Member {
    fn new() -> Self {
        // (OpenMLS judges lifetimes by the system's clock)
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let clock = ManualClock::at(now);
        let mut config = Config::default();
        config.rotate_key_packages = false;
        let engine = Engine::in_memory(Keys::generate(), config, Arc::new(clock.clone()));
        Self { engine: engine.expect("an engine in memory"), clock }
    }

    fn key_package(&mut self) -> Event {
        self.engine.new_key_package(&relays(), None).expect("a KeyPackage")
    }

    fn takes(&mut self, event: &Event) -> Verdict {
        self.takes_bytes(event.to_json().as_bytes())
    }

    fn takes_bytes(&mut self, bytes: &[u8]) -> Verdict {
        self.engine.process(bytes).expect("what a peer sends is no fault of ours").verdict
    }

    /// Time passes, and what it makes due is done.
    fn rests(&mut self) {
        for _ in 0..4 {
            self.clock.advance_millis(2_000);
            self.engine.tick().expect("no fault of ours");
        }
    }

    fn says(&mut self, group: &GroupId, text: &str) -> Event {
        let message = NewMessage { text: text.to_owned(), kind: kind::CHAT, ..Default::default() };
        self.engine.create_message(group, message).expect("it may speak").event
    }

    fn texts(&mut self, group: &GroupId) -> Vec<String> {
        let messages = self.engine.messages(group, 1_000, None, None).expect("its history");
        messages.into_iter().map(|message| message.text).collect()
    }
}

fn relays() -> Vec<String> {
    vec!["wss://relay.example".to_owned()]
}

struct World {
    honest: Member,
    third: Member,
    hostile: Member,
    group: GroupId,
    /// What is on relays, and what it was sealed under.
    sent: Vec<(Event, Secret<32>)>,
    target: EventId,
}

impl World {
    fn new() -> Self {
        let [mut honest, mut third, mut hostile] = std::array::from_fn(|_| Member::new());
        let new = NewGroup {
            name: "g".to_owned(),
            relays: relays(),
            members: vec![honest.key_package(), third.key_package()],
            ..NewGroup::default()
        };
        let pending = hostile.engine.create_group(new).expect("a group");
        for member in [&mut honest, &mut third] {
            for welcome in &pending.welcomes {
                member.takes(welcome);
            }
            for invite in member.engine.invites().expect("invites") {
                member.engine.accept(&invite.id).expect("it waits");
            }
        }
        let group = hostile.engine.confirm(pending.id).expect("founding").id;
        let first = third.says(&group, "first");
        let target = third.engine.messages(&group, 1, None, None).expect("its own")[0].id;
        for member in [&mut honest, &mut hostile] {
            assert_eq!(member.takes(&first), Verdict::Applied);
        }
        Self { honest, third, hostile, group, sent: Vec::new(), target }
    }

    fn sends(&mut self, event: Event) {
        let state = testing::state(&mut self.hostile.engine, &self.group).expect("its own state");
        self.sent.push((event, state.event_key));
    }

    fn commits(&mut self, pending: mdk_core::Result<mdk_core::Pending>, confirms: bool) {
        let Ok(pending) = pending else { return };
        // (it is sealed under the key of the state before)
        if let Some(event) = pending.event {
            self.sends(event);
        }
        if confirms {
            let _ = self.hostile.engine.confirm(pending.id);
        } else {
            let _ = self.hostile.engine.discard(pending.id);
        }
    }

    fn step(&mut self, [what, one, two, three]: [u8; 4]) {
        let group = self.group.clone();
        let number = usize::from(u16::from_be_bytes([one, two]));
        let chosen = (!self.sent.is_empty()).then(|| number % self.sent.len().max(1));
        let engine = &mut self.hostile.engine;
        match what % 12 {
            0 => {
                let kinds = [kind::CHAT, kind::REACTION, kind::EDIT, kind::DELETE, 1, 30_078];
                let mut tags = vec![vec!["e".to_owned(), self.target.to_hex()]];
                tags.resize(
                    1 + usize::from(two) * 4,
                    vec![String::new(); usize::from(three % 8) + 1],
                );
                let kind = kinds[usize::from(one) % kinds.len()];
                let text = "x".repeat(usize::from(three) % 60);
                let message = NewMessage { text, kind, tags, ..Default::default() };
                if let Ok(said) = engine.create_message(&group, message) {
                    self.sends(said.event);
                }
            }
            1 => {
                let pending = engine.self_update(&group);
                self.commits(pending, one.is_multiple_of(2));
            }
            2 => {
                let name = Some(format!("{number} {}", "n".repeat(usize::from(three) % 200)));
                let rotate_routing = three.is_multiple_of(4);
                let update = GroupUpdate { name, rotate_routing, ..Default::default() };
                let pending = engine.update_group(&group, update);
                self.commits(pending, one.is_multiple_of(2));
            }
            3 => {
                let components = vec![u16::from_be_bytes([one, two])];
                let asked = RequirementsUpdate { components, ..Default::default() };
                let pending = engine.change_requirements(&group, &asked);
                self.commits(pending, three.is_multiple_of(2));
            }
            4 => {
                let package = Member::new().key_package();
                let pending = engine.add_members(&group, &[package], one.is_multiple_of(2));
                self.commits(pending, two.is_multiple_of(2));
            }
            // Welcomes to groups of its own.
            5 => {
                let new = NewGroup {
                    name: "other".to_owned(),
                    relays: relays(),
                    members: vec![self.honest.key_package()],
                    ..NewGroup::default()
                };
                let Ok(pending) = engine.create_group(new) else { return };
                for welcome in &pending.welcomes {
                    let mut json = welcome.to_json().into_bytes();
                    if three.is_multiple_of(2) {
                        json.truncate(json.len() * usize::from(one) / 255);
                    }
                    self.honest.takes_bytes(&json);
                }
                let _ = self.hostile.engine.confirm(pending.id);
            }
            6 | 7 => {
                if let Some(at) = chosen {
                    self.honest.takes(&self.sent[at].0);
                }
            }
            8 | 9 => {
                if let Some(at) = chosen {
                    self.gives_changed(at, two, three);
                }
            }
            10 => self.honest.rests(),
            _ => drop(self.honest.engine.settle().expect("no fault of ours")),
        }
    }

    /// What was sealed, changed in one place or cut, and sealed anew.
    fn gives_changed(&mut self, at: usize, place: u8, change: u8) {
        let (event, key) = &self.sent[at];
        let message = GroupMessage::parse(event.clone()).expect("our own");
        let Some(bytes) = message.open(key) else { return };
        let mut bytes: Zeroizing<Vec<u8>> = bytes;
        let place = bytes.len().saturating_sub(1) * usize::from(place) / 255;
        if change.is_multiple_of(3) {
            bytes.truncate(place);
        } else if let Some(byte) = bytes.get_mut(place) {
            *byte ^= change;
        }
        let route: NostrGroupId = message.group;
        let now = event.created_at();
        let sealed = group_message::seal(&bytes, key, &route, now, None, &mut OsRandom);
        self.honest.takes(&sealed.expect("within the limits"));
    }

    fn check(mut self) {
        let events = std::mem::take(&mut self.sent);
        for _ in 0..2 {
            for member in [&mut self.honest, &mut self.third] {
                for (event, _) in &events {
                    member.takes(event);
                }
                member.rests();
                member.engine.settle().expect("no fault of ours");
            }
        }
        let last = self.third.says(&self.group, "last");
        self.honest.takes(&last);
        self.honest.rests();
        let texts = self.honest.texts(&self.group);
        for honest in ["first", "last"] {
            assert!(texts.iter().any(|text| text == honest), "{honest} is not readable: {texts:?}");
        }
        let (rows, _) = testing::history_size(&mut self.honest.engine).expect("its history");
        assert!(rows <= 2 * MOST + 2, "{rows} rows of history");
        let held = testing::held(&mut self.honest.engine, &self.group).expect("its own");
        assert!(held.events.len() + held.inputs.len() <= 2 * MOST, "{held:?}");
        assert!(self.honest.engine.invites().expect("invites").len() <= MOST);
    }
}

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    for step in data.as_chunks::<4>().0.iter().take(MOST) {
        world.step(*step);
    }
    world.check();
}
