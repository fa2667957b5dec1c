//! kill -9 in the middle of everything: what was acknowledged is true, what was not happened wholly or not at
//! all, and the interrupted call can be repeated.
//!
//! Bob's engine runs in a process that is killed; Alice's runs here and never crashes. Where the kill lands is
//! chosen by seed: after a share of the call's usual time, or when the write-ahead log is being written, which is
//! the moment between deciding and having committed. The seed is `MDK_SEED`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mdk_core::{Error, GroupState, NewGroup, NewMessage, Verdict};
use mdk_wire::{Event, EventId, GroupId, kind};

use crate::kit::dice::SplitMix;
use crate::kit::log::Mark;
use crate::kit::orders::{CALLS, Call, Prepared, Step, Usual, follow_orders, prepare, reply};
use crate::kit::process::{Line, Process, Seat, epoch_proof, event_of, publish};
use crate::kit::{Member, RELAY, received};
use crate::sampling;

/// Kills inside each kind of call in each story.
const ROUNDS: usize = 5;
/// Kills for each of them, at most: one that lands after the reply is no kill inside the call.
const TRIES: usize = 40;
const BATCH: usize = 8;

#[test]
#[ignore = "the process that is killed"]
fn child_entry() {
    follow_orders();
}

/// One kind of call's share of the summary.
#[derive(Default)]
struct Tally {
    kills: usize,
    inside: usize,
    /// Interrupted calls that had not happened, and that had.
    undone: usize,
    done: usize,
}

/// One database of Bob's through many crashes, Alice beside it, and what must be true.
struct Story {
    seat: Seat,
    alice: Member,
    group: GroupId,
    /// Texts of Bob's history in order.
    model: Vec<String>,
    /// Held by Bob until his commit is resolved.
    waiting: Vec<String>,
    /// What was held for a commit that is resolved, and of which no outcome has told yet.
    untold: Vec<String>,
    /// Acknowledged sends of Bob's that Alice has not read.
    unread: Vec<(Event, String)>,
    /// Acknowledged commit that is not resolved.
    prepared: Option<Prepared>,
    /// Group of a join under way.
    joining: Option<GroupId>,
    newcomer: Option<Member>,
    counter: usize,
    dice: SplitMix,
}

impl Story {
    fn new(home: &std::path::Path, folder: &std::path::Path, seed: u64) -> Self {
        let seat = Seat::new("bob", home, folder);
        let (mut bob, mut alice) = (seat.open(), Member::new("alice"));
        let new = NewGroup {
            name: "Crash test".into(),
            relays: vec![RELAY.into()],
            members: vec![bob.key_package()],
            admins: vec![bob.key()],
            ..NewGroup::default()
        };
        let pending = alice.engine.create_group(new).unwrap();
        bob.joins(&pending.welcomes);
        let group = alice.confirms(&pending).id;
        bob.engine.close().unwrap();
        Self {
            seat,
            alice,
            group,
            model: Vec::new(),
            waiting: Vec::new(),
            untold: Vec::new(),
            unread: Vec::new(),
            prepared: None,
            joining: None,
            newcomer: None,
            counter: 0,
            dice: SplitMix(seed),
        }
    }

    fn name(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("{what}-{}", self.counter)
    }

    fn alice_says(&mut self) -> (Event, String, String) {
        let text = self.name("from-alice");
        let event = self.alice.says(&self.group, &text);
        publish(&self.seat.folder, &text, &event);
        (event, text.clone(), text)
    }

    fn receive(&mut self) -> Step {
        let (event, file, text) = self.alice_says();
        Step::Receive { event, file, text }
    }

