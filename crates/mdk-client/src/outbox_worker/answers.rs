//! What relays said, and where events are to go: told to the engine, and what follows from it.

use mdk_core::{Delivery, OutboxItem, OutboxPurpose, RelayVerdict, SendState};
use tokio::time::Instant;

use super::state::{Done, Worker};
use crate::client::delivered::Delivered;
use crate::client::lock::lock;
use crate::client::republish_lost::state_key;
use crate::client::times::{backoff, now_millis};
use crate::error::{ClientError, Result};
use crate::relay_pool::{Published, normal_url};
use crate::remembered;

impl Worker {
    pub(super) async fn done(&mut self, done: Done) -> Result<()> {
        let options = self.shared.options.clone();
        match done {
            Done::Looked => self.stale = true,
            Done::Found { seq, relays } => {
                self.searching.remove(&seq);
                let Some(relays) = relays else {
                    let failures = self.searches.get(&seq).map_or(0, |(_, failures)| *failures);
                    let pause = backoff(options.retry_min, options.retry_max, failures);
                    self.searches.insert(seq, (Instant::now() + pause, failures + 1));
                    return Ok(());
                };
                if self.items.iter().any(|item| item.seq == seq && !item.results.is_empty()) {
                    self.widened.insert(seq, Instant::now());
                }
                let set =
                    move |engine: &mut mdk_core::Engine| engine.set_outbox_relays(seq, &relays);
                match self.shared.engine(set).await {
                    Ok(()) => self.stale = true,
                    Err(ClientError::Engine(error)) => {
                        tracing::warn!("targets are not kept: {error}");
                        self.searches.insert(seq, (Instant::now() + options.retry_max, 0));
                    }
                    Err(error) => return Err(error),
                }
            }
            Done::Said { seq, lane, relay, answer } => {
                let url = normal_url(&relay).unwrap_or_else(|_| relay.clone());
                let tries = self
                    .items
                    .iter()
                    .find(|item| item.seq == seq)
                    .and_then(|item| item.results.iter().find(|r| r.relay == relay))
                    .map_or(0, |result| result.attempts);
                let pause = backoff(options.retry_min, options.retry_max, tries);
                self.refused.insert((seq, relay.clone()), Instant::now() + pause);
                match answer {
                    Published::NoAnswer => self.mute.insert(url.clone()),
                    Published::Accepted | Published::Refused { .. } => self.mute.remove(&url),
                    Published::Unreachable { .. } => false,
                };
                self.note_refusal(seq, &url, &answer);
                let later = |reason: String| {
                    let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    RelayVerdict::Later { reason, next_at: now_millis().saturating_add(pause) }
                };
                let verdict = match answer {
                    Published::Accepted => RelayVerdict::Accepted,
                    // Refused by the last one it would be given up, and there may be others.
                    Published::Refused { reason, forever: true } if self.last_hope(seq) => {
                        self.exhaust(seq);
                        later(reason)
                    }
                    Published::Refused { reason, forever: true } => {
                        RelayVerdict::Refused { reason }
                    }
                    Published::Refused { reason, forever: false } => later(reason),
                    Published::NoAnswer => later("no answer".to_owned()),
                    Published::Unreachable { .. } => {
                        // Nothing was sent: no attempt, and nothing to write down.
                        self.busy.remove(&lane);
                        let failures = self.pauses.get(&url).map_or(0, |(_, failures)| *failures);
                        let pause = backoff(options.retry_min, options.retry_max, failures);
                        self.pauses.insert(url, (Instant::now() + pause, failures + 1));
                        return Ok(());
                    }
                };
                if verdict == RelayVerdict::Accepted {
                    self.pauses.remove(&url);
                }
                // The lane stays closed until the engine knows: order counts over a crash, too.
                let result = self.answer(seq, &relay, verdict).await;
                self.busy.remove(&lane);
                result?;
            }
        }
        Ok(())
    }

