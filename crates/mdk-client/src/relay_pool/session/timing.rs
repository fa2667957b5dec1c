//! Deadlines, pings, and silence.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::super::accounts::Accounts;
use super::super::{Arrived, Published};
use super::{Asked, Session, Subscription, earlier};
use crate::error::ClientError;
use crate::relay_info::RelayInfo;

impl Session {
    /// Reading starts again after it was held back: the silence was ours.
    pub(in crate::relay_pool) fn resumed(&mut self) {
        self.heard = Instant::now();
        self.ping = None;
        self.asked.clear();
    }

    /// When [`Session::tick`] must be called. `reading` is whether silence means anything.
    pub(in crate::relay_pool) fn next_tick(&self, reading: bool) -> Instant {
        let silence = reading.then(|| self.silence_ends());
        let stuck = self.socket.blocked_since.map(|since| since + self.write_timeout);
        let next = earlier(earlier(self.next_deadline, self.greeting), earlier(silence, stuck));
        next.unwrap_or_else(|| Instant::now() + self.keepalive)
    }

    fn silence_ends(&self) -> Instant {
        match self.ping {
            Some((sent, _)) => sent.max(self.heard) + self.keepalive,
            None => self.heard + self.keepalive,
        }
    }

    /// Ends what is over in time.
    ///
    /// # Errors
    /// In our words, when the connection is dead.
    pub(in crate::relay_pool) fn tick(
        &mut self,
        accounts: &mut Accounts,
        info: Option<&RelayInfo>,
        reading: bool,
    ) -> Result<(), &'static str> {
        let now = Instant::now();
        if self.socket.blocked_since.is_some_and(|since| since + self.write_timeout <= now) {
            return Err("the relay does not read");
        }
        if self.greeting.is_some_and(|at| at <= now) {
            self.greeting = None;
            self.waited_in_vain |= !self.challenged;
            for key in std::mem::take(&mut self.ungreeted) {
                accounts.deliver(&key, Arrived::Connected { relay: accounts.relay() });
            }
        }
        if !reading {
            // Its answers are not read now.
            self.asked.clear();
        }
        if self.next_deadline.is_some_and(|at| at <= now) {
            self.end_overdue(now, accounts);
            self.start_pages(info);
        }
        if reading && self.silence_ends() <= now {
            if self.ping.is_some_and(|(sent, _)| self.heard <= sent) {
                return Err("silent for too long");
            }
            self.send_ping();
        }
        Ok(())
    }

    /// Counts what the relay has left without any answer. One that wants an authentication first has answered.
    fn count_unanswered(&mut self, now: Instant) {
        let (over, open) = self.asked.drain(..).partition(|(at, _)| *at <= now);
        self.asked = open;
        let over: Vec<_> = over;
        let silent = over.into_iter().filter(|(_, what)| match what {
            Asked::Publish(id) => self.publishes.contains_key(id),
            Asked::Subscription(wire) => match self.subscriptions.get(wire) {
                Some(Subscription::Live { ended, again, seen, .. }) => {
                    !ended && !again && seen.ids.is_empty()
                }
                Some(Subscription::Page(page)) => !page.again && page.page.events.is_empty(),
                None => false,
            },
        });
        silent.for_each(|_| self.troubles.unanswered());
    }

    fn end_overdue(&mut self, now: Instant, accounts: &mut Accounts) {
        self.count_unanswered(now);
        let mut next = self.asked.iter().map(|(at, _)| *at).min();
        for verdict in self.auth.overdue(now) {
            self.verdict(verdict, accounts);
        }
        let over = |at: Instant, next: &mut Option<Instant>| {
            if at > now {
                *next = earlier(*next, Some(at));
            }
            at <= now
        };
        self.publishes.retain(|_, waiting| {
            while waiting.front().is_some_and(|publish| publish.deadline <= now) {
                if let Some(publish) = waiting.pop_front() {
                    publish.answer(Published::NoAnswer);
                }
            }
            waiting.iter().for_each(|publish| {
                over(publish.deadline, &mut next);
            });
            !waiting.is_empty()
        });
        let mut pages = Vec::new();
        for (wire, subscription) in &self.subscriptions {
            if let Subscription::Page(page) = subscription
                && over(page.deadline, &mut next)
            {
                pages.push(wire.clone());
            }
        }
        pages.iter().for_each(|wire| self.end_page(wire, Some(ClientError::NoAnswer)));
        let (late, kept): (VecDeque<_>, _) =
            self.queued.drain(..).partition(|query| over(query.deadline, &mut next));
        self.queued = kept;
        late.into_iter().for_each(|query| query.end(ClientError::NoAnswer));
        self.next_deadline = earlier(next, self.auth.deadline());
    }
}
