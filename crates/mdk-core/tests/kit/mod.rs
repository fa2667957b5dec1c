//! Members that talk to each other in tests: `alice.invites(&mut bob)`, `alice.says("hi")`.
#![allow(dead_code, unreachable_pub)]

use std::{
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

use mdk_core::{
    Config, Engine, EventBody, GroupInfo, ManualClock, NewGroup, NewMessage, Outcome, Pending,
    Verdict,
};
use mdk_wire::{Event, GroupId, Keys, PublicKey, kind};

pub const RELAY: &str = "wss://relay.example";

/// One account with its engine and a clock that the test sets.
pub struct Member {
    pub name: &'static str,
    pub engine: Engine,
    pub clock: ManualClock,
}

/// Seconds now: OpenMLS judges lifetimes by the system clock. The same for all who ask: a second that ends while a test
/// makes its members would set their clocks apart.
pub fn now() -> u64 {
    static NOW: LazyLock<u64> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").as_secs()
    });
    *NOW
}

/// Choices between branches are made with each call: for tests of something else, whose clock stands still.
pub fn at_once() -> Config {
    let mut config = Config::default();
    config.settle_quiet_millis = 0;
    config.rotate_key_packages = false;
    config
}

impl Member {
    pub fn new(name: &'static str) -> Self {
        let clock = ManualClock::at(now());
        let engine = Engine::in_memory(Keys::generate(), at_once(), Arc::new(clock.clone()))
            .expect("an engine in memory");
        Self { name, engine, clock }
    }

    pub fn key(&self) -> PublicKey {
        self.engine.public_key()
    }

    pub fn key_package(&mut self) -> Event {
        self.engine.new_key_package(&[RELAY.to_owned()], None).expect("a KeyPackage")
    }

    /// Founds a group with the others, who accept.
    pub fn founds(&mut self, name: &str, others: &mut [&mut Member]) -> GroupId {
        let members = others.iter_mut().map(|m| m.key_package()).collect();
        let pending = self
            .engine
            .create_group(NewGroup {
                name: name.to_owned(),
                relays: vec![RELAY.to_owned()],
                members,
                ..NewGroup::default()
            })
            .expect("a group");
        for other in others.iter_mut() {
            other.joins(&pending.welcomes);
        }
        self.engine.confirm(pending.id).expect("founding").id
    }

    /// Processes Welcomes and accepts what was for us.
    pub fn joins(&mut self, welcomes: &[Event]) {
        for welcome in welcomes {
            let _ = self.takes(welcome);
        }
        for invite in self.engine.invites().expect("invites") {
            self.engine.accept(&invite.id).expect("accepting");
        }
    }

    pub fn takes(&mut self, event: &Event) -> Outcome {
        self.engine.process(event.to_json().as_bytes()).expect("no fault of ours")
    }

    /// As `takes`, and it must apply.
    pub fn applies(&mut self, event: &Event) -> Outcome {
        let outcome = self.takes(event);
        assert_eq!(outcome.verdict, Verdict::Applied, "{} applies it", self.name);
        outcome
    }

    pub fn says(&mut self, group: &GroupId, text: &str) -> Event {
        let message =
            NewMessage { text: text.to_owned(), kind: kind::CHAT, ..NewMessage::default() };
        self.engine.create_message(group, message).expect("sending").event
    }

    pub fn confirms(&mut self, pending: &Pending) -> GroupInfo {
        self.engine.confirm(pending.id).expect("confirming")
    }

    pub fn info(&mut self, group: &GroupId) -> GroupInfo {
        self.engine.group(group).expect("the group")
    }

    pub fn texts(&mut self, group: &GroupId) -> Vec<String> {
        let page = self.engine.messages(group, 1000, None, None).expect("history");
        page.into_iter().map(|m| m.text).collect()
    }
}

/// Texts among the events of an outcome.
pub fn received(outcome: &Outcome) -> Vec<String> {
    outcome
        .events
        .iter()
        .filter_map(|e| match &e.body {
            EventBody::MessageReceived { message } => Some(message.text.clone()),
            _ => None,
        })
        .collect()
}
