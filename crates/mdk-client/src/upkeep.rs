//! What is due by time: the engine's tick, our KeyPackage and lists, fresh keys after a join and every week.

mod renewal;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mdk_core::Engine;
use mdk_wire::limits::MAX_RELAYS;
use mdk_wire::{GroupId, kind};
use renewal::Renewal;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::feed::changes_interests;
use crate::client::lock::lock;
use crate::client::outdated;
use crate::client::republish_lost;
use crate::client::shared::{Command, Shared};
use crate::client::times::{MOST_AHEAD, backoff, jittered, now};
use crate::error::{ClientError, Result};
use crate::lists;
use crate::remembered;

/// How much the pause between two ticks grows while nothing happens.
const STRETCH: u32 = 64;
/// How long after the last event the engine may have something to decide.
const UNSETTLED: Duration = Duration::from_secs(21);
/// A KeyPackage that ends sooner than this is not worth being found, in seconds.
const ENDS_SOON: u64 = 86_400;
/// How many times longer than otherwise is waited where no relay takes a KeyPackage.
const REFUSED_PAUSE: u32 = 12;
/// How often the lists are looked at again: the clock may have been set meanwhile.
const LISTS_EVERY: Duration = Duration::from_secs(3600);

struct Upkeep {
    shared: Arc<Shared>,
    renewals: HashMap<GroupId, Renewal>,
    lists_at: Option<Instant>,
    lists: JoinSet<Result<bool>>,
    key_package_at: Option<Instant>,
    offers: JoinSet<()>,
    /// The lists were offered, and the KeyPackage that comes after them was not made yet.
    offered: bool,
    /// No relay took the KeyPackage, when that was due last.
    refused: bool,
    failures: u32,
}

/// Runs until the client stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut upkeep = Upkeep::new(shared.clone());
    tokio::select! {
        () = shared.until_stopped() => {}
        () = upkeep.turn() => {}
    }
}

impl Upkeep {
    fn new(shared: Arc<Shared>) -> Self {
        let reachable = shared.options.reachable.then(Instant::now);
        Self {
            shared,
            renewals: HashMap::new(),
            lists_at: reachable,
            lists: JoinSet::new(),
            key_package_at: reachable,
            offers: JoinSet::new(),
            offered: false,
            refused: false,
            failures: 0,
        }
    }

    async fn turn(&mut self) {
        let shared = self.shared.clone();
        let every = shared.options.tick_every;
        let mut pause = every;
        let mut connected = shared.connected.subscribe();
        loop {
            match self.pass().await {
                Ok(()) => self.failures = 0,
                Err(ClientError::Engine(error)) => {
                    tracing::warn!("upkeep failed: {error}");
                    self.failures += 1;
                }
                // The others stop the client when it has to be stopped.
                Err(_) => {}
            }
            let done_at = Instant::now();
            loop {
                let busy = lock(&shared.active_at).elapsed() < UNSETTLED.max(every * 10);
                pause = if busy { every } else { (pause * 2).min(every * STRETCH) };
                let options = &shared.options;
                let failing = backoff(options.retry_min, options.retry_max, self.failures);
                let pause = if self.failures > 0 { failing } else { jittered(pause / 2) * 4 / 3 };
                let next = self.alarm().map_or(done_at + pause, |at| at.min(done_at + pause));
                tokio::select! {
                    () = tokio::time::sleep_until(next.max(done_at + every / 2)) => break,
                    () = shared.wake.upkeep.notified() => {}
                    _ = connected.changed() => {
                        for renewal in self.renewals.values_mut().filter(|r| r.away) {
                            renewal.away = false;
                            renewal.at = Instant::now();
                        }
                    }
                    Some(_) = self.offers.join_next() => self.key_package_at = Some(Instant::now()),
                    Some(done) = self.lists.join_next() => {
                        let well = matches!(done, Ok(Ok(true)));
                        let pause = if well { LISTS_EVERY } else { shared.options.retry_max };
                        self.lists_at = Some(Instant::now() + pause);
                    }
                }
            }
        }
    }

    /// When something of ours is due.
    fn alarm(&self) -> Option<Instant> {
        let renewals = self.renewals.values().filter(|r| r.pending.is_none()).map(|r| r.at);
        renewals.chain(self.lists_at).chain(self.key_package_at).min()
    }

