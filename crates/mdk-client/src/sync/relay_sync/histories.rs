//! How histories begin, end and fail, and what follows.

use std::collections::BTreeSet;

use super::{
    Action, Cause, IngestReport, Job, JobEnd, JobId, JobKind, Now, RelaySync, State, TRIES,
    TRIES_WITHOUT_END, Task,
};
use crate::client::times::pause_after;
use crate::sync::held_events::HeldEvents;
use crate::sync::topics::Read;

impl RelaySync {
    /// Begins a history. What is not listened to is listened to before.
    pub(super) fn start(&mut self, kind: JobKind, now: Now, to: &mut Vec<Action>) -> Job {
        self.subscribe(now, to);
        let deeper = std::mem::take(&mut self.deeper);
        let read = Read {
            cursor: &self.cursor,
            before: self.traits.was_read,
            deeper: &deeper,
            only_new: kind == JobKind::Part,
            wall: now.wall,
        };
        let spans = self.rules.spans(&self.scope, &read);
        (self.slow, self.again) = (self.failures > 0, false);
        let after = self.number;
        self.number += 1;
        let never_ends = self.slow && !self.traits.sends_eose;
        to.push(Action::Fetch { job: self.number, spans, never_ends, slow: self.slow });
        Job {
            id: self.number,
            kind,
            deeper,
            generation: self.subs.generation(),
            after,
            began_at: now.at,
            asked_at: now.wall,
            newest: 0,
            no_room: false,
            hidden: false,
            skipped: false,
            given: None,
        }
    }

    /// Shuts the way until the history that is on its way is there, or one that begins now.
    pub(super) fn shut(&mut self, kind: JobKind, now: Now, to: &mut Vec<Action>) {
        let (job, held) = self.dissolve(now);
        self.state = match job {
            Some(job) if job.given.is_some() => State::Gated { job, held },
            Some(job) => State::Backfilling { task: Task::Runs(job), held },
            None => State::Backfilling { task: Task::Runs(self.start(kind, now, to)), held },
        };
    }

    /// Opens what is wanted, beside what is open.
    pub(super) fn subscribe(&mut self, now: Now, to: &mut Vec<Action>) {
        let filters = self.rules.live_filters(&self.scope);
        let number = &mut self.number;
        let id = || {
            *number += 1;
            *number
        };
        let opening = self.subs.change(filters, id, now.at);
        to.extend(opening.map(Action::Subscribe));
    }

    /// S31, S32: asks for everything, with the way shut unless that has failed too often.
    pub(super) fn attempt(&mut self, now: Now, to: &mut Vec<Action>) {
        let cause = match self.state {
            State::Degraded { cause, .. } => cause,
            _ => Cause::History,
        };
        let (_, held) = self.dissolve(now);
        let task = Task::Runs(self.start(JobKind::Whole, now, to));
        self.state = State::Backfilling { task, held };
        if self.tries >= self.limit() {
            self.give_up(cause, to);
        }
    }

    /// S27, S39: everything is to be asked for, now or as soon as what is fetched has come.
    pub(super) fn fetch_again(&mut self, now: Now, to: &mut Vec<Action>) {
        if self.is_fetching() {
            self.again = true;
            return;
        }
        match self.state {
            State::Offline { .. } => {}
            State::Live { .. } => {
                let job = self.start(JobKind::Whole, now, to);
                self.state = State::Live { extra: Some(Task::Runs(job)) };
            }
            _ => self.attempt(now, to),
        }
    }

    pub(super) fn search_deeper(
        &mut self,
        groups: BTreeSet<String>,
        now: Now,
        to: &mut Vec<Action>,
    ) {
        let ours = groups.into_iter().filter(|group| self.scope.groups.contains_key(group));
        self.deeper.extend(ours);
        // (who is fetching does it afterwards, who is not connected when it is)
        if self.deeper.is_empty() || self.is_fetching() || !self.is_connected() {
            return;
        }
        if self.is_live() {
            let job = self.start(JobKind::Part, now, to);
            self.state = State::Live { extra: Some(Task::Runs(job)) };
        } else {
            self.attempt(now, to);
        }
    }

    pub(super) fn taken(
        &mut self,
        job: JobId,
        report: &IngestReport,
        now: Now,
        to: &mut Vec<Action>,
    ) {
        let refused = self.no_room(report, now, to);
        if let Some(ours) = self.job_mut().filter(|ours| ours.id == job) {
            ours.newest = ours.newest.max(report.newest);
            ours.no_room |= refused;
        }
    }

