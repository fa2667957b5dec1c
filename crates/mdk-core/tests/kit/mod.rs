//! Members that talk to each other in tests: `alice.invites(&mut bob)`, `alice.says("hi")`.

pub mod acts;
pub mod cast;
pub mod deeds;
pub mod dice;
pub mod disk;
pub mod files;
pub mod foreign;
pub mod foreign_commits;
pub mod fork;
pub mod recorded;
pub mod shares;
pub mod steps;
pub mod strays;
pub mod tale;
pub mod telling;
pub mod welcomes;

use std::fmt::Debug;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use mdk_core::{
    Config, DeferredReason, Engine, Error, EventBody, GroupInfo, ManualClock, Outcome, Pending,
    Verdict,
};
use mdk_wire::{Event, GroupId, Keys, PublicKey};

pub use deeds::*;

pub const RELAY: &str = "wss://relay.example";

/// It is of an epoch that we have not reached.
pub const WAITS: Verdict = Verdict::Deferred(DeferredReason::FutureEpoch);
/// No key of ours opens it.
pub const CLOSED: Verdict = Verdict::Deferred(DeferredReason::Undecryptable);
/// It is of a branch that we do not follow.
pub const RIVAL: Verdict = Verdict::Deferred(DeferredReason::Rival);
/// There is no room for it.
pub const REFUSED: Verdict = Verdict::Deferred(DeferredReason::ResourceRefused);

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
    config.settling.quiet_millis = 0;
    config.rotate_key_packages = false;
    config
}

/// Choices take their time, as the protocol has it; no KeyPackages come due.
pub fn unhurried() -> Config {
    let mut config = Config::default();
    config.rotate_key_packages = false;
    config
}

impl Member {
    pub fn new(name: &'static str) -> Self {
        Self::with(name, at_once())
    }

    pub fn with(name: &'static str, config: Config) -> Self {
        Self::of(name, Keys::generate(), config)
    }

    pub fn of(name: &'static str, keys: Keys, config: Config) -> Self {
        let clock = ManualClock::at(now());
        let engine =
            Engine::in_memory(keys, config, Arc::new(clock.clone())).expect("an engine in memory");
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
        let pending = self.engine.create_group(new_group(name, members)).expect("a group");
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

    /// As `takes`, in one call.
    pub fn takes_all(&mut self, events: &[Event]) -> Vec<Outcome> {
        let json: Vec<String> = events.iter().map(Event::to_json).collect();
        let json: Vec<&[u8]> = json.iter().map(String::as_bytes).collect();
        self.engine.process_many(&json).expect("no fault of ours")
    }

    /// As `takes`, and it must apply.
    pub fn applies(&mut self, event: &Event) -> Outcome {
        let outcome = self.takes(event);
        assert_eq!(outcome.verdict, Verdict::Applied, "{} applies it", self.name);
        outcome
    }

    pub fn says(&mut self, group: &GroupId, text: &str) -> Event {
        self.sends(group, chat(text)).event
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

/// The commit of a change.
pub fn event(pending: &Pending) -> &Event {
    pending.event.as_ref().unwrap()
}

/// Somebody who is in no group yet, and a KeyPackage to invite them by.
pub fn newcomer(name: &'static str) -> (Member, Event) {
    let mut member = Member::new(name);
    let package = member.key_package();
    (member, package)
}

/// Alice and bob, in a group that alice founded.
pub fn pair() -> (Member, Member, GroupId) {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    (alice, bob, group)
}

/// As [`pair`], with carol.
pub fn three() -> (Member, Member, Member, GroupId) {
    let (mut alice, mut bob, mut carol) =
        (Member::new("alice"), Member::new("bob"), Member::new("carol"));
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    (alice, bob, carol, group)
}

/// An argument was refused: the one with this name.
#[track_caller]
pub fn refused_for<T>(result: Result<T, Error>, field: &str) {
    match result {
        Err(Error::InvalidInput { field: f, .. }) => assert_eq!(f, field),
        Err(other) => panic!("{field}: {other:?}"),
        Ok(_) => panic!("{field}: accepted"),
    }
}

/// As [`refused_for`], with the limit and what was given.
#[track_caller]
pub fn refused_with<T>(result: Result<T, Error>, expected: (&str, Option<u64>, Option<u64>)) {
    match result {
        Err(Error::InvalidInput { field, limit, actual, .. }) => {
            assert_eq!((field, limit, actual), expected);
        }
        Err(other) => panic!("{expected:?}: {other:?}"),
        Ok(_) => panic!("{expected:?}: accepted"),
    }
}

/// A folder in memory where there is one: what is tested is not the disk.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// A number from the environment, for runs longer than the gate's.
pub fn number<T: FromStr<Err: Debug>>(variable: &str, usual: T) -> T {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}