    /// Steps of which the last is to be interrupted.
    fn script(&mut self, call: Call) -> Vec<Step> {
        if call == Call::Open {
            return vec![Step::Open];
        }
        let mut steps = Vec::new();
        for _ in 0..self.dice.below(3) {
            let step = if self.dice.coin() {
                Step::Send { text: self.name("from-bob") }
            } else {
                self.receive()
            };
            steps.push(step);
        }
        match call {
            Call::Send => steps.push(Step::Send { text: self.name("from-bob") }),
            Call::Receive => steps.push(self.receive()),
            Call::Batch => {
                let (mut events, mut files, mut texts) = (Vec::new(), Vec::new(), Vec::new());
                for _ in 0..BATCH {
                    let (event, file, text) = self.alice_says();
                    events.push(event);
                    files.push(file);
                    texts.push(text);
                }
                steps.push(Step::Batch { events, files, texts });
            }
            Call::Prepare => steps.push(self.change()),
            Call::Confirm => {
                steps.push(self.change());
                if self.dice.coin() {
                    let (_, file, text) = self.alice_says();
                    steps.push(Step::Held { file, text });
                }
                steps.push(Step::Confirm);
            }
            Call::Join => {
                let mut bob = self.seat.open();
                let new = NewGroup {
                    name: self.name("group"),
                    relays: vec![RELAY.into()],
                    members: vec![bob.key_package()],
                    ..NewGroup::default()
                };
                bob.engine.close().unwrap();
                let pending = self.alice.engine.create_group(new).unwrap();
                self.joining = Some(self.alice.confirms(&pending).id);
                let [event] = &pending.welcomes[..] else { panic!("one invitee") };
                let file = self.name("welcome");
                publish(&self.seat.folder, &file, event);
                steps.push(Step::Welcome { event: event.clone(), file });
                if self.dice.coin() {
                    steps.push(Step::Accept { invite: event.id() });
                }
            }
            Call::Open => {}
        }
        steps
    }

    fn change(&mut self) -> Step {
        let change = match self.dice.below(4) {
            0 => vec!["update".to_owned()],
            1 => vec!["rename".into(), self.name("name")],
            2 => vec!["retention".into(), (1_000_000 + self.counter).to_string()],
            _ => {
                let mut newcomer = Member::new("newcomer");
                let file = self.name("package");
                publish(&self.seat.folder, &file, &newcomer.key_package());
                self.newcomer = Some(newcomer);
                vec!["add".into(), file]
            }
        };
        Step::Prepare { change }
    }

    /// Runs a script in a child and kills it over the last step. Returns the reply if there was one.
    fn crash(&mut self, steps: &[Step], usual: &mut Usual) -> Option<String> {
        let (last, before) = steps.split_last().unwrap();
        let mut child = Process::launch(child_entry, &self.seat);
        if !matches!(last, Step::Open) {
            usual.learn(Step::Open.name(), reply(&mut child).0);
            for step in before {
                child.tell(&step.order(&self.group));
                assert!(matches!(child.hear(), Some(Line::Begin)));
                let (took, reply) = reply(&mut child);
                usual.learn(step.name(), took);
                self.acknowledged(step, &reply);
            }
            child.tell(&last.order(&self.group));
            assert!(matches!(child.hear(), Some(Line::Begin)));
        }
        self.aim(last.name(), usual);
        let rest = child.kill();
        assert!(rest.len() <= 1, "one reply at most");
        rest.into_iter().next().map(|line| match line {
            Line::End { reply, .. } => reply,
            Line::Begin => panic!("nothing more was ordered"),
        })
    }

    /// Spins until the moment that the seed chose.
    fn aim(&mut self, name: &'static str, usual: &mut Usual) {
        let start = Instant::now();
        let spin = |since: Instant, end: Duration| {
            while since.elapsed() < end {
                std::hint::spin_loop();
            }
        };
        if self.dice.coin() {
            return spin(start, usual.of(name).mul_f64(self.dice.below(110) as f64 / 100.0));
        }
        let mut log = self.seat.database.clone().into_os_string();
        log.push("-wal");
        let (mark, limit) = (Mark::of(log.into()), Duration::from_millis(300));
        while !mark.is_passed() && start.elapsed() < limit {
            std::hint::spin_loop();
        }
        // Almost all of the call is behind it now.
        if start.elapsed() < limit && name != Step::Open.name() {
            usual.learn(name, start.elapsed());
        }
        spin(Instant::now(), Duration::from_micros(self.dice.below(400)));
    }

