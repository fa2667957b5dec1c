//! The orders of the crash test: what Bob's process is told to do, and how it does it.

use std::collections::BTreeMap;
use std::time::Duration;

use mdk_core::{GroupUpdate, Pending, Verdict};
use mdk_wire::{Event, EventId, GroupId};

use super::Member;
use super::process::{Line, Process, Seat, event_of, serve};

/// The calls that are interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Send,
    Receive,
    Batch,
    Prepare,
    Confirm,
    Join,
    Open,
}

pub const CALLS: [Call; 6] =
    [Call::Send, Call::Receive, Call::Batch, Call::Prepare, Call::Confirm, Call::Join];

/// What the child is told to do, with what the parent must know to judge it.
#[derive(Debug)]
pub enum Step {
    Send {
        text: String,
    },
    Receive {
        event: Event,
        file: String,
        text: String,
    },
    /// The same while a commit is pending.
    Held {
        file: String,
        text: String,
    },
    Batch {
        events: Vec<Event>,
        files: Vec<String>,
        texts: Vec<String>,
    },
    Prepare {
        change: Vec<String>,
    },
    Confirm,
    Welcome {
        event: Event,
        file: String,
    },
    Accept {
        invite: EventId,
    },
    /// Only the opening of the database, which comes before every other step.
    Open,
}

/// A commit as it was handed out: its handle and its very bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub id: i64,
    pub event: String,
    pub welcomes: Vec<String>,
}

impl Prepared {
    pub fn of(pending: &Pending) -> Self {
        Self {
            id: pending.id,
            event: pending.event.as_ref().unwrap().to_json(),
            welcomes: pending.welcomes.iter().map(Event::to_json).collect(),
        }
    }

    pub fn to_text(&self) -> String {
        serde_json::json!([self.id, self.event, self.welcomes]).to_string()
    }

    pub fn from_text(text: &str) -> Self {
        let (id, event, welcomes) = serde_json::from_str(text).unwrap();
        Self { id, event, welcomes }
    }
}

/// How long calls usually take.
#[derive(Default)]
pub struct Usual(pub BTreeMap<&'static str, Duration>);

impl Usual {
    pub fn learn(&mut self, name: &'static str, took: Duration) {
        let usual = self.0.entry(name).or_insert(took);
        *usual = (*usual * 3 + took) / 4;
    }

    pub fn of(&self, name: &'static str) -> Duration {
        self.0.get(name).copied().unwrap_or(Duration::from_millis(5))
    }
}

impl Step {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Receive { .. } => "receive",
            Self::Held { .. } => "hold",
            Self::Batch { .. } => "batch",
            Self::Prepare { .. } => "prepare",
            Self::Confirm => "confirm",
            Self::Welcome { .. } => "welcome",
            Self::Accept { .. } => "accept",
            Self::Open => "open",
        }
    }

    pub fn order(&self, group: &GroupId) -> String {
        let group = group.to_hex();
        match self {
            Self::Send { text } => format!("send\t{group}\t{text}"),
            Self::Receive { file, .. } | Self::Held { file, .. } | Self::Welcome { file, .. } => {
                format!("receive\t{file}")
            }
            Self::Batch { files, .. } => format!("batch\t{}", files.join("\t")),
            Self::Prepare { change } => format!("prepare\t{group}\t{}", change.join("\t")),
            Self::Confirm => "confirm".into(),
            Self::Accept { invite } => format!("accept\t{}", invite.to_hex()),
            Self::Open => panic!("nobody orders this"),
        }
    }
}

/// The child's side.
pub fn follow_orders() {
    let read = |seat: &Seat, file: &str| std::fs::read(seat.folder.join(file)).unwrap();
    serve(|seat, bob, words| match words {
        ["send", group, text] => bob.says(&GroupId::from_hex(group).unwrap(), text).to_json(),
        ["receive", file] => verdict_name(bob.engine.process(&read(seat, file)).unwrap().verdict),
        ["batch", files @ ..] => {
            let bytes: Vec<Vec<u8>> = files.iter().map(|file| read(seat, file)).collect();
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let outcomes = bob.engine.process_many(&bytes).unwrap();
            outcomes.into_iter().map(|o| verdict_name(o.verdict) + " ").collect()
        }
        ["prepare", group, change @ ..] => {
            let group = GroupId::from_hex(group).unwrap();
            let package = |file: &str| event_of(&String::from_utf8(read(seat, file)).unwrap());
            let pending = prepare(bob, &group, change, package).unwrap();
            Prepared::of(&pending).to_text()
        }
        ["confirm"] => {
            let id = bob.engine.pending().unwrap()[0].id;
            bob.engine.confirm(id).unwrap().epoch.to_string()
        }
        ["accept", invite] => {
            bob.engine.accept(&EventId::from_hex(invite).unwrap()).unwrap().epoch.to_string()
        }
        _ => panic!("unknown order"),
    });
}

fn verdict_name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Applied => "applied".into(),
        Verdict::Duplicate => "duplicate".into(),
        Verdict::Deferred(why) => why.as_str().into(),
        Verdict::Rejected(why) => why.rule.into(),
    }
}

pub fn prepare(
    bob: &mut Member,
    group: &GroupId,
    change: &[&str],
    package: impl Fn(&str) -> Event,
) -> mdk_core::Result<Pending> {
    let update = match change {
        ["update"] => return bob.engine.self_update(group),
        ["add", file] => return bob.engine.add_members(group, &[package(file)], false),
        ["rename", name] => GroupUpdate { name: Some((*name).into()), ..GroupUpdate::default() },
        ["retention", seconds] => {
            GroupUpdate { retention: Some(seconds.parse().unwrap()), ..GroupUpdate::default() }
        }
        _ => panic!("unknown change"),
    };
    bob.engine.update_group(group, update)
}

/// Waits for the end of a call.
pub fn reply(child: &mut Process) -> (Duration, String) {
    match child.hear() {
        Some(Line::End { took, reply }) => (took, reply),
        other => panic!("the child did not end its call: {other:?}"),
    }
}