    /// Tells the engine what a relay said. When it cannot take that now, the event is published again later.
    pub(super) async fn answer(
        &mut self,
        seq: i64,
        relay: &str,
        verdict: RelayVerdict,
    ) -> Result<()> {
        let (to, heard) = (relay.to_owned(), verdict.clone());
        let item = self.items.iter().find(|item| item.seq == seq);
        let key_package = item
            .filter(|item| item.purpose == OutboxPurpose::KeyPackage)
            .filter(|_| verdict == RelayVerdict::Accepted)
            .map(|item| (item.event_id, item.event.clone()));
        let made_known = key_package.is_some();
        let to_keep = item.filter(|item| {
            verdict == RelayVerdict::Accepted
                && !matches!(item.purpose, OutboxPurpose::KeyPackage | OutboxPurpose::List)
        });
        let kept = match to_keep.zip(normal_url(relay).ok()) {
            Some((item, url)) => lock(&self.shared.sent).keep(item, url),
            None => Vec::new(),
        };
        let event = item.map(|item| item.event_id);
        let message = item.and_then(message_of);
        let tell = move |engine: &mut mdk_core::Engine| {
            let waits = event.map_or(Ok(false), |event| engine.outbox_has(&event))?;
            // Before its row may go: one of them survives.
            for (key, value) in &kept {
                // What went with its group does not come back by an answer that came late.
                if value.is_none() || waits || engine.state(key)?.is_some() {
                    engine.set_state(key, value.as_deref())?;
                }
            }
            let change = engine.outbox_result(seq, &to, heard)?;
            if let Some((id, event)) = key_package {
                remembered::set_published_key_package(engine, &id)?;
                let key = state_key(mdk_wire::kind::KEY_PACKAGE);
                engine.set_state(&key, Some(event.as_bytes()))?;
            }
            Ok(change)
        };
        let change = match self.shared.engine(tell).await {
            Ok(change) => change,
            Err(ClientError::Engine(error)) => {
                tracing::warn!("an answer is not kept: {error}");
                let pause = self.shared.options.retry_min;
                if let Ok(url) = normal_url(relay) {
                    self.pauses.insert(url, (Instant::now() + pause, 1));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if change.delivery == Some(Delivery::Accepted)
            && let Some(message) = message
        {
            // A full queue: no phone rings for it.
            let _ = self.shared.deliveries.queue.try_send(message);
        }
        if made_known {
            let progress = &self.shared.progress;
            progress.send_if_modified(|p| !std::mem::replace(&mut p.key_package, true));
        }
        self.note_sent(seq, relay, &verdict);
        self.remember(seq, relay, verdict, change.finished);
        self.follow(&change);
        Ok(())
    }

    /// What the row looks like now, without reading it again.
    fn remember(&mut self, seq: i64, relay: &str, verdict: RelayVerdict, finished: bool) {
        let Some(place) = self.items.iter().position(|item| item.seq == seq) else { return };
        if verdict == RelayVerdict::Accepted || finished {
            self.refused.retain(|(of, _), _| *of != seq);
        }
        if finished {
            let item = self.items.remove(place);
            lock(&self.shared.awaited).remove(item.event_id.as_bytes());
            self.stale |= self.rows.full && self.items.len() < self.rows.count as usize / 2;
        } else if let Some(result) =
            self.items[place].results.iter_mut().find(|result| result.relay == relay)
        {
            result.attempts = result.attempts.saturating_add(1);
            match verdict {
                RelayVerdict::Accepted => result.state = SendState::Accepted,
                RelayVerdict::Refused { .. } => result.state = SendState::Refused,
                RelayVerdict::Later { next_at, .. } => result.next_at = next_at,
            }
        }
        // Which relays are needed is said anew with the next reading: with every answer would be once too often.
        if self.items.is_empty() { self.tell() } else { self.count() }
    }
}

/// The message that an item is.
fn message_of(item: &OutboxItem) -> Option<Delivered> {
    let OutboxPurpose::Message { message_id: message } = item.purpose else { return None };
    Some(Delivered { group: item.group.clone()?, message })
}
