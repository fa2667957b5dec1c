//! What relays have: fetching it, and what follows when it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mdk_core::Engine;
use mdk_wire::NostrGroupId;
use tokio::time::{Duration, Instant};

use super::{Flow, of};
use crate::catch_up::{self, Finished, Listened};
use crate::client::amends::{self, Place};
use crate::client::cursor::key;
use crate::client::feed::changes_interests;
use crate::client::shared::backoff;
use crate::client::topics::{Again, Came, Relay, work};
use crate::error::{ClientError, Result};

/// How long, in milliseconds, the engine keeps what it needs for more of a history, if it hears nothing else; how often it
/// is told; and when again after it could not be.
const MORE_FOR: u64 = 30_000;
const TELL_EVERY: Duration = Duration::from_secs(10);
const TELL_AGAIN: Duration = Duration::from_secs(1);

impl Flow {
    /// Tries this relay's history again, later each time.
    pub(super) fn later(&mut self, url: &str) {
        let options = &self.shared.options;
        let Some(relay) = self.relays.get_mut(url).filter(|relay| relay.connected) else { return };
        let pause = backoff(options.retry_min, options.retry_max, relay.failures);
        relay.failures += 1;
        let at = Instant::now() + pause;
        relay.retry_at = Some(relay.retry_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Starts to fetch what a relay has: all since the cursor, or only what was not listened to before.
    pub(super) fn catch_up(&mut self, url: &str, what: Again) {
        let Some(relay) = self.relays.get_mut(url).filter(|relay| relay.connected) else { return };
        if relay.catching {
            relay.again = relay.again.max(Some(what));
            return;
        }
        // Whoever asks for a part only would take the rest for done.
        let what = if relay.whole { what } else { Again::All };
        let work = work(&self.shared, &self.wanted, relay, what);
        let listen = self.listen(url);
        let Some(relay) = self.relays.get_mut(url) else { return };
        if work.is_empty() && listen.is_none() && what == Again::New {
            return;
        }
        relay.digging = std::mem::take(&mut relay.deeper);
        (relay.catching, relay.catching_all) = (true, what == Again::All);
        relay.catching_since = Some(Instant::now());
        relay.interrupted = false;
        relay.opening.unheard = false;
        if !(relay.whole && listen.is_none()) && relay.keeps_gate() {
            relay.opening.shut();
        }
        let slow = Arc::new(AtomicBool::new(relay.failures > 0));
        relay.slow = slow.clone();
        if relay.failures == 0 {
            self.unsettled = true;
            self.shared.progress.send_if_modified(|p| std::mem::replace(&mut p.settled, false));
        }
        if self.catching.is_empty() {
            self.round = 0;
            self.round_complete = false;
            self.shared.counters.fetched.store(0, Ordering::Relaxed);
            self.shared.counters.processed.store(0, Ordering::Relaxed);
        }
        let (to, ends) = (self.gather.clone(), relay.ends.clone());
        let work = (listen, work);
        let task = catch_up::run(self.shared.clone(), url.to_owned(), work, slow, ends, to);
        self.tasks.insert(self.catching.spawn(task).id(), url.to_owned());
    }

    pub(super) async fn finished(&mut self, finished: Finished) -> Result<()> {
        self.round += finished.fed.new;
        self.round_complete |= finished.all;
        self.unsettled |= finished.fed.new > 0;
        let url = finished.relay;
        let Some(relay) = self.relays.get_mut(&url) else { return Ok(()) };
        let (dug, not_dug): (Vec<_>, Vec<_>) = std::mem::take(&mut relay.digging)
            .into_iter()
            .partition(|topic| finished.complete.contains(topic));
        relay.deeper.extend(not_dug);
        let came = relay.gave(finished.all, finished.complete, &finished.fed);
        // (nothing at all since the last attempt: there may be no line)
        let silent = std::mem::replace(&mut relay.heard, finished.heard) == finished.heard;
        if came == Came::Whole && finished.listened == Listened::Well && !relay.opening.unheard {
            relay.failures = 0;
        }
        if came == Came::Whole && std::mem::take(&mut relay.amends) {
            while self.amends.try_join_next().is_some() {}
            let place = match (relay.own, relay.inbox) {
                (true, _) => Place::Own,
                (false, true) => Place::Former,
                (false, false) => Place::Group,
            };
            self.amends.spawn(amends::make(self.shared.clone(), url.clone(), place));
        }
        if finished.fed.waiting > 0 {
            self.may_stand_still();
        }
        self.dug(dug).await?;
        let failed = came == Came::Failed;
        self.listened(&url, finished.listened).await?;
        let deaf = finished.listened == Listened::Deaf;
        if finished.listened == Listened::Late
            && let Some(relay) = self.relays.get_mut(&url)
        {
            relay.again = Some(Again::All);
        }
        self.open(&url, failed, (failed || deaf) && !silent).await?;
        let Some(relay) = self.relays.get_mut(&url) else { return Ok(()) };
        // (what failed is tried again later, with all that is wanted then)
        if let Some(what) = relay.again.take().filter(|_| !failed) {
            self.catch_up(&url, what);
        } else if relay.connected {
            // (who was not listened to when everything was fetched is so before it is fetched again)
            let heard = finished.listened == Listened::Well && !relay.live.is_empty();
            let heard = heard && self.subscribe(&url, failed).await?;
            // (a gate that stays shut is opened by another attempt, or by none)
            let again = |relay: &Relay| !heard || relay.opening.is_shut();
            let waits = |relay: &Relay| relay.retry_at.is_none() && again(relay);
            if failed || self.relays.get(&url).is_some_and(waits) {
                self.later(&url);
            }
        }
        if self.relays.get(&url).is_some_and(|relay| relay.own && relay.complete) {
            self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.own_history, true));
        }
        Ok(())
    }

