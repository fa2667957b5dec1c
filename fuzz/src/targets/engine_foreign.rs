//! Two honest engines that a member on plain OpenMLS feeds: arbitrary proposals, components, commits and Welcomes, all signed,
//! tagged and sealed as they should be. What is refused leaves no trace, and the two stay in one state.

use std::sync::Arc;

use mdk_core::{Config, Engine, GroupState, ManualClock, NewMessage, Verdict, testing};
use mdk_wire::{Event, GroupId, Keys, UnsignedEvent, kind};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{ProposalOrRefType, Propose};

use crate::kit::foreign::{Change, Context, Foreign, Handmade, remove, update};
use crate::kit::{RELAY, now};

/// Steps of one input.
const MOST: usize = 24;
/// Components that the protocol knows, and one that nobody knows.
const COMPONENTS: [u16; 16] = [
    0x0001, 0x0002, 0x0004, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8007, 0x8008, 0x8009,
    0x800a, 0x800b, 0x800c, 0xf000,
];

struct Honest {
    engine: Engine,
    clock: ManualClock,
}

impl Honest {
    fn new() -> Self {
        let clock = ManualClock::at(now());
        let mut config = Config::default();
        config.rotate_key_packages = false;
        let engine = Engine::in_memory(Keys::generate(), config, Arc::new(clock.clone()));
        Self { engine: engine.expect("an engine in memory"), clock }
    }

    fn key_package(&mut self) -> Event {
        self.engine.new_key_package(&[RELAY.to_owned()], None).expect("a KeyPackage")
    }

    fn joins(&mut self, welcome: &Event) {
        self.takes(welcome);
        for invite in self.engine.invites().expect("invites") {
            self.engine.accept(&invite.id).expect("it waits");
        }
    }

    /// The verdict; what is refused has changed nothing.
    fn takes(&mut self, event: &Event) -> Verdict {
        let before = self.engine.digest().expect("its own");
        let outcome = self.engine.process(event.to_json().as_bytes());
        let outcome = outcome.expect("what a peer sends is no fault of ours");
        if matches!(outcome.verdict, Verdict::Rejected(_)) {
            assert!(outcome.events.is_empty() && outcome.reply.is_empty());
            assert!(before == self.engine.digest().expect("its own"), "a refusal left a trace");
        }
        outcome.verdict
    }

    fn rests(&mut self) {
        for _ in 0..4 {
            self.clock.advance_millis(2_000);
            self.engine.tick().expect("no fault of ours");
        }
        self.engine.settle().expect("no fault of ours");
    }
}

struct World {
    foreign: Foreign,
    honest: [Honest; 2],
    group: GroupId,
    sent: Vec<Event>,
}

impl World {
    /// The stranger is an admin, or not.
    fn new(admin: bool) -> Self {
        let (mut founder, mut foreign) = (Foreign::new(), Foreign::new());
        let mut honest = [Honest::new(), Honest::new()];
        let mut context = founder.context();
        if admin {
            context.set_admins(&[founder.key(), foreign.key()]);
        }
        founder.founds(&context);
        let [one, two] = honest.each_mut().map(Honest::key_package);
        let packages = [foreign.key_package_event(), one, two];
        let welcome = founder.invites(&packages.each_ref());
        foreign.joins(&founder.wraps(&welcome, &packages[0]));
        for (honest, package) in honest.iter_mut().zip(&packages[1..]) {
            honest.joins(&founder.wraps(&welcome, package));
            honest.engine.tick().expect("no fault of ours");
        }
        let group = GroupId::from_bytes(&context.id).expect("an id");
        Self { foreign, honest, group, sent: Vec::new() }
    }

    /// Both get it; whether the first has followed it.
    fn gives(&mut self, event: Event) -> bool {
        let verdicts = self.honest.each_mut().map(|honest| honest.takes(&event));
        let same = verdicts[0] == verdicts[1];
        assert!(same || self.one_is_out(), "two that know the same: {verdicts:?}");
        self.sent.push(event);
        verdicts[0] == Verdict::Applied
    }

    /// A member who is put out cannot compute what the commit leads to: an admin's lie puts it out where the other refuses.
    fn one_is_out(&mut self) -> bool {
        let group = &self.group;
        self.honest.iter_mut().any(|honest| {
            honest.engine.group(group).is_ok_and(|group| group.state == GroupState::Removed)
        })
    }

    fn gives_bytes(&mut self, message: &[u8]) -> bool {
        let event = self.foreign.seals(message);
        self.gives(event)
    }

    /// A commit is sealed under the key of the state before it, and followed where it is taken.
    fn commits(&mut self, change: Change) {
        let Ok(made) = self.foreign.try_commits(change) else { return self.foreign.forgets() };
        if self.gives_bytes(&made.commit) {
            self.foreign.merges();
        } else {
            self.foreign.forgets();
        }
    }

    fn proposes(&mut self, proposal: Propose) {
        let Foreign { group, provider, signer, .. } = &mut self.foreign;
        let group = group.as_mut().expect("in a group");
        let made = group.propose(&*provider, &*signer, proposal, ProposalOrRefType::Reference);
        if let Ok((message, _)) = made {
            let bytes = message.tls_serialize_detached().expect("OpenMLS writes it");
            self.gives_bytes(&bytes);
        }
    }