    /// The reply of a call that returned.
    fn acknowledged(&mut self, step: &Step, reply: &str) {
        match step {
            Step::Send { text } => {
                self.model.push(text.clone());
                self.unread.push((event_of(reply), text.clone()));
            }
            Step::Receive { text, .. } => {
                assert_eq!(reply, "applied");
                self.model.push(text.clone());
            }
            Step::Held { text, .. } => {
                assert_eq!(reply, "publish_in_progress");
                self.waiting.push(text.clone());
            }
            Step::Batch { texts, .. } => {
                assert_eq!(reply, "applied ".repeat(texts.len()));
                self.model.extend(texts.iter().cloned());
            }
            Step::Prepare { .. } => {
                self.prepared = Some(Prepared::from_text(reply));
            }
            Step::Welcome { .. } => assert_eq!(reply, "applied"),
            Step::Confirm => self.model.append(&mut self.waiting),
            Step::Accept { .. } | Step::Open => {}
        }
    }

    /// What would stand in the history if the interrupted step had happened.
    fn effect(&self, step: &Step) -> Vec<String> {
        match step {
            Step::Send { text } | Step::Receive { text, .. } => vec![text.clone()],
            Step::Batch { texts, .. } => texts.clone(),
            Step::Confirm => self.waiting.clone(),
            _ => Vec::new(),
        }
    }

    /// Opens what the crash left, compares it with the model, repeats the call. True if the call had happened.
    fn recover(&mut self, step: &Step, reply: Option<&str>) -> bool {
        let effect = self.effect(step);
        if let Some(reply) = reply {
            self.acknowledged(step, reply);
        }
        let mut bob = self.seat.open();
        let history = bob.texts(&self.group);
        let added = history.strip_prefix(&self.model[..]).expect("no acknowledged message is lost");
        let done = reply.is_some() || self.happened(&mut bob, step, !added.is_empty());
        let due = if done && reply.is_none() { effect } else { Vec::new() };
        assert_eq!(added, due, "all of the interrupted call or nothing");
        self.model = history;
        for (event, text) in std::mem::take(&mut self.unread) {
            assert_eq!(received(&self.alice.applies(&event)), [text], "Alice reads what Bob sent");
        }
        self.repeat(&mut bob, step, done);
        assert_eq!(bob.texts(&self.group), self.model);
        let group = self.group.clone();
        self.talk(&mut bob, &group);
        bob.engine.close().unwrap();
        done
    }

    /// Whether an unacknowledged step took effect, by its own trace.
    fn happened(&mut self, bob: &mut Member, step: &Step, in_history: bool) -> bool {
        match step {
            Step::Send { .. } | Step::Receive { .. } | Step::Batch { .. } => in_history,
            Step::Held { .. } => panic!("not interrupted here"),
            Step::Open => false,
            Step::Prepare { .. } => !bob.engine.pending().unwrap().is_empty(),
            Step::Confirm => {
                let pending = bob.engine.pending().unwrap();
                let advanced = bob.info(&self.group).epoch > self.alice.info(&self.group).epoch;
                assert_eq!(advanced, pending.is_empty(), "the epoch and the outbox agree");
                advanced
            }
            Step::Welcome { event, .. } => {
                bob.engine.invites().unwrap().iter().any(|i| i.id == event.id())
            }
            Step::Accept { .. } => {
                let state = bob.info(self.joining.as_ref().unwrap()).state;
                assert!(matches!(state, GroupState::Active | GroupState::Pending));
                state == GroupState::Active
            }
        }
    }