    /// Gives on what was heard while the history was fetched, if that is there, or cannot be had. It is not there while
    /// something may have been said that was neither heard nor asked for. `counts`: it counts as an attempt that failed.
    async fn open(&mut self, url: &str, failed: bool, counts: bool) -> Result<()> {
        let Some(relay) = self.relays.get_mut(url) else { return Ok(()) };
        let there = !failed && !relay.opening.unheard;
        let overflowed = relay.opening.has_overflowed();
        let counts = (counts || overflowed) && relay.connected && relay.opening.is_shut();
        relay.gate_failures += u32::from(counts);
        if overflowed {
            (relay.complete, relay.whole) = (false, false);
            relay.again = Some(Again::All);
        } else if there {
            relay.gate_failures = 0;
        }
        let held = if !relay.keeps_gate() {
            relay.opening.give_up()
        } else if there {
            relay.opening.open()
        } else {
            Vec::new()
        };
        self.take_in(of(&Arc::from(url), held), true).await
    }

    /// Tells the engine for which groups more is on its way.
    pub(super) async fn expect_more(&mut self) -> Result<()> {
        let relays: Vec<String> = self.holding().cloned().collect();
        let (now, known) = (Instant::now(), self.told.as_ref());
        if known.is_some_and(|(until, told)| *until > now && *told == relays) {
            return Ok(());
        }
        let groups = relays.iter().filter_map(|url| self.wanted.groups.get(url)).flatten();
        let groups: Vec<_> = groups.filter_map(|hex| NostrGroupId::from_hex(hex).ok()).collect();
        let tell = move |engine: &mut Engine| engine.expect_more(Some(&groups), MORE_FOR);
        let pause = match self.shared.engine(tell).await {
            Ok(()) => TELL_EVERY,
            // A disk that fails for a while is no reason to stop.
            Err(ClientError::Engine(error)) => {
                tracing::warn!("the engine was not told that more is on its way: {error}");
                TELL_AGAIN
            }
            Err(error) => return Err(error),
        };
        self.told = Some((now + pause, relays));
        Ok(())
    }

    /// Once every connected relay has given what it has, the engine need not wait for more.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let told = self.told.take().is_some();
        if told && !self.unsettled {
            match self.shared.engine(|engine| engine.expect_more(Some(&[]), 0)).await {
                // It waits until what it was told ends by itself.
                Err(ClientError::Engine(error)) => {
                    tracing::warn!("the engine was not told that nothing more comes: {error}");
                }
                told => told?,
            }
        }
        if std::mem::take(&mut self.unsettled) {
            let settle = |engine: &mut Engine| Ok((engine.settle()?, engine.take_rerouted()));
            match self.shared.engine(settle).await {
                Ok((outcome, rerouted)) => {
                    if !outcome.events.is_empty() || !outcome.reply.is_empty() {
                        self.shared.bump();
                    }
                    self.shared.outbox_wake.notify_one();
                    self.shared.upkeep_wake.notify_one();
                    self.look |= rerouted || changes_interests(&outcome.events);
                }
                Err(ClientError::Engine(error)) => {
                    // The engine's own tick does it, a moment later.
                    tracing::warn!("not settled: {error}");
                }
                Err(error) => return Err(error),
            }
            self.keep_cursors().await?;
            if !std::mem::replace(&mut self.has_settled, true) {
                // What was left from the last time.
                self.may_stand_still();
            }
            self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.settled, true));
            let round = std::mem::take(&mut self.round);
            let complete = std::mem::take(&mut self.round_complete);
            for waiting in self.waiting.drain(..) {
                // The caller may have gone.
                let answer = if complete { Ok(round) } else { Err(ClientError::NotConnected) };
                let _ = waiting.send(answer);
            }
        }
        Ok(())
    }

    /// Answers those who wait for what a relay has under a routing id. What is settled is in the engine.
    pub(super) fn tell_readers(&mut self) {
        let read = |route: &String| {
            let mut relays = self.relays.values();
            relays.any(|relay| relay.complete && relay.cursor.topics.contains(route))
        };
        let (read, wait): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.readers).into_iter().partition(|(route, _)| read(route));
        self.readers = wait;
        for (_, answer) in read {
            // The caller may have gone.
            let _ = answer.send(());
        }
    }

    /// Writes down how far the relays were read. Losing it costs a longer catch-up, and nothing else.
    pub(super) async fn keep_cursors(&mut self) -> Result<()> {
        let mut changed = Vec::new();
        for (url, relay) in self.relays.iter_mut().filter(|(_, relay)| relay.dirty) {
            relay.dirty = false;
            changed.push((key(url), relay.cursor.to_bytes()));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let keep = move |engine: &mut Engine| {
            for (key, cursor) in changed {
                // Unchanged ones cost no write.
                if engine.state(&key)?.as_ref() != Some(&cursor) {
                    engine.set_state(&key, Some(&cursor))?;
                }
            }
            Ok(())
        };
        match self.shared.engine(keep).await {
            Err(ClientError::Engine(error)) => tracing::warn!("cursors are not kept: {error}"),
            other => return other,
        }
        Ok(())
    }
}