    /// S17, S23: whether the engine had no room for something. It is as if that had not been heard.
    pub(super) fn no_room(
        &mut self,
        report: &IngestReport,
        now: Now,
        to: &mut Vec<Action>,
    ) -> bool {
        let Some(from) = report.refused_from else { return false };
        if from < self.cursor.at {
            self.cursor.at = from;
            to.push(Action::SaveCursor);
        }
        self.subs.missed();
        if self.is_live() {
            let task = self.left_over(now);
            self.state = State::Degraded { cause: Cause::NoRoom, task };
        }
        true
    }

    /// S10, S12, S28, S33, S34: a history has come, or has failed.
    pub(super) fn ended(&mut self, job: JobId, end: JobEnd, now: Now, to: &mut Vec<Action>) {
        self.traits.sends_eose |= end.sends_eose;
        let generation = self.subs.generation();
        let Some(ours) = self.job_mut().filter(|ours| ours.id == job && ours.given.is_none())
        else {
            return;
        };
        // (nothing at all since the last attempt: there may be no line)
        let is_whole = ours.generation == generation;
        ours.given = Some(end.complete);
        ours.skipped = end.skipped;
        let silent = std::mem::replace(&mut self.traits.heard, end.heard) == end.heard;
        let Some(rest) = end.rest else {
            let (Some(job), held) = self.dissolve_job(now) else { return };
            self.note_read(&job, to);
            self.failed(held, silent, now, to);
            return;
        };
        to.push(Action::Give { job, events: rest, last: true });
        let gated = matches!(self.state, State::Backfilling { .. })
            || is_whole && matches!(self.state, State::Degraded { .. });
        if gated && let (Some(job), held) = self.dissolve(now) {
            self.state = State::Gated { job, held };
        }
    }

    /// S19, S20, S28, S33b: the engine has all of a history.
    pub(super) fn gate_opened(
        &mut self,
        job: JobId,
        report: &IngestReport,
        now: Now,
        to: &mut Vec<Action>,
    ) {
        self.taken(job, report, now, to);
        if self.job().is_none_or(|ours| ours.id != job || ours.given.is_none()) {
            return;
        }
        let (Some(job), held) = self.dissolve_job(now) else { return };
        self.note_read(&job, to);
        if job.no_room {
            self.failed(held, false, now, to);
            return;
        }
        match self.state {
            State::Offline { .. } => self.hold(held),
            State::Live { .. } => {
                self.failures = 0;
                self.read_whole(&job, to);
                self.go_on(now, to);
            }
            _ if job.generation == self.subs.generation() => self.complete(&job, held, now, to),
            // Events of that time have to be asked for.
            _ => {
                self.hold(held);
                if self.again {
                    self.attempt(now, to);
                } else {
                    let until = self.pause(now);
                    self.wait(until);
                }
            }
        }
    }

    /// Everything that is older than what is held is there.
    fn complete(&mut self, job: &Job, held: HeldEvents, now: Now, to: &mut Vec<Action>) {
        let overflowed = held.has_overflowed();
        self.tries = if overflowed { self.tries + 1 } else { 0 };
        if overflowed {
            // The events thrown away are younger than those kept, and older than those that come then.
            let degraded = self.tries >= self.limit();
            deliver(if degraded { held.live() } else { held.all() }, to);
            self.attempt(now, to);
            return;
        }
        deliver(held.all(), to);
        self.read_whole(job, to);
        let is_read = |topic: &String| self.cursor.topics.contains(topic);
        if !self.scope.topics().iter().all(is_read) {
            let task = Task::Runs(self.start(JobKind::Part, now, to));
            self.state = State::Backfilling { task, held: HeldEvents::default() };
            return;
        }
        self.state = State::Live { extra: None };
        self.failures = 0;
        self.traits.was_read = true;
        if std::mem::take(&mut self.check_due) {
            to.push(Action::CheckPublished);
        }
        // (fewer topics may be wanted than when it began)
        self.subscribe(now, to);
        self.go_on(now, to);
    }

    /// Begins the history that was asked for while another was fetched.
    fn go_on(&mut self, now: Now, to: &mut Vec<Action>) {
        if self.again {
            self.fetch_again(now, to);
        } else {
            self.search_deeper(BTreeSet::new(), now, to);
        }
    }