    /// Makes the call again: it gives what it would have given.
    fn repeat(&mut self, bob: &mut Member, step: &Step, done: bool) {
        let expected = if done { Verdict::Duplicate } else { Verdict::Applied };
        match step {
            Step::Send { text } => {
                let message =
                    NewMessage { text: text.clone(), kind: kind::CHAT, ..NewMessage::default() };
                let sent = bob.engine.create_message(&self.group, message).unwrap();
                assert_eq!(received(&self.alice.applies(&sent.event)), [text.as_str()]);
                self.model.push(text.clone());
            }
            Step::Receive { event, text, .. } => {
                assert_eq!(bob.takes(event).verdict, expected);
                if !done {
                    self.model.push(text.clone());
                }
            }
            Step::Batch { events, texts, .. } => {
                let json: Vec<String> = events.iter().map(Event::to_json).collect();
                let json: Vec<&[u8]> = json.iter().map(String::as_bytes).collect();
                let outcomes = bob.engine.process_many(&json).unwrap();
                assert!(
                    outcomes.iter().all(|o| o.verdict == expected),
                    "all of a batch or nothing"
                );
                if !done {
                    self.model.extend(texts.iter().cloned());
                }
            }
            Step::Held { .. } => panic!("not interrupted here"),
            Step::Open => {}
            Step::Prepare { change } => self.repeat_prepare(bob, change, done),
            Step::Confirm => self.repeat_confirm(bob, done),
            Step::Welcome { event, .. } => {
                assert_eq!(bob.takes(event).verdict, expected);
                let invites = bob.engine.invites().unwrap();
                assert_eq!(
                    invites.iter().map(|i| i.id).collect::<Vec<_>>(),
                    [event.id()],
                    "invited once"
                );
                self.repeat_accept(bob, event.id());
            }
            Step::Accept { invite } => self.repeat_accept(bob, *invite),
        }
    }

    fn repeat_prepare(&mut self, bob: &mut Member, change: &[String], done: bool) {
        let folder = self.seat.folder.clone();
        let package = |file: &str| event_of(&std::fs::read_to_string(folder.join(file)).unwrap());
        let words: Vec<&str> = change.iter().map(String::as_str).collect();
        let again = prepare(bob, &self.group, &words, package);
        let pending = bob.engine.pending().unwrap();
        let [pending] = &pending[..] else { panic!("one commit is pending") };
        let pending = Prepared::of(pending);
        match again {
            Err(Error::CommitPending) => assert!(done),
            Ok(again) => {
                assert!(!done);
                assert_eq!(Prepared::of(&again), pending);
            }
            Err(error) => panic!("preparing again: {error}"),
        }
        if let Some(acknowledged) = &self.prepared {
            assert_eq!(&pending, acknowledged, "the very bytes that were handed out");
        }
        self.prepared = Some(pending);
        self.repeat_confirm(bob, false);
    }

    /// Resolves the commit: the epoch advances once, on both sides.
    fn repeat_confirm(&mut self, bob: &mut Member, done: bool) {
        let prepared = self.prepared.take().expect("a commit was prepared");
        let commit = event_of(&prepared.event);
        let epoch = self.alice.info(&self.group).epoch;
        if !done {
            let [pending] = &bob.engine.pending().unwrap()[..] else {
                panic!("the commit is pending")
            };
            assert_eq!(Prepared::of(pending), prepared, "the very bytes that were handed out");
        }
        self.alice.applies(&commit);
        let before = done.then(|| (bob.info(&self.group), bob.engine.digest().unwrap()));
        let confirmed = bob.engine.confirm(prepared.id).expect("confirming again");
        assert_eq!(confirmed.epoch, epoch + 1);
        if let Some((info, digest)) = before {
            assert_eq!(confirmed, info, "it was confirmed: the same group");
            assert!(bob.engine.digest().unwrap() == digest, "and nothing happens");
        } else {
            self.untold.clone_from(&self.waiting);
            self.model.append(&mut self.waiting);
        }
        self.waiting.clear();
        assert_eq!(bob.info(&self.group).epoch, epoch + 1, "one epoch on");
        assert!(bob.engine.pending().unwrap().is_empty());
        assert_eq!(bob.takes(&commit).verdict, Verdict::Duplicate, "the echo");
        if let Some(mut newcomer) = self.newcomer.take() {
            let welcomes: Vec<Event> =
                prepared.welcomes.iter().map(|json| event_of(json)).collect();
            newcomer.joins(&welcomes);
            assert_eq!(epoch_proof(&mut newcomer, &self.group), epoch_proof(bob, &self.group));
        }
    }

