//! Two operating-system processes that share nothing but a folder of event files.
//!
//! The parent is the hands of two users: it says whose turn it is. Everything that goes from one engine to the
//! other goes through the folder, and every process that starts reads the whole folder again, as from a relay.

use std::collections::BTreeSet;
use std::path::Path;

use mdk_core::{EventBody, GroupState, GroupUpdate, NewGroup, Verdict};
use mdk_wire::{Event, GroupId, PublicKey};
use serde_json::{Value, json};

use crate::kit::dice::SplitMix;
use crate::kit::process::{Process, Seat, epoch_proof, event_of, publish, serve};
use crate::kit::{Member, RELAY, chat, new_group};

const MESSAGES: usize = 200;
const COMMITS: usize = 20;
const SEED: u64 = 4;

/// Event files, oldest first.
fn files(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".event")).collect();
    names.sort();
    names
}

fn post(folder: &Path, event: &Event) {
    publish(folder, &format!("{:06}.event", files(folder).len()), event);
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

fn the_group(member: &mut Member) -> GroupId {
    member.engine.groups(Some(GroupState::Active)).unwrap()[0].id.clone()
}

#[test]
#[ignore = "the other process of this file's test"]
fn child_entry() {
    let mut read_files = BTreeSet::new();
    serve(|seat, member, words| follow(seat, member, words, &mut read_files));
}

fn follow(seat: &Seat, member: &mut Member, words: &[&str], done: &mut BTreeSet<String>) -> String {
    let folder = &seat.folder;
    match words {
        ["key_package", file] => {
            publish(folder, file, &member.key_package());
            member.key().to_hex()
        }
        ["found", file] => {
            let invitee = event_of(&String::from_utf8(read(folder, file)).unwrap());
            let new =
                NewGroup { admins: vec![invitee.pubkey()], ..new_group("Pen pals", vec![invitee]) };
            let pending = member.engine.create_group(new).unwrap();
            member.confirms(&pending);
            pending.welcomes.iter().for_each(|welcome| post(folder, welcome));
            String::new()
        }
        ["accept"] => {
            let invites = member.engine.invites().unwrap();
            invites.iter().for_each(|invite| drop(member.engine.accept(&invite.id).unwrap()));
            invites.len().to_string()
        }
        ["say", text] => {
            let group = the_group(member);
            let message = chat(*text);
            post(folder, &member.sends(&group, message).event);
            String::new()
        }
        ["take"] => take(folder, member, done),
        ["prepare", what, argument] => prepare(folder, member, what, argument),
        // The commit goes out; the Welcomes follow once it is true.
        ["publish"] => {
            let [pending] = &member.engine.pending().unwrap()[..] else {
                panic!("one commit is pending")
            };
            post(folder, pending.event.as_ref().unwrap());
            pending.event.as_ref().unwrap().to_json()
        }
        ["pending"] => {
            let pending = member.engine.pending().unwrap();
            pending.iter().map(|p| p.event.as_ref().unwrap().to_json()).collect()
        }
        ["confirm"] => {
            let [pending] = &member.engine.pending().unwrap()[..] else {
                panic!("one commit is pending")
            };
            let epoch = member.confirms(pending).epoch;
            pending.welcomes.iter().for_each(|welcome| post(folder, welcome));
            epoch.to_string()
        }
        ["events", cursor] => {
            let events = member.engine.events(cursor.parse().unwrap(), 10_000).unwrap();
            let texts: Vec<&str> = events
                .iter()
                .filter_map(|e| match &e.body {
                    EventBody::MessageReceived { message } => Some(message.text.as_str()),
                    _ => None,
                })
                .collect();
            json!({"texts": texts, "cursor": events.last().map(|e| e.cursor)}).to_string()
        }
        ["state"] => state(member).to_string(),
        _ => panic!("unknown order"),
    }
}

// coverage: no case
/// Everything in the folder that this process has not read yet, echoes of its own events included.
fn take(folder: &Path, member: &mut Member, done: &mut BTreeSet<String>) -> String {
    let new: Vec<String> = files(folder).into_iter().filter(|name| !done.contains(name)).collect();
    let bytes: Vec<Vec<u8>> = new.iter().map(|name| read(folder, name)).collect();
    let outcomes = if bytes.len() > 4 {
        member.engine.process_many(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
    } else {
        bytes.iter().map(|json| member.engine.process(json).unwrap()).collect()
    };
    let mut applied = 0;
    for (outcome, name) in outcomes.iter().zip(&new) {
        match outcome.verdict {
            Verdict::Applied => applied += 1,
            // Welcomes of others are in the folder too.
            Verdict::Duplicate | Verdict::Deferred(_) => {}
            Verdict::Rejected(why) if why.rule == "B3-1" => {}
            Verdict::Rejected(why) => panic!("{} rejects {name}: {why:?}", member.name),
        }
    }
    done.extend(new);
    applied.to_string()
}

fn prepare(folder: &Path, member: &mut Member, what: &str, argument: &str) -> String {
    let group = the_group(member);
    let engine = &mut member.engine;
    let pending = match what {
        "add" => {
            let event = event_of(&String::from_utf8(read(folder, argument)).unwrap());
            engine.add_members(&group, &[event], false)
        }
        "rename" => {
            let name = Some(argument.into());
            engine.update_group(&group, GroupUpdate { name, ..GroupUpdate::default() })
        }
        "self-update" => engine.self_update(&group),
        "relays" => {
            let relays = Some(vec![RELAY.into(), argument.into()]);
            engine.update_group(&group, GroupUpdate { relays, ..GroupUpdate::default() })
        }
        "promote" => engine.promote(&group, &[PublicKey::from_hex(argument).unwrap()]),
        _ => panic!("unknown commit"),
    };
    pending.unwrap().event.unwrap().to_json()
}

/// What both sides must agree on in the end, and the history, which they need not.
fn state(member: &mut Member) -> Value {
    let group = the_group(member);
    let info = member.info(&group);
    let members = member.engine.members(&group).unwrap();
    let history = member.engine.messages(&group, 10_000, None, None).unwrap();
    json!({
        "shared": {
            "epoch": info.epoch,
            "name": info.name,
            "relays": info.relays,
            "admins": info.admins.iter().map(PublicKey::to_hex).collect::<Vec<_>>(),
            "members": members.iter().map(|m| json!([m.public_key.to_hex(), m.leaf_indexes])).collect::<Vec<_>>(),
            "proof": epoch_proof(member, &group),
        },
        "theirs": history.iter().filter(|m| !m.is_mine).map(|m| m.text.as_str()).collect::<Vec<_>>(),
        "mine": history.iter().filter(|m| m.is_mine).map(|m| m.text.as_str()).collect::<Vec<_>>(),
    })
}

/// One side as its user sees it across restarts.
struct Side {
    seat: Seat,
    process: Option<Process>,
    said: Vec<String>,
    heard: Vec<String>,
    cursor: i64,
    starts: usize,
}

impl Side {
    fn new(name: &'static str, home: &Path, folder: &Path) -> Self {
        let seat = Seat::new(name, home, folder);
        let process = Some(Process::start(child_entry, &seat));
        Self { seat, process, said: Vec::new(), heard: Vec::new(), cursor: 0, starts: 1 }
    }

    fn ask(&mut self, order: &str) -> String {
        self.process.as_mut().unwrap().ask(order)
    }

    fn restart(&mut self) {
        self.process.take().unwrap().leave();
        self.process = Some(Process::start(child_entry, &self.seat));
        self.starts += 1;
    }

    fn says(&mut self) {
        let text = format!("{} {}", self.seat.name, self.said.len());
        self.ask(&format!("say\t{text}"));
        self.said.push(text);
    }

    /// Reads the folder, then what the engine has to tell since the last time.
    fn takes(&mut self) -> usize {
        let applied = self.ask("take").parse().unwrap();
        self.listens();
        applied
    }

    fn listens(&mut self) {
        let report: Value =
            serde_json::from_str(&self.ask(&format!("events\t{}", self.cursor))).unwrap();
        self.heard
            .extend(report["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().into()));
        self.cursor = report["cursor"].as_i64().unwrap_or(self.cursor);
    }
}

/// The whole test's state.
struct Story {
    sides: [Side; 2],
    folder: std::path::PathBuf,
    dice: SplitMix,
    steps: usize,
    messages: usize,
    commits: usize,
    newcomers: Vec<(Member, usize)>,
}

impl Story {
    /// Before every tenth step both processes end and new ones open the same databases.
    fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(10) {
            self.sides.iter_mut().for_each(Side::restart);
        }
    }

    fn message(&mut self, side: usize) {
        self.step();
        self.messages += 1;
        self.sides[side].says();
        // Readers lag: messages cross each other and commits.
        if self.dice.coin() {
            self.sides[1 - side].takes();
        }
    }

    fn commit(&mut self) {
        self.step();
        let number = self.commits;
        self.commits += 1;
        let side = number % 2;
        let order = match number % 5 {
            0 => {
                let mut newcomer = Member::new("newcomer");
                let file = format!("package-{number}");
                publish(&self.folder, &file, &newcomer.key_package());
                self.newcomers.push((newcomer, 0));
                format!("add\t{file}")
            }
            1 => format!("rename\tPen pals {number}"),
            2 => "self-update\t".into(),
            3 => format!("relays\twss://relay{number}.example"),
            _ => format!("promote\t{}", self.newcomers.last().unwrap().0.key().to_hex()),
        };
        // Two commits on one epoch are another test's matter.
        self.sides[side].takes();
        let prepared = self.sides[side].ask(&format!("prepare\t{order}"));
        let ending = number / 2 % 3;
        if ending == 1 {
            self.sides[side].restart();
        }
        let published = self.sides[side].ask("publish");
        assert_eq!(published, prepared, "the very bytes that were handed out first");
        if ending == 2 {
            // The other side talks on in the old epoch, and the committer restarts, reads that and its own echo.
            if self.messages < MESSAGES {
                self.step();
                self.messages += 1;
                self.sides[1 - side].says();
            }
            self.sides[side].restart();
            self.sides[side].takes();
            assert_eq!(self.sides[side].ask("pending"), prepared);
        }
        let before = files(&self.folder).len();
        self.sides[side].ask("confirm");
        self.sides[side].listens();
        if number.is_multiple_of(5) {
            self.newcomers.last_mut().unwrap().1 = before;
        }
        if self.dice.coin() {
            self.sides[1 - side].takes();
        }
    }
}

#[test]
fn two_processes_hold_a_conversation_across_restarts() {
    let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sides = ["alice", "bob"].map(|name| Side::new(name, home.path(), folder.path()));
    let mut story = Story {
        sides,
        folder: folder.path().to_owned(),
        dice: SplitMix(SEED),
        steps: 0,
        messages: 0,
        commits: 0,
        newcomers: Vec::new(),
    };
    story.sides[1].ask("key_package\tpackage-bob");
    story.sides[0].ask("found\tpackage-bob");
    assert_eq!(story.sides[1].takes(), 1, "the Welcome");
    assert_eq!(story.sides[1].ask("accept"), "1");

    while story.messages < MESSAGES || story.commits < COMMITS {
        // One commit after about ten messages.
        if story.commits < COMMITS
            && story.messages >= (story.commits + 1) * MESSAGES / (COMMITS + 1)
        {
            story.commit();
        } else {
            let side = usize::from(story.dice.coin());
            story.message(side);
        }
    }
    assert_eq!(
        (story.messages, story.commits, story.steps),
        (MESSAGES, COMMITS, MESSAGES + COMMITS)
    );
    story.sides.iter_mut().for_each(|side| assert!(side.takes() < 100));

    let [alice, bob] = &mut story.sides;
    assert_eq!(alice.said.len() + bob.said.len(), MESSAGES);
    assert_eq!(alice.heard, bob.said, "every message once and in order");
    assert_eq!(bob.heard, alice.said, "every message once and in order");
    let states = [&mut *alice, &mut *bob]
        .map(|side| -> Value { serde_json::from_str(&side.ask("state")).unwrap() });
    assert_eq!(states[0]["shared"], states[1]["shared"]);
    assert_eq!(states[0]["shared"]["epoch"], 1 + COMMITS);
    assert_eq!(states[0]["shared"]["name"], "Pen pals 16");
    for (state, (own, other)) in states.iter().zip([(&*alice, &*bob), (&*bob, &*alice)]) {
        assert_eq!(state["mine"], json!(own.said));
        assert_eq!(state["theirs"], json!(other.said));
    }
    assert!(alice.starts > 22 && bob.starts > 22, "a restart before every tenth step");
    for side in story.sides {
        side.process.unwrap().leave();
    }

    // Those who were added on the way are in the same group.
    let names = files(folder.path());
    for (mut member, welcome) in story.newcomers {
        for (place, name) in names.iter().enumerate().skip(welcome) {
            member.engine.process(&read(folder.path(), name)).unwrap();
            if place == welcome {
                member.joins(&[]);
            }
        }
        assert_eq!(state(&mut member)["shared"], states[0]["shared"]);
    }
    println!("{MESSAGES} messages, {COMMITS} commits: every message once and in order");
}