    async fn pass(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let push = shared.options.push;
        let tick = move |engine: &mut Engine| {
            let outcome = engine.tick()?;
            let told = if push { engine.tell_push_tokens()?.len() } else { 0 };
            Ok((outcome, engine.take_rerouted(), told, engine.push_dropped()))
        };
        let (outcome, rerouted, told, push_dropped) = shared.engine(tick).await?;
        shared.deliveries.push_dropped.store(push_dropped, Ordering::Relaxed);
        if told > 0 {
            shared.wake.outbox.notify_one();
        }
        if !outcome.events.is_empty() || !outcome.reply.is_empty() {
            shared.bump();
            shared.wake.outbox.notify_one();
        }
        if rerouted || changes_interests(&outcome.events) {
            shared.wake.interests.notify_one();
        }
        if lock(&shared.former).expire(now()) {
            shared.wake.interests.notify_one();
        }
        let now = Instant::now();
        // What one of these cannot do keeps none of the others from being done.
        let mut published = Ok(());
        if self.lists_at.is_some_and(|at| at <= now) {
            // Before the KeyPackage: with that alone an invite is made, and goes to where it is not read.
            published = lists::publish_first(&shared).await;
        }
        if self.key_package_at.is_some_and(|at| at <= now) && !self.offers_first() {
            let (least, most) = (shared.options.retry_min, shared.options.retry_max);
            let looked = self.key_package().await;
            let pause =
                looked.as_ref().map_or_else(|_| backoff(least, most, self.failures), |p| *p);
            self.key_package_at = Some(now + pause);
            published = published.and(looked.map(|_| ()));
        }
        let renewed = self.renew().await;
        if self.lists_at.is_some_and(|at| at <= now) {
            // It may have to wait for a relay; the ticks must not.
            self.lists_at = None;
            let shared = shared.clone();
            self.lists.spawn(async move { lists::publish(&shared).await });
        }
        let needed = lock(&shared.outbox_targets).clone();
        shared.links.sweep(&needed).await;
        let (done, _) = oneshot::channel();
        // A full queue: next time.
        let _ = shared.commands.try_send(Command::KeepCursors(done));
        published.and(renewed)
    }

    /// Whether another attempt for the KeyPackage has to wait. Whom its relays did not let in they may let in by now, and have
    /// not got its lists either: these go first, as always, and once more when they have taken a KeyPackage since.
    fn offers_first(&mut self) -> bool {
        if std::mem::take(&mut self.offered) {
            return false;
        }
        let refused = self.shared.progress.borrow().refused;
        if !std::mem::replace(&mut self.refused, refused) && !refused {
            return false;
        }
        self.offered = true;
        self.key_package_at = None;
        let shared = self.shared.clone();
        self.offers.spawn(async move { republish_lost::offer_lists(&shared).await });
        true
    }

    /// Sees to it that there is a KeyPackage of ours on the account's relays, and on those that it left: the one that is
    /// there may be used. When to look again.
    async fn key_package(&mut self) -> Result<Duration> {
        let shared = &self.shared;
        if shared.own_relays().is_empty() {
            return Ok(shared.options.retry_max);
        }
        let mut relays = shared.own_and_former();
        relays.truncate(MAX_RELAYS);
        let state = shared.engine(move |engine| key_package(engine, &relays)).await?;
        let published = matches!(state, KeyPackage::Published);
        if published {
            shared.progress.send_if_modified(|p| !std::mem::replace(&mut p.key_package, true));
        }
        if matches!(state, KeyPackage::Made) {
            shared.wake.outbox.notify_one();
            shared.bump();
        }
        // Each attempt is another KeyPackage, whose private part is kept for a week.
        let refused = shared.progress.borrow().refused;
        Ok(shared.options.retry_max.saturating_mul(if refused { REFUSED_PAUSE } else { 1 }))
    }
}

enum KeyPackage {
    Published,
    Waiting,
    Made,
}

/// Makes a KeyPackage unless a usable one is on the relays, or on its way there.
fn key_package(engine: &mut Engine, relays: &[String]) -> mdk_core::Result<KeyPackage> {
    let published = remembered::published_key_package(engine)?;
    let mut ours = engine.key_packages()?;
    let latest = engine.now().saturating_add(MOST_AHEAD);
    ours.retain(|kp| kp.created_at <= latest);
    // All stand in one slot; the newest is first.
    for old in ours.iter().skip(1) {
        if engine.outbox_has(&old.event_id)? {
            outdated::give_up(engine, kind::KEY_PACKAGE, &ours[0].event_id)?;
        }
    }
    let usable: Vec<_> = ours
        .iter()
        .filter(|kp| !kp.used && kp.expires_at > now().saturating_add(ENDS_SOON))
        // One that is on others, too, will do: those that the account left fall away one day.
        .filter(|kp| relays.iter().all(|relay| kp.relays.contains(relay)))
        .collect();
    if usable.iter().any(|kp| published == Some(kp.event_id)) {
        return Ok(KeyPackage::Published);
    }
    for kp in usable {
        if engine.outbox_has(&kp.event_id)? {
            return Ok(KeyPackage::Waiting);
        }
    }
    let slot = ours.first().map(|kp| kp.slot.clone());
    let event = match engine.new_key_package(relays, slot.as_deref()) {
        // What was made in it last is dated ahead.
        Err(mdk_core::Error::NotAllowed(_)) => engine.new_key_package(relays, None)?,
        made => made?,
    };
    outdated::give_up(engine, kind::KEY_PACKAGE, &event.id())?;
    Ok(KeyPackage::Made)
}