    fn repeat_accept(&mut self, bob: &mut Member, invite: EventId) {
        let group = self.joining.take().expect("a join is under way");
        let info = bob.engine.accept(&invite).unwrap();
        assert_eq!((&info.id, info.state), (&group, GroupState::Active));
        assert!(bob.engine.invites().unwrap().is_empty());
        assert_eq!(bob.engine.groups(None).unwrap().iter().filter(|g| g.id == group).count(), 1);
        self.talk(bob, &group);
    }

    /// A message each way: both are in the same epoch and read each other.
    fn talk(&mut self, bob: &mut Member, group: &GroupId) {
        assert_eq!(epoch_proof(bob, group), epoch_proof(&mut self.alice, group));
        let (ping, pong) = (self.name("ping"), self.name("pong"));
        let event = bob.says(group, &ping);
        assert_eq!(received(&self.alice.applies(&event)), [ping.as_str()]);
        let event = self.alice.says(group, &pong);
        // What waited for a commit is told with the first event that changes something, and that alone.
        let told = [std::mem::take(&mut self.untold), vec![pong.clone()]].concat();
        assert_eq!(received(&bob.applies(&event)), told);
        if *group == self.group {
            self.model.extend([ping, pong]);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_no_group_breaks() {
    let seed = sampling::first_seed();
    let start = Instant::now();
    let mut usual = Usual::default();
    let mut tallies: BTreeMap<Call, Tally> = BTreeMap::new();
    let mut dice = SplitMix(seed);
    let stories = sampling::count("kill_stories");
    for number in 0..stories {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut story = Story::new(home.path(), folder.path(), dice.roll());
        let mut calls = CALLS.repeat(ROUNDS);
        calls.extend([Call::Open; 2]);
        for last in (1..calls.len()).rev() {
            calls.swap(last, usize::try_from(dice.below(last as u64 + 1)).unwrap());
        }
        let most = calls.len() * TRIES;
        let mut calls = VecDeque::from(calls);
        for round in 0..most {
            let Some(call) = calls.pop_front() else { break };
            println!("seed {seed}, story {number}, round {round}: {call:?}");
            let steps = story.script(call);
            let reply = story.crash(&steps, &mut usual);
            let done = story.recover(steps.last().unwrap(), reply.as_deref());
            let tally = tallies.entry(call).or_default();
            tally.kills += 1;
            if reply.is_none() {
                tally.inside += 1;
                *(if done { &mut tally.done } else { &mut tally.undone }) += 1;
            } else {
                calls.push_back(call);
            }
        }
    }
    for (call, Tally { kills, inside, undone, done }) in &tallies {
        println!(
            "{call:?}: {kills} kills, {inside} inside the call ({undone} undone, {done} done)"
        );
    }
    let kills: usize = tallies.values().map(|t| t.kills).sum();
    let inside: usize = tallies.values().map(|t| t.inside).sum();
    let took = start.elapsed().as_secs();
    println!("seed {seed}: kills {kills}, inside calls {inside}, lost 0, broken 0 ({took} s)");
    assert!(
        CALLS.iter().all(|call| tallies[call].inside == stories as usize * ROUNDS),
        "300 kills inside calls, and those while opening"
    );
}