    fn step(&mut self, what: u8, which: u8, data: &[u8]) {
        let component = COMPONENTS[usize::from(which) % COMPONENTS.len()];
        // (who was put out can only repeat what was said)
        let inside = self.foreign.mls().is_active();
        match what % 12 {
            // A proposal of any type: the type by its number, or all of it as it comes.
            0 if inside => {
                let body = [&[0, which % 12][..], data].concat();
                self.gives_bytes(&Handmade::proposal(&self.foreign, body).bytes(&self.foreign));
            }
            1 if inside => {
                let made = Handmade::proposal(&self.foreign, data.to_vec());
                self.gives_bytes(&made.bytes(&self.foreign));
            }
            2 if inside => {
                let data = (which < 0xf0).then_some(data);
                let proposed = self.foreign.proposes_update(component, data);
                self.gives_bytes(&proposed);
            }
            3 if inside => self.proposes(match which % 3 {
                0 => Propose::Remove(u32::from(which) / 3 % 5),
                1 => Propose::Update(self.foreign.leaf.parameters()),
                _ => Propose::Add(Foreign::new().key_package()),
            }),
            4 if inside => {
                let proposed =
                    if which < 0xf0 { update(component, data) } else { remove(component) };
                let proposals = vec![proposed];
                self.commits(Change { proposals, path: true, ..Change::default() });
            }
            // The state that it leads to is another than its proposals say.
            5 if inside => {
                let proposals = vec![update(component, data)];
                let updates = Some(vec![(component ^ u16::from(which >> 4), Some(data.to_vec()))]);
                self.commits(Change { proposals, path: true, updates, ..Change::default() });
            }
            6 if inside => {
                let removes = data.iter().map(|leaf| u32::from(*leaf % 5)).take(3).collect();
                let adds = (which.is_multiple_of(2)).then(|| Foreign::new().key_package());
                let by_reference = which.is_multiple_of(3);
                let adds = adds.into_iter().collect();
                self.commits(Change {
                    adds,
                    removes,
                    by_reference,
                    path: true,
                    ..Change::default()
                });
            }
            // A leaf with another entry.
            7 if inside => {
                let mut leaf = self.foreign.leaf.clone();
                leaf.entries().insert(component, data.to_vec());
                let leaf = Some(leaf.parameters());
                self.commits(Change { leaf, path: true, ..Change::default() });
            }
            8 => self.invites(component, which, data),
            9 if inside => {
                let payload = UnsignedEvent {
                    pubkey: self.foreign.key(),
                    created_at: now(),
                    kind: [kind::CHAT, kind::REACTION, kind::EDIT, kind::DELETE]
                        [usize::from(which) % 4],
                    tags: vec![vec!["e".to_owned(), String::from_utf8_lossy(data).into_owned()]],
                    content: String::from_utf8_lossy(data).into_owned(),
                };
                let plain =
                    if which < 0x80 { payload.to_json().into_bytes() } else { data.to_vec() };
                // (OpenMLS says nothing while proposals wait)
                self.foreign.forgets();
                let bytes = self.foreign.encrypts(&plain);
                self.gives_bytes(&bytes);
            }
            10 if !self.sent.is_empty() => {
                let again = self.sent[usize::from(which) % self.sent.len()].clone();
                self.gives(again);
            }
            _ => self.honest.iter_mut().for_each(Honest::rests),
        }
    }

    /// A Welcome to a group whose context, or whose founder's leaf, has another entry, or whose bytes were changed.
    fn invites(&mut self, component: u16, which: u8, data: &[u8]) {
        let package = self.honest[0].key_package();
        let mut founder = Foreign::new();
        let mut context: Context = founder.context();
        match which / 16 % 4 {
            0 => context.set(component, data),
            1 => drop(founder.leaf.entries().insert(component, data.to_vec())),
            2 => context.id = data.to_vec(),
            _ => {}
        }
        founder.founds(&context);
        let mut welcome = founder.invites(&[&package]);
        if which / 16 % 4 == 3 {
            for (at, byte) in data.iter().enumerate() {
                let place = (at * 97 + usize::from(which)) % welcome.len();
                welcome[place] ^= byte;
            }
        }
        self.honest[0].takes(&founder.wraps(&welcome, &package));
    }

    fn check(mut self) {
        self.honest.iter_mut().for_each(Honest::rests);
        let group = &self.group.clone();
        let [mine, theirs] = self.honest.each_mut().map(|honest| {
            let group = honest.engine.group(group).expect("it was joined");
            (
                group.epoch,
                group.state,
                group.profile.name,
                group.admins,
                group.member_count,
                group.retention,
            )
        });
        let put_out = self.one_is_out();
        assert!(put_out || mine == theirs, "the same events, two states: {mine:?}, {theirs:?}");
        let rows = testing::history_size(&mut self.honest[0].engine).expect("its history").0;
        assert!(rows <= 2 * MOST + 2, "{rows} rows of history");
        assert!(self.honest[0].engine.invites().expect("invites").len() <= MOST);
        if mine.1 != GroupState::Active {
            return;
        }
        let message =
            NewMessage { text: "last".to_owned(), kind: kind::CHAT, ..Default::default() };
        let [first, second] = &mut self.honest;
        let Ok(said) = second.engine.create_message(group, message) else { return };
        assert_eq!(first.takes(&said.event), Verdict::Applied);
        first.rests();
        let told = first.engine.messages(group, 1_000, None, None).expect("its history");
        assert!(told.iter().any(|message| message.text == "last"), "it is not readable");
    }
}

/// Runs it on one input: whether the stranger is an admin, then steps, each a byte for what it does, one for which, and data
/// behind its length.
pub fn run(data: &[u8]) {
    let Some((admin, mut rest)) = data.split_first() else { return };
    let mut world = World::new(admin % 2 == 0);
    for _ in 0..MOST {
        let [what, which, length, more @ ..] = rest else { break };
        let (data, more) = more.split_at(usize::from(*length).min(more.len()));
        world.step(*what, *which, data);
        rest = more;
    }
    world.check();
}
