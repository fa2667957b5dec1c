//! One relay that is read, as a machine: what arrives goes in, what is to be done comes out. No I/O, no clock, no lock.
//!
//! ```text
//! Offline -> Backfilling -> Gated -> Live      (docs/internals/sync.md has the table of transitions, S1 to S40)
//!                 |  ^                |
//!                 v  |                v
//!               Degraded  <-----------+
//! ```
//! A history is whole only if it was asked for in the generation of subscriptions that there is when it has come.

mod histories;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use mdk_wire::Event;
use mdk_wire::budget::relay::ROTATE_AFTER;
use tokio::time::{Duration, Instant};

use super::cursor::Cursor;
use super::held_events::HeldEvents;
use super::subscriptions::{Opening, Subscriptions};
use super::topics::{Rules, Scope, Span};
use crate::client::feed::IngestReport;

/// Attempts at a history on one connection, one after the other, before what is live passes all the same; and for a relay
/// that has never said of anything that it is all.
const TRIES: u32 = 4;
const TRIES_WITHOUT_END: u32 = 2;

/// The time, and a number by chance for the length of pauses, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    /// Unix seconds.
    pub(crate) wall: u64,
    pub(crate) chance: f64,
}

/// The number of a history that is fetched: an answer to another one is no input.
pub(crate) type JobId = u64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Connected, or known to the relay only now (a late NIP-42): until now it may have hidden something.
    Connected,
    Disconnected,
    /// The topics that are wanted of it by now. A relay of which nothing is wanted is given up.
    Scope(Scope),
    /// Subscriptions up to this one were opened.
    Opened(u64, Opened),
    Event(u64, Event),
    EndOfStored(u64),
    Closed(u64),
    /// A page takes its time, or came without its end.
    Slow(JobId),
    /// A part of a history, oldest first.
    Part(JobId, Vec<Event>),
    /// The engine has such a part.
    Taken(JobId, IngestReport),
    /// The history has come, or has failed.
    Ended(JobId, JobEnd),
    /// The engine has the last part of it.
    GateOpened(JobId, IngestReport),
    /// The engine has what was delivered.
    Delivered(IngestReport),
    /// Everything is to be asked for, whatever is there.
    Sync,
    /// These groups stand still.
    SearchDeeper(BTreeSet<String>),
    Tick,
}

/// How opening subscriptions went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    Well,
    /// Only once the former ones were ended: something may have been missed between them.
    Late,
    Refused,
}

