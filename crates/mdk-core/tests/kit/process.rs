//! A member in a process of its own: the test binary runs itself again and takes its orders line by line.
//!
//! Orders go down standard input. For each the child prints `@b` before the call and `@e MICROS REPLY` after
//! it has returned, so the parent knows whether a process that died was inside a call. A line in the pipe
//! outlives its writer: it is the acknowledgement that a crash must not make untrue.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdk_core::{Engine, ManualClock};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{Event, GroupId, Keys, OsRandom, Random as _, Secret};

use super::shares::name_of;
use super::{Member, now};

const SEAT: &str = "MDK_TEST_SEAT";

/// An account and where its database is: everything a process needs to become its owner.
#[derive(Clone)]
pub struct Seat {
    pub name: &'static str,
    pub database: PathBuf,
    /// Where event files go and come from.
    pub folder: PathBuf,
    account: [u8; 32],
    key: [u8; 32],
}

impl Seat {
    pub fn new(name: &'static str, home: &Path, folder: &Path) -> Self {
        let mut key = [0; 32];
        OsRandom.fill(&mut key);
        Self {
            name,
            database: home.join(format!("{name}.db")),
            folder: folder.to_owned(),
            account: *Keys::generate().secret().expose(),
            key,
        }
    }

    /// Opens the database at once or not at all: nobody may hold it any more.
    pub fn open(&self) -> Member {
        let keys = Keys::from_secret(Secret::new(self.account)).expect("a secret that Keys made");
        let clock = ManualClock::at(now());
        let engine = Engine::open(
            &self.database,
            keys,
            &DatabaseKey::Raw(Secret::new(self.key)),
            &OpenOptions::default(),
            super::at_once(),
            Arc::new(clock.clone()),
        )
        .unwrap_or_else(|error| panic!("{}'s database opens: {error}", self.name));
        Member { name: self.name, engine, clock }
    }

    fn to_text(&self) -> String {
        let path = |path: &Path| path.to_str().expect("a path of ours").to_owned();
        [
            self.name.to_owned(),
            path(&self.database),
            path(&self.folder),
            hex::encode(self.account),
            hex::encode(self.key),
        ]
        .join("\n")
    }

    fn from_text(text: &str) -> Option<Self> {
        let [name, database, folder, account, key] =
            text.split('\n').collect::<Vec<_>>().try_into().ok()?;
        let secret = |text: &str| hex::decode(text).ok()?.try_into().ok();
        Some(Self {
            name: name.to_owned().leak(),
            database: database.into(),
            folder: folder.into(),
            account: secret(account)?,
            key: secret(key)?,
        })
    }
}

/// A running child.
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a child says.
#[derive(Debug)]
pub enum Line {
    Begin,
    End { took: Duration, reply: String },
}

impl Process {
    /// Starts a child, whose `main` is an ignored test, and waits until it has its database open.
    pub fn start(entry: impl Fn(), seat: &Seat) -> Self {
        let mut process = Self::launch(entry, seat);
        assert!(matches!(process.hear(), Some(Line::End { .. })), "the child opens its database");
        process
    }

    /// Starts a child and returns when it is about to open its database.
    pub fn launch(entry: impl Fn(), seat: &Seat) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the test binary"))
            .args([name_of(entry), "--exact", "--ignored", "--nocapture"])
            .env(SEAT, seat.to_text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut process = Self { child, input, output };
        assert!(matches!(process.hear(), Some(Line::Begin)), "the child starts");
        process
    }

    pub fn tell(&mut self, order: &str) {
        assert!(!order.contains('\n'), "an order is one line");
        writeln!(self.input, "{order}").expect("the child listens");
    }

    /// The next line of the child; `None` when it is gone.
    pub fn hear(&mut self) -> Option<Line> {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("a pipe of text");
            if read == 0 {
                return None;
            }
            // The test harness talks on the same pipe, and a killed child may leave half a line.
            let Some(line) = line.strip_prefix('@').and_then(|line| line.strip_suffix('\n')) else {
                continue;
            };
            if line == "b" {
                return Some(Line::Begin);
            }
            let (took, reply) = line
                .strip_prefix("e ")
                .and_then(|rest| rest.split_once(' '))
                .expect("a line of ours");
            let took = Duration::from_micros(took.parse().expect("a number"));
            return Some(Line::End { took, reply: reply.to_owned() });
        }
    }

    /// Gives an order and waits for the reply.
    pub fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        loop {
            match self.hear() {
                Some(Line::Begin) => {}
                Some(Line::End { reply, .. }) => return reply,
                None => panic!("the child died over {:?}", order.split('\t').next()),
            }
        }
    }

    /// Lets the child close its database and exit.
    pub fn leave(self) {
        let Self { mut child, input, output } = self;
        drop(input);
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "the child leaves in peace: {status}");
        drop(output);
    }

    /// SIGKILL. Returns what the child had still said.
    pub fn kill(mut self) -> Vec<Line> {
        self.child.kill().expect("a child of ours");
        let status = self.child.wait().expect("a child of ours");
        assert!(!status.success(), "the child was killed, it did not end: {status}");
        std::iter::from_fn(|| self.hear()).collect()
    }
}

/// The child's side: opens the seat and follows orders until there are no more. Does nothing when this process
/// was not started by [`Process::start`].
pub fn serve(mut follow: impl FnMut(&Seat, &mut Member, &[&str]) -> String) {
    let Some(seat) = std::env::var(SEAT).ok().and_then(|text| Seat::from_text(&text)) else {
        return;
    };
    // The harness has left its line unfinished.
    let mut member = timed("\n@b", || (seat.open(), String::new()));
    for order in std::io::stdin().lines() {
        let order = order.expect("a pipe of text");
        let words: Vec<&str> = order.split('\t').collect();
        timed("@b", || ((), follow(&seat, &mut member, &words)));
    }
    member.engine.close().expect("closing");
}

fn timed<T>(begin: &str, call: impl FnOnce() -> (T, String)) -> T {
    say(begin);
    let start = Instant::now();
    let (value, reply) = call();
    let took = start.elapsed().as_micros();
    assert!(!reply.contains('\n'), "a reply is one line");
    say(&format!("@e {took} {reply}"));
    value
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// Writes an event file: it is complete when it has its name.
pub fn publish(folder: &Path, name: &str, event: &Event) {
    let temp = folder.join(format!("{name}.tmp"));
    std::fs::write(&temp, event.to_json()).expect("a folder of ours");
    std::fs::rename(&temp, folder.join(name)).expect("a folder of ours");
}

pub fn event_of(json: &str) -> Event {
    Event::from_json(json.as_bytes()).expect("a genuine event")
}

/// Compares two members' epochs by what only equal epochs can export.
pub fn epoch_proof(member: &mut Member, group: &GroupId) -> String {
    let secret = member.engine.export_secret(group, "test", b"same epoch?", 32).expect("exporting");
    hex::encode(secret.expose())
}