    /// S12, S13, S17, S29, S34: it is tried again, later each time.
    fn failed(&mut self, held: HeldEvents, silent: bool, now: Now, to: &mut Vec<Action>) {
        self.again = false;
        self.hold(held);
        if matches!(self.state, State::Offline { .. }) {
            return;
        }
        let until = self.pause(now);
        self.wait(until);
        if matches!(self.state, State::Backfilling { .. }) {
            self.tries += u32::from(!silent);
            if self.tries >= self.limit() {
                self.give_up(Cause::History, to);
            }
        }
    }

    /// S13: what is live passes from now on, whatever is missing.
    pub(super) fn give_up(&mut self, cause: Cause, to: &mut Vec<Action>) {
        let none = State::Live { extra: None };
        let (task, held) = match std::mem::replace(&mut self.state, none) {
            State::Backfilling { task, held } => (task, held),
            State::Gated { job, held } => (Task::Runs(job), held),
            State::Degraded { task, .. } => (task, HeldEvents::default()),
            other => {
                self.state = other;
                return;
            }
        };
        deliver(held.live(), to);
        self.state = State::Degraded { cause, task };
    }

    /// The history that is on its way, or another attempt at one.
    pub(super) fn left_over(&mut self, now: Now) -> Task {
        let (job, _) = self.dissolve(now);
        match job {
            Some(job) => Task::Runs(job),
            None => Task::Waits(self.pause(now)),
        }
    }

    /// Takes out the history that is over. The state stays what it was, without it.
    fn dissolve_job(&mut self, now: Now) -> (Option<Job>, HeldEvents) {
        let (task, none) = (Task::Waits(now.at), HeldEvents::default());
        let rest = match self.state {
            State::Offline { since, .. } => State::Offline { since, job: None, held: none },
            State::Live { .. } => State::Live { extra: None },
            State::Degraded { cause, .. } => State::Degraded { cause, task },
            State::Backfilling { .. } | State::Gated { .. } => {
                State::Backfilling { task, held: none }
            }
        };
        let taken = self.dissolve(now);
        self.state = rest;
        taken
    }

    fn hold(&mut self, events: HeldEvents) {
        if let State::Offline { held, .. } | State::Backfilling { held, .. } = &mut self.state {
            *held = events;
        }
    }

    fn wait(&mut self, until: tokio::time::Instant) {
        match &mut self.state {
            State::Backfilling { task, .. } | State::Degraded { task, .. } => {
                *task = Task::Waits(until);
            }
            State::Live { extra } => *extra = Some(Task::Waits(until)),
            State::Offline { .. } | State::Gated { .. } => {}
        }
    }

    /// The complete topics of a history count as read.
    fn note_read(&mut self, job: &Job, to: &mut Vec<Action>) {
        let complete = job.given.as_deref().filter(|_| !job.hidden).unwrap_or_default();
        let (found, left): (Vec<_>, Vec<_>) =
            job.deeper.iter().cloned().partition(|topic| complete.contains(topic));
        let wanted = self.scope.topics();
        self.deeper.extend(left.into_iter().filter(|topic| wanted.contains(topic)));
        if !found.is_empty() {
            to.push(Action::SearchedDeeper(found));
        }
        // (what is not wanted any more may come back, and has to be asked for then)
        let before = self.cursor.topics.len();
        let complete = complete.iter().filter(|topic| wanted.contains(*topic)).cloned();
        self.cursor.topics.extend(complete);
        if self.cursor.topics.len() > before {
            to.push(Action::SaveCursor);
        }
    }

    /// A part says nothing of other topics: what is newer there may still be queued.
    fn read_whole(&mut self, job: &Job, to: &mut Vec<Action>) {
        if job.kind == JobKind::Whole {
            self.read_until(job.newest, to);
            if !job.hidden && !job.skipped {
                to.push(Action::CompleteAsOf(job.asked_at));
            }
        }
    }

    pub(super) fn read_until(&mut self, newest: u64, to: &mut Vec<Action>) {
        if newest > self.cursor.at {
            self.cursor.at = newest;
            to.push(Action::SaveCursor);
        }
    }

    /// When the next attempt is due.
    fn pause(&mut self, now: Now) -> tokio::time::Instant {
        let (least, most) = (self.rules.retry_min, self.rules.retry_max);
        let pause = pause_after(least, most, self.failures, now.chance);
        self.failures += 1;
        now.at + pause
    }

    pub(super) fn limit(&self) -> u32 {
        if self.traits.sends_eose { TRIES } else { TRIES_WITHOUT_END }
    }
}

fn deliver(events: Vec<mdk_wire::Event>, to: &mut Vec<Action>) {
    if !events.is_empty() {
        to.push(Action::Deliver { events, held: true });
    }
}
