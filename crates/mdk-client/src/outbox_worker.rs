//! Publishes what is in the engine's outbox, and tells the engine what the relays said.
//!
//! For one relay and one group things go out one after the other, in the order in which they were put in; relays do
//! not wait for one another. What a relay refuses for good is out of the way at once; what it puts off for no reason of
//! time holds up its successors a few times only. After a commit a message waits until its epoch is old enough.

mod answers;
mod echoes;
mod epoch_wait;
mod jobs;
mod reachable;
mod rows_read;
mod sending;
mod state;
#[cfg(test)]
mod tests;
mod welcomes;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use self::rows_read::{Aside, ROWS};
use self::state::{Done, Worker};
use crate::client::lock::lock;
use crate::client::shared::{Shared, add};
use crate::client::times::backoff;
use crate::error::{ClientError, Result};

/// Runs until the client stops. What is under way then may still reach a relay, and is published again by the next
/// start: relays know an event by its id.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut worker = Worker::new(shared.clone());
    let result = tokio::select! {
        () = shared.until_stopped() => Ok(()),
        result = worker.turn() => result,
    };
    if let Err(error) = result {
        shared.stop_for(&error);
    }
    worker.jobs.shutdown().await;
}

impl Worker {
    async fn turn(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let mut connected = shared.connected.subscribe();
        let mut failures = 0;
        loop {
            if self.stale {
                match self.load().await {
                    Ok(()) => failures = 0,
                    Err(ClientError::Engine(error)) => {
                        tracing::warn!("the outbox cannot be read: {error}");
                        let options = &shared.options;
                        shared.pause(backoff(options.retry_min, options.retry_max, failures)).await;
                        failures += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            self.echoes().await?;
            let alarm = self.start().await?;
            if self.stale {
                continue;
            }
            tokio::select! {
                Some(done) = self.jobs.join_next() => {
                    self.done(done.unwrap_or(Done::Looked)).await?;
                    while let Some(done) = self.jobs.try_join_next() {
                        self.done(done.unwrap_or(Done::Looked)).await?;
                    }
                }
                () = shared.wake.outbox.notified() => self.stale = true,
                _ = connected.changed() => {
                    // What had to be given up for now may go at once.
                    self.searches.clear();
                    self.pauses.clear();
                    self.rows.aside = Aside::default();
                    // And what is first.
                    self.rows.count = ROWS;
                    self.stale = true;
                }
                () = until(alarm) => self.stale |= self.waits_to_speak || self.rows.aside.is_due(),
            }
        }
    }

    async fn load(&mut self) -> Result<()> {
        if self.rows.aside.is_due() {
            self.rows.aside = Aside::default();
        }
        let (rows, aside) = (self.rows.count, self.rows.aside.seqs.clone());
        self.reading.clone_from(&lock(&self.shared.reading));
        let read = move |engine: &mut mdk_core::Engine| {
            Ok((engine.outbox_but(&aside, rows)?, engine.time_millis()))
        };
        (self.items, self.read_at) = self.shared.engine(read).await?;
        self.look_at_ages();
        self.hurry();
        self.stale = false;
        self.rows.full = self.items.len() >= rows as usize;
        if self.items.len() < ROWS as usize {
            self.rows.count = ROWS;
        }
        add(&self.shared.counters.outbox_looks, self.items.len() as u64);
        let read: HashSet<i64> = self.items.iter().map(|item| item.seq).collect();
        // What is known of rows that were not read is needed when they are again.
        let behind = self.items.last().filter(|_| self.rows.full).map_or(i64::MAX, |item| item.seq);
        let there = |seq: &i64| read.contains(seq) || *seq > behind;
        self.searches.retain(|seq, _| there(seq));
        self.widened.retain(|seq, _| there(seq));
        self.refused.retain(|(seq, _), _| there(seq));
        self.tried_since.retain(|seq, _| there(seq));
        self.epoch_waits.latest.retain(|seq, _| there(seq));
        self.tell();
        Ok(())
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
