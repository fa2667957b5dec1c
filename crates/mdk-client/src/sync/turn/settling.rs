//! The gate's decisions: when the engine is given histories, told of more, and when all of it is settled.

use mdk_core::Engine;
use mdk_wire::NostrGroupId;
use tokio::time::{Duration, Instant};

use super::state::{Reader, Turn};
use crate::client::feed::changes_interests;
use crate::client::lock::lock;
use crate::client::shared::is_dialled_first;
use crate::error::{ClientError, Result};
use crate::relay_pool::RelayState;
use crate::sync::by_time::feed;
use crate::sync::cursor::key;
use crate::sync::gate::{GateAction, GateInput, View};

/// How long, in milliseconds, the engine keeps what it needs for more of a history, if it hears nothing else.
const MORE_FOR: u64 = 30_000;

impl Turn {
    /// Looks at the relays as they stand, and does what is due.
    pub(super) async fn decide(&mut self) -> Result<()> {
        let view = self.view();
        let nothing_awaited = view.awaited.is_empty();
        for action in self.gate.on(GateInput::Look(view), Instant::now()) {
            match action {
                GateAction::Feed(gifts) => {
                    self.feeding.spawn(feed(self.shared.clone(), gifts));
                }
                GateAction::Expect(relays) => self.expect_more(&relays).await?,
                GateAction::ExpectNothing => self.expect_nothing().await?,
                GateAction::Settle => self.settle().await?,
                GateAction::Answer { .. } => {}
            }
        }
        let searched = std::mem::take(&mut self.searched);
        self.note_searched(searched).await?;
        if nothing_awaited {
            self.tell_readers();
            self.search_deeper().await?;
        }
        self.tell_reading();
        Ok(())
    }

    fn view(&self) -> View {
        let mut view = View { awaited: self.awaited(), ..View::default() };
        // (only what was given waits for whom is dialled)
        if self.gate.wake_at(Instant::now()).is_none() {
            return view;
        }
        for status in self.shared.pool.status() {
            let unread =
                self.relays.get(&status.url).is_some_and(|reader| !reader.sync.is_connected());
            match status.state {
                RelayState::Connecting if status.last_error.is_none() => {
                    view.dialled |= unread && is_dialled_first(&self.shared, &status);
                }
                RelayState::Connecting | RelayState::Connected => view.dialled_again |= unread,
                _ => {}
            }
        }
        view
    }

    /// Relays that are giving what the others must wait for before anything is decided.
    pub(super) fn awaited(&self) -> Vec<String> {
        let (longest, now) = (self.longest(), Instant::now());
        let is = |reader: &Reader| reader.sync.awaited_until(longest, now).is_some();
        let awaited = self.relays.iter().filter(|(_, reader)| is(reader));
        let mut awaited: Vec<String> = awaited.map(|(url, _)| url.clone()).collect();
        awaited.sort();
        awaited
    }

    /// How long a relay is waited for that goes on giving: as long as it does, if no other has given everything.
    pub(super) fn longest(&self) -> Option<Duration> {
        let any = self.relays.values().any(|reader| reader.sync.is_live());
        any.then_some(self.shared.options.waited_for)
    }

    /// Messages that wait for a group are published when the group is where its relays have it.
    pub(super) fn tell_reading(&self) {
        let awaited = self.awaited();
        let mut reading = lock(&self.shared.reading);
        if awaited.len() != reading.len() || awaited.iter().any(|url| !reading.contains(url)) {
            *reading = awaited.into_iter().collect();
            self.shared.wake.outbox.notify_one();
        }
    }

    /// Tells the engine for which groups more is on its way.
    async fn expect_more(&mut self, relays: &[String]) -> Result<()> {
        let groups = relays.iter().filter_map(|url| self.wanted.groups.get(url)).flatten();
        let groups: Vec<_> = groups.filter_map(|hex| NostrGroupId::from_hex(hex).ok()).collect();
        let tell = move |engine: &mut Engine| engine.expect_more(Some(&groups), MORE_FOR);
        match self.shared.engine(tell).await {
            // A disk that fails for a while is no reason to stop.
            Err(ClientError::Engine(error)) => {
                tracing::warn!("the engine was not told that more is on its way: {error}");
                self.gate.on(GateInput::NotTold, Instant::now());
                Ok(())
            }
            told => told,
        }
    }

    async fn expect_nothing(&mut self) -> Result<()> {
        match self.shared.engine(|engine| engine.expect_more(Some(&[]), 0)).await {
            // It waits until what it was told ends by itself.
            Err(ClientError::Engine(error)) => {
                tracing::warn!("the engine was not told that nothing more comes: {error}");
                Ok(())
            }
            told => told,
        }
    }

    /// Every relay that is waited for has given what it has: the engine need not wait for more.
    async fn settle(&mut self) -> Result<()> {
        let settle = |engine: &mut Engine| Ok((engine.settle()?, engine.take_rerouted()));
        match self.shared.engine(settle).await {
            Ok((outcome, rerouted)) => {
                if !outcome.events.is_empty() || !outcome.reply.is_empty() {
                    self.shared.bump();
                }
                self.shared.wake.outbox.notify_one();
                self.shared.wake.upkeep.notify_one();
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
            // (groups may have stood still before the start)
            self.may_stand_still();
        }
        self.shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.settled, true));
        for action in self.gate.on(GateInput::Settled, Instant::now()) {
            let GateAction::Answer { new, whole } = action else { continue };
            for waiting in self.waiting.drain(..) {
                // The caller may have gone.
                let _ = waiting.send(if whole { Ok(new) } else { Err(ClientError::NotConnected) });
            }
        }
        Ok(())
    }

    /// Answers those who wait for what a relay has under a routing id. What is settled is in the engine.
    pub(super) fn tell_readers(&mut self) {
        let read = |route: &String| {
            let mut relays = self.relays.values().map(|reader| &reader.sync);
            relays.any(|relay| relay.is_live() && relay.cursor().topics.contains(route))
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
        let unsaved = std::mem::take(&mut self.unsaved);
        let cursor = |url: String| {
            let reader = self.relays.get(&url)?;
            Some((key(&url), reader.sync.cursor().to_bytes()))
        };
        let changed: Vec<_> = unsaved.into_iter().filter_map(cursor).collect();
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