/// How a history ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobEnd {
    /// The rest of it, if all of it came. What came of one that failed is with the engine.
    pub(crate) rest: Option<Vec<Event>>,
    /// Topics whose history is complete.
    pub(crate) complete: Vec<String>,
    /// How many messages of the relay have come by then.
    pub(crate) heard: u64,
    /// An answer came with its end.
    pub(crate) sends_eose: bool,
    /// A place of it could not be paged through.
    pub(crate) skipped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Subscribe(Opening),
    Unsubscribe(Vec<u64>),
    /// Fetch this, once the subscriptions asked for before are open. `never_ends`: the relay has never said of anything that it
    /// is all; `slow`: the others do not wait for it.
    Fetch {
        job: JobId,
        spans: Vec<Span>,
        never_ends: bool,
        slow: bool,
    },
    /// For the gate, oldest first; `last`: all of the history is there then.
    Give {
        job: JobId,
        events: Vec<Event>,
        last: bool,
    },
    /// For the engine, now; `held`: they waited for the history.
    Deliver {
        events: Vec<Event>,
        held: bool,
    },
    SaveCursor,
    /// Everything of the topics that were wanted is here that the relay had then, Unix seconds.
    CompleteAsOf(u64),
    /// Everything is there: look whether the relay still has what we published on it.
    CheckPublished,
    SearchedDeeper(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobKind {
    /// Everything since the cursor.
    Whole,
    /// Topics that were never fetched, and groups that stand still; the rest is there.
    Part,
}

/// A history that is being fetched.
#[derive(Debug)]
struct Job {
    id: JobId,
    kind: JobKind,
    /// Groups that it asks for further back.
    deeper: BTreeSet<String>,
    /// Of the subscriptions when it was asked for.
    generation: u64,
    /// The last subscription that was asked for before.
    after: u64,
    began_at: Instant,
    /// When it was asked for, Unix seconds.
    asked_at: u64,
    newest: u64,
    /// The engine had no room for something of it.
    no_room: bool,
    /// The relay may have hidden something from it.
    hidden: bool,
    /// A place of it could not be paged through.
    skipped: bool,
    /// All of it has come, of these topics, and is with the gate.
    given: Option<Vec<String>>,
}

#[derive(Debug)]
enum Task {
    Runs(Job),
    /// For another attempt.
    Waits(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The history does not come.
    History,
    /// A subscription was closed, or not opened.
    Unsubscribed,
    /// The engine had no room for something.
    NoRoom,
}

#[derive(Debug)]
enum State {
    /// No connection since then. A history that was asked for goes on at its page when there is one again.
    Offline { since: Instant, job: Option<Job>, held: HeldEvents },
    /// Nothing passes.
    Backfilling { task: Task, held: HeldEvents },
    /// Nothing passes: all of the history is with the gate.
    Gated { job: Job, held: HeldEvents },
    /// Everything is there, and all passes. A history that was asked for on top of that shuts nothing.
    Live { extra: Option<Task> },
    /// Live events pass, though something older is missing.
    Degraded { cause: Cause, task: Task },
}

/// Traits that a relay has shown.
#[derive(Debug, Default)]
struct Traits {
    /// It has said of an answer that it is all.
    sends_eose: bool,
    /// A history of this process came to its end before.
    was_read: bool,
    /// How many messages had come when the last attempt ended.
    heard: u64,
}

/// One relay that is read.
#[derive(Debug)]
pub(crate) struct RelaySync {
    rules: Arc<Rules>,
    scope: Scope,
    cursor: Cursor,
    /// As it was when the connection began.
    cursor_before: Cursor,
    subs: Subscriptions,
    traits: Traits,
    /// The last number that was given to a subscription or a history.
    number: u64,
    /// Attempts on this connection after which the way was not open.
    tries: u32,
    /// Attempts since everything was there: they make the pauses longer, and nobody waits for who has failed.
    failures: u32,
    /// The others do not wait for it.
    slow: bool,
    /// Everything is to be asked for again as soon as this history is over.
    again: bool,
    /// Groups that stand still, and are still to be asked for.
    deeper: BTreeSet<String>,
    /// It is to be seen whether it still has what we published there.
    check_due: bool,
    state: State,
}

impl RelaySync {
    /// A relay that is not connected. `serial` tells it from every other one of this process, also from one of the same name:
    /// what still comes of that is no answer to this one.
    pub(crate) fn new(
        rules: Arc<Rules>,
        serial: u32,
        scope: Scope,
        cursor: Cursor,
        now: Instant,
    ) -> Self {
        Self {
            rules,
            scope,
            cursor_before: Cursor::default(),
            cursor,
            subs: Subscriptions::default(),
            traits: Traits::default(),
            number: u64::from(serial) << 32,
            tries: 0,
            failures: 0,
            slow: false,
            again: false,
            deeper: BTreeSet::new(),
            check_due: false,
            state: State::Offline { since: now, job: None, held: HeldEvents::default() },
        }
    }

    /// Takes an input; gives what is to be done.
    pub(crate) fn on(&mut self, input: Input, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        let to = &mut actions;
        match input {
            Input::Connected => self.connected(now, to),
            Input::Disconnected => self.disconnected(now),
            Input::Scope(scope) => self.rescope(scope, now, to),
            Input::Opened(last, opened) => self.opened(last, opened, now, to),
            Input::Event(subscription, event) => self.event(subscription, event, to),
            Input::EndOfStored(subscription) => {
                self.traits.sends_eose = true;
                unsubscribe(self.subs.end(subscription), to);
            }
            Input::Closed(subscription) if self.subs.knows(subscription) => self.deaf(now, to),
            Input::Closed(_) => {}
            Input::Slow(job) => self.slow |= self.fetches(job),
            Input::Part(job, events) if self.fetches(job) => {
                to.push(Action::Give { job, events, last: false });
            }
            Input::Part(..) => {}
            Input::Taken(job, report) => self.taken(job, &report, now, to),
            Input::Ended(job, end) => self.ended(job, end, now, to),
            Input::GateOpened(job, report) => self.gate_opened(job, &report, now, to),
            Input::Delivered(report) => self.delivered(&report, now, to),
            Input::Sync => self.fetch_again(now, to),
            Input::SearchDeeper(groups) => self.search_deeper(groups, now, to),
            Input::Tick => self.tick(now, to),
        }
        actions
    }

    /// S1: nothing of what was open counts any more.
    fn disconnected(&mut self, now: Now) {
        if self.is_connected() {
            self.subs.lost();
            let (job, held) = self.dissolve(now);
            self.state = State::Offline { since: now.at, job, held };
        }
    }

    /// S2, S3: whatever was open before, something may have been missed.
    fn connected(&mut self, now: Now, to: &mut Vec<Action>) {
        self.subs.distrust();
        (self.tries, self.check_due) = (0, true);
        if self.is_connected() {
            self.forget_hidden(to);
        } else {
            self.cursor_before = self.cursor.clone();
        }
        self.again = self.is_fetching();
        self.shut(JobKind::Whole, now, to);
    }

    /// The relay knows us only now: what it said before of what it has may not have been all.
    fn forget_hidden(&mut self, to: &mut Vec<Action>) {
        let (before, cursor) = (&self.cursor_before, &mut self.cursor);
        let at = cursor.at.min(before.at);
        let topics: BTreeSet<String> =
            cursor.topics.intersection(&before.topics).cloned().collect();
        let known = Cursor { at, topics };
        if *cursor != known {
            *cursor = known;
            to.push(Action::SaveCursor);
        }
        if let Some(job) = self.job_mut() {
            job.hidden = true;
        }
    }

    /// S4, S5, S16, S25, S26, S35b.
    fn rescope(&mut self, scope: Scope, now: Now, to: &mut Vec<Action>) {
        let topics = scope.topics();
        let more = topics.iter().any(|topic| !self.cursor.topics.contains(topic));
        let same = self.scope.topics() == topics;
        self.scope = scope;
        self.keep_topics(&topics, to);
        if topics.is_empty() {
            unsubscribe(self.subs.take(), to);
            let held = HeldEvents::default();
            self.state = State::Offline { since: now.at, job: None, held };
            return;
        }
        if same {
            return;
        }
        match (&self.state, more) {
            (State::Live { extra }, true) => {
                let waits = matches!(extra, Some(Task::Waits(_)));
                self.shut(JobKind::Part, now, to);
                self.again |= waits;
            }
            (
                State::Backfilling { task: Task::Waits(_), .. }
                | State::Degraded { task: Task::Waits(_), .. },
                true,
            ) => self.attempt(now, to),
            (State::Live { .. } | State::Degraded { .. }, false) if self.subs.are_open() => {
                self.subscribe(now, to);
            }
            // The history that is fetched now is followed by one of what is new.
            _ => {}
        }
    }

    /// A topic that is not read any more is not written down, either: a group that is over may be deleted.
    fn keep_topics(&mut self, topics: &BTreeSet<String>, to: &mut Vec<Action>) {
        let before = self.cursor.topics.len();
        self.cursor.topics.retain(|topic| topics.contains(topic));
        self.deeper.retain(|topic| topics.contains(topic));
        if self.cursor.topics.len() < before {
            to.push(Action::SaveCursor);
        }
    }

    fn opened(&mut self, last: u64, opened: Opened, now: Now, to: &mut Vec<Action>) {
        if !self.subs.knows(last) {
            return;
        }
        self.subs.sent(last, now.at + self.rules.request_timeout);
        match opened {
            Opened::Well => {}
            Opened::Refused => self.deaf(now, to),
            Opened::Late => {
                let before = self.subs.generation();
                self.subs.missed();
                let generation = self.subs.generation();
                match &mut self.state {
                    // (what it fetches is asked for after they were opened, and nothing else was missed)
                    State::Backfilling { task: Task::Runs(job), .. }
                    | State::Degraded { task: Task::Runs(job), .. }
                        if job.kind == JobKind::Whole
                            && job.after >= last
                            && job.generation == before =>
                    {
                        job.generation = generation;
                    }
                    State::Live { .. } => {
                        self.again = self.is_fetching();
                        self.shut(JobKind::Whole, now, to);
                    }
                    _ => self.again = true,
                }
            }
        }
    }

    /// S14, S24, S35: a subscription was closed, or not opened. They are opened anew with the next history.
    fn deaf(&mut self, now: Now, to: &mut Vec<Action>) {
        self.subs.closed();
        self.tries += 1;
        if matches!(self.state, State::Live { .. }) {
            let task = self.left_over(now);
            self.state = State::Degraded { cause: Cause::Unsubscribed, task };
        } else if self.tries >= self.limit() {
            self.give_up(Cause::Unsubscribed, to);
        }
    }

    /// S6, S21, S30.
    fn event(&mut self, subscription: u64, event: Event, to: &mut Vec<Action>) {
        let is_stored = self.subs.is_stored(subscription);
        match &mut self.state {
            State::Offline { held, .. }
            | State::Backfilling { held, .. }
            | State::Gated { held, .. } => held.hold(event, is_stored),
            // (the history has it)
            State::Degraded { .. } if is_stored => {}
            State::Live { .. } | State::Degraded { .. } => {
                to.push(Action::Deliver { events: vec![event], held: false });
            }
        }
    }

    /// S22, S23.
    fn delivered(&mut self, report: &IngestReport, now: Now, to: &mut Vec<Action>) {
        if !self.no_room(report, now, to) && self.is_live() {
            self.read_until(report.newest, to);
        }
    }

    /// S8, S15, S29, S31, S32.
    fn tick(&mut self, now: Now, to: &mut Vec<Action>) {
        unsubscribe(self.subs.end_late(now.at), to);
        let is_due = |task: &Task| matches!(task, Task::Waits(until) if *until <= now.at);
        match &self.state {
            State::Backfilling { task, .. } | State::Degraded { task, .. } if is_due(task) => {
                self.attempt(now, to);
            }
            State::Live { extra: Some(task) } if is_due(task) => self.fetch_again(now, to),
            _ => {}
        }
    }

    /// When something is to be done that nothing else wakes us for.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let waits = match &self.state {
            State::Backfilling { task: Task::Waits(until), .. }
            | State::Degraded { task: Task::Waits(until), .. }
            | State::Live { extra: Some(Task::Waits(until)) } => Some(*until),
            _ => None,
        };
        waits.into_iter().chain(self.subs.wake_at()).min()
    }

    /// Until when the others wait for it before anything is decided: for its history, `longest` at most, and for the stored
    /// parts of its subscriptions. `None`: they do not wait.
    pub(crate) fn awaited_until(&self, longest: Option<Duration>, now: Instant) -> Option<Instant> {
        if self.slow {
            return None;
        }
        /// As long as it takes.
        const FOR_EVER: Duration = Duration::from_secs(86_400);
        let history = self.job().map(|job| match longest {
            Some(longest) => job.began_at + longest,
            None => now + FOR_EVER,
        });
        history.into_iter().chain(self.subs.awaited_until()).filter(|until| *until > now).max()
    }

    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.state, State::Offline { .. })
    }

    /// Whether everything up to the cursor is there, and what is live passes from there on.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// Whether a history is being fetched, or is with the gate.
    pub(crate) fn is_fetching(&self) -> bool {
        self.job().is_some()
    }

    pub(crate) fn fetches(&self, job: JobId) -> bool {
        self.job().is_some_and(|ours| ours.id == job)
    }

    /// Whether it has been away for longer than one of several is waited for.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        match self.state {
            State::Offline { since, .. } => now.duration_since(since) >= ROTATE_AFTER,
            _ => false,
        }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn job(&self) -> Option<&Job> {
        match &self.state {
            State::Offline { job, .. } => job.as_ref(),
            State::Gated { job, .. }
            | State::Backfilling { task: Task::Runs(job), .. }
            | State::Degraded { task: Task::Runs(job), .. }
            | State::Live { extra: Some(Task::Runs(job)) } => Some(job),
            State::Backfilling { .. } | State::Degraded { .. } | State::Live { .. } => None,
        }
    }

    fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.state {
            State::Offline { job, .. } => job.as_mut(),
            State::Gated { job, .. }
            | State::Backfilling { task: Task::Runs(job), .. }
            | State::Degraded { task: Task::Runs(job), .. }
            | State::Live { extra: Some(Task::Runs(job)) } => Some(job),
            State::Backfilling { .. } | State::Degraded { .. } | State::Live { .. } => None,
        }
    }

    /// Takes apart what the state holds. Whoever calls it sets the next one.
    fn dissolve(&mut self, now: Now) -> (Option<Job>, HeldEvents) {
        let none = State::Offline { since: now.at, job: None, held: HeldEvents::default() };
        let running = |task| match task {
            Task::Runs(job) => Some(job),
            Task::Waits(_) => None,
        };
        match std::mem::replace(&mut self.state, none) {
            State::Offline { job, held, .. } => (job, held),
            State::Backfilling { task, held } => (running(task), held),
            State::Gated { job, held } => (Some(job), held),
            State::Live { extra } => (extra.and_then(running), HeldEvents::default()),
            State::Degraded { task, .. } => (running(task), HeldEvents::default()),
        }
    }
}

fn unsubscribe(ids: Vec<u64>, to: &mut Vec<Action>) {
    if !ids.is_empty() {
        to.push(Action::Unsubscribe(ids));
    }
}
