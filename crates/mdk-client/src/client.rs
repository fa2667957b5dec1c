//! One account at work: what it needs is fetched, what it has to say is published, and nothing is lost in between.

mod commits; // a user's commit: staged, published, true
pub(crate) mod delivered; // messages of ours that a relay has, for those who wake phones
pub(crate) mod feed; // from an event of a relay to the engine
mod former; // relays that the account left, still listened to
mod links; // which relays the account holds open
pub(crate) mod lock; // a mutex that a panic leaves usable
mod named; // relays that the user named at any time
pub(crate) mod outdated; // gives up lists and KeyPackages that a newer one replaces
pub(crate) mod ready; // waiting until the account is up to date, or can be invited
pub(crate) mod recent; // ids of events that the engine has had lately
pub(crate) mod republish_lost; // publishes again what a relay has lost
pub(crate) mod sent; // group events that relays accepted lately
pub(crate) mod shared; // what the tasks of one account have in common
pub(crate) mod times; // the time, and pauses with chance in them

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mdk_core::Engine;
use mdk_wire::budget::relay::{CLOSE, CLOSE_LAST as LAST};
use mdk_wire::profile::Profile;
use mdk_wire::{Event, GroupId, Keys, NostrGroupId, PublicKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::delivered::Delivered;
use self::former::Former;
use self::lock::lock;
use self::named::Named;
use self::sent::Sent;
use self::shared::{Command, Inlets, Shared};
use self::times::now;
use crate::error::{ClientError, Result};
use crate::options::{ClientOptions, EngineAccess};
use crate::relay_pool::{Pool, RelayStatus, normal_url};
use crate::{lists, outbox_worker, push, remembered, sync, upkeep};

/// What a client did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events that no relay has yet.
    pub outbox_queued: u64,
    /// Rows of the outbox that were read, or looked through for what can go out, counted each time: the work of sending.
    pub outbox_looks: u64,
    /// Verified events that came from relays, each counted once.
    pub events_received: u64,
    /// Of these, those that the engine refused for good, and what did not verify.
    pub events_rejected: u64,
    /// Besides these, events for us that no honest relay sends, each time that one came: with a wrong id or signature, or
    /// matching none of our filters.
    pub events_false: u64,
    /// Of these, those that wait for something in the engine.
    pub events_deferred: u64,
    /// Messages of ours that a relay accepted.
    pub messages_sent: u64,
    /// When the last event came, Unix seconds.
    pub last_event_at: Option<u64>,
    /// Events that the running catch-up has fetched, or that the last one had.
    pub backlog_fetched: u64,
    /// Of these, those that the engine has.
    pub backlog_processed: u64,
    /// Places in a relay's history that could not be paged through (more events in a second than it returns).
    pub possible_gaps: u64,
    /// Relays of the account that are not read now because there are as many connections as there may be.
    pub relays_without_room: u64,
    /// Faults of ours in the connections of the pool, which were made anew.
    pub internal_errors: u64,
}

/// What a client did to wake phones since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Requests to notification servers that a relay took.
    pub sent: u64,
    /// Those that no relay took; they are not repeated.
    pub failed: u64,
    /// Messages and entries of members about push tokens that were not in order.
    pub dropped: u64,
}

/// An account's client. Clones are the same client; when the last one is dropped, its tasks end.
#[derive(Clone)]
pub struct Client(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// Taken by `start`.
    inlets: Mutex<Option<(Inlets, mpsc::Receiver<Delivered>)>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        // They end by themselves, and give their relays up before.
        lock(&self.tasks).detach_all();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(..)")
    }
}

/// How long relays have at a start until one says that more is to come, in milliseconds.
const FIRST_WORD: u64 = 10_000;

impl Client {
    /// A client over `engine`, which is the account of `keys`. Turns the engine's outbox on; touches no network.
    ///
    /// # Errors
    /// [`ClientError::EngineGone`].
    pub fn new(
        engine: Arc<dyn EngineAccess>,
        keys: Keys,
        options: ClientOptions,
        pool: Pool,
    ) -> Result<Self> {
        engine.run(Box::new(Engine::enable_outbox))?;
        let (shared, inlets, delivered) = Shared::new(engine, keys, options, pool);
        let (inlets, tasks) = (Mutex::new(Some((inlets, delivered))), Mutex::default());
        Ok(Self(Arc::new(Handle { shared, inlets, tasks })))
    }

    /// Starts the work. Waits for no network; without one, it waits for it in the background. A second call does nothing.
    ///
    /// # Errors
    /// [`ClientError::InvalidRelayUrl`], [`ClientError::Closed`], errors of the engine.
    pub async fn start(&self) -> Result<()> {
        let shared = &self.0.shared;
        if shared.stopped() {
            return Err(shared.end());
        }
        let mut own = Vec::new();
        for relay in &shared.options.relays {
            let relay = normal_url(relay)?;
            if !own.contains(&relay) {
                own.push(relay);
            }
        }
        if lock(&self.0.inlets).is_none() {
            return Ok(());
        }
        let load = move |engine: &mut Engine| {
            // A founding that an earlier process did not end: nobody knows of that group.
            for commit in engine.pending()? {
                if commit.event.is_none() {
                    engine.discard(commit.id)?;
                }
            }
            // Until relays had time to say what they have, what the last run was reading is not at its end.
            engine.expect_more(None, FIRST_WORD)?;
            engine.wait_to_speak();
            let own = relays(engine, own)?;
            let former = Former::load(engine, &own, now())?;
            let named = Named::load(engine, &own)?;
            Ok((own, former, named, Sent::load(engine)?))
        };
        let (own, former, named, sent) = shared.engine(load).await?;
        let Some((inlets, delivered)) = lock(&self.0.inlets).take() else { return Ok(()) };
        *lock(&shared.sent) = sent;
        *lock(&shared.own) = own;
        *lock(&shared.former) = former;
        *lock(&shared.named) = named;
        shared.active();
        let mut tasks = lock(&self.0.tasks);
        tasks.spawn(shared.clone().guarded(sync::turn::run(shared.clone(), inlets)));
        if shared.options.push {
            tasks.spawn(shared.clone().guarded(push::run(shared.clone(), delivered)));
        }
        tasks.spawn(shared.clone().guarded(outbox_worker::run(shared.clone())));
        tasks.spawn(shared.clone().guarded(upkeep::run(shared.clone())));
        Ok(())
    }

    /// Notes that the user named these relays, for a group: they may be dialled wherever they are, now and when the
    /// account is opened again.
    ///
    /// # Errors
    /// [`ClientError::InvalidRelayUrl`], [`ClientError::Closed`], errors of the engine.
    pub async fn name_relays(&self, relays: Vec<String>) -> Result<()> {
        let relays = relays.iter().map(|relay| normal_url(relay)).collect::<Result<Vec<_>>>()?;
        let shared = &self.0.shared;
        let named = shared.engine(move |engine| Named::load(engine, &relays)).await?;
        *lock(&shared.named) = named;
        // Where that was refused before, they are dialled now.
        shared.wake.interests.notify_one();
        shared.wake.outbox.notify_one();
        Ok(())
    }

    /// Notes that a group was deleted which had these relays: those that the user named for it alone are forgotten.
    ///
    /// # Errors
    /// [`ClientError::Closed`], errors of the engine.
    pub async fn forget_relays(&self, relays: Vec<String>) -> Result<()> {
        let relays: Vec<_> = relays.iter().filter_map(|relay| normal_url(relay).ok()).collect();
        let shared = &self.0.shared;
        let mut kept = shared.own_relays();
        kept.extend(lock(&shared.former).relays());
        let forget = move |engine: &mut Engine| Named::forget(engine, &relays, &kept);
        let named = shared.engine(forget).await?;
        *lock(&shared.named) = named;
        Ok(())
    }

    /// Whether it was closed, or stopped because the engine is gone.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.shared.stopped()
    }

    /// Why it stopped, once it has: [`ClientError::Closed`], or [`ClientError::Internal`] for a fault of ours.
    #[must_use]
    pub fn why_stopped(&self) -> Option<ClientError> {
        self.is_stopped().then(|| self.0.shared.end())
    }

    /// Fetches from all connected relays now; the number of events that were new.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] when there is no relay within `request_timeout`, or none gave all that it has;
    /// [`ClientError::Closed`], [`ClientError::Internal`].
    pub async fn sync(&self) -> Result<u64> {
        let shared = &self.0.shared;
        let mut connected = shared.connected.subscribe();
        let some = connected.wait_for(|connected| !connected.is_empty());
        tokio::select! {
            () = shared.until_stopped() => return Err(shared.end()),
            some = tokio::time::timeout(shared.options.request_timeout, some) => {
                if !matches!(some, Ok(Ok(_))) {
                    return Err(ClientError::NotConnected);
                }
            }
        }
        let (answer, fetched) = oneshot::channel();
        let sent = shared.commands.send(Command::Fetch(answer)).await;
        sent.map_err(|_| shared.end())?;
        tokio::select! {
            () = shared.until_stopped() => Err(shared.end()),
            fetched = fetched => match fetched {
                Ok(fetched) => fetched,
                Err(_) => {
                    // Whoever was to answer is gone, and about to say why.
                    shared.until_stopped().await;
                    Err(shared.end())
                }
            },
        }
    }

    /// Waits until one of the relays of a group has given all that it has under a routing id of it, and that is processed. May
    /// wait for ever: when none can be reached, or the engine does not want to hear of it.
    ///
    /// # Errors
    /// [`ClientError::Closed`], [`ClientError::Internal`].
    pub async fn read(&self, route: &NostrGroupId) -> Result<()> {
        let shared = &self.0.shared;
        let (answer, read) = oneshot::channel();
        let sent = shared.commands.send(Command::Read(route.to_hex(), answer)).await;
        sent.map_err(|_| shared.end())?;
        tokio::select! {
            () = shared.until_stopped() => Err(shared.end()),
            read = read => read.map_err(|_| shared.end()),
        }
    }

    /// Stops. First gives the outbox up to `drain` to empty; what remains is published by the next start. It returns within
    /// four and a half seconds, or half a second after `drain` if that is later: what has not ended by then is cut off, which loses
    /// nothing that the engine has.
    pub async fn close(&self, drain: Duration) {
        let begin = Instant::now();
        let end = begin + CLOSE.max(drain.saturating_add(LAST));
        let emptied = tokio::time::timeout_at(end - LAST / 2, self.empty(begin + drain)).await;
        if emptied.is_err() {
            tracing::warn!("the client does not wait any longer for the engine");
        }
        let shared = &self.0.shared;
        shared.stop();
        let mut tasks = std::mem::take(&mut *lock(&self.0.tasks));
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(end, ended).await.is_err() {
            tracing::warn!("the client cuts off what does not end");
            tasks.abort_all();
        }
        // As the task does that held them, if it was not cut off.
        let _ = tokio::time::timeout_at(end, shared.links.close()).await;
        shared.forget_keys();
    }

    /// Waits until nothing is to be published, until `deadline`, and has it written down how far the relays were read.
    async fn empty(&self, deadline: Instant) {
        let shared = &self.0.shared;
        let started = lock(&self.0.inlets).is_none();
        if started && !shared.stopped() {
            let mut changes = shared.changes.subscribe();
            shared.wake.outbox.notify_one();
            let mut from = 0;
            while !shared.stopped() {
                // What comes before the first that no relay has was looked at already; at the end it is once more.
                let look = move |engine: &mut Engine| match engine.outbox_next(from, None)? {
                    None if from > 0 => engine.outbox_next(0, None),
                    next => Ok(next),
                };
                match shared.engine(look).await {
                    Ok(Some(next)) => from = next,
                    _ => break,
                }
                let changed = tokio::time::timeout_at(deadline, changes.changed());
                tokio::select! {
                    () = shared.until_stopped() => {}
                    changed = changed => if changed.is_err() { break },
                }
            }
            let (done, kept) = oneshot::channel();
            if shared.commands.try_send(Command::KeepCursors(done)).is_ok() {
                let _ = kept.await;
            }
        }
    }

    /// The engine was used by somebody else: looks at outbox and interests. Cheap, never blocks.
    pub fn nudge(&self) {
        let shared = &self.0.shared;
        shared.active();
        shared.wake.outbox.notify_one();
        shared.wake.interests.notify_one();
        shared.wake.upkeep.notify_one();
        shared.bump();
    }

    /// Bumped whenever the engine's event log or the outbox may have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.shared.changes.subscribe()
    }

    /// KeyPackage events of an account: on its own write relays (kind 10002), on ours and on `hints`, which somebody named for it
    /// (NIP-19); else on those that we left lately and on those of our groups. Newest first and unjudged,
    /// [`Engine::select_key_package`] chooses.
    ///
    /// # Errors
    /// [`ClientError::KeyPackageNotFound`]; [`ClientError::NotConnected`] when no relay answered, or when none has one and one
    /// of ours did not answer; [`ClientError::Closed`], [`ClientError::Internal`].
    pub async fn find_key_packages(&self, who: &PublicKey, hints: &[String]) -> Result<Vec<Event>> {
        self.find_invitee(who, hints, None).await
    }

    /// As [`Client::find_key_packages`], of somebody who is to be invited into this group: an invite goes to its relays where
    /// no other ones are known, and what these take counts, too ([`Engine::set_invite_limit`]).
    ///
    /// # Errors
    /// As there.
    pub async fn find_invitee(
        &self,
        who: &PublicKey,
        hints: &[String],
        group: Option<&GroupId>,
    ) -> Result<Vec<Event>> {
        let shared = &self.0.shared;
        tokio::select! {
            () = shared.until_stopped() => Err(shared.end()),
            found = lists::key_packages(shared, who, hints, group) => found,
        }
    }

    /// What an account claims of itself (kind 0), and when it said so, in seconds since 1970. Asked are our relays, `hints`
    /// and those it writes to; if these have nothing, those that we left lately and those of our groups.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`] when no relay answered; [`ClientError::Closed`], [`ClientError::Internal`].
    pub async fn find_profile(
        &self,
        who: &PublicKey,
        hints: &[String],
    ) -> Result<Option<(Profile, u64)>> {
        let shared = &self.0.shared;
        tokio::select! {
            () = shared.until_stopped() => Err(shared.end()),
            found = lists::profile(shared, who, hints) => found,
        }
    }

    /// Where a KeyPackage of the account goes: to its own relays, and to those that were its own until lately, where
    /// another one stands that may be used.
    #[must_use]
    pub fn key_package_relays(&self) -> Vec<String> {
        let mut relays = self.0.shared.own_and_former();
        relays.truncate(mdk_wire::limits::MAX_RELAYS);
        relays
    }

    /// Relays of the pool that this account uses, as they stand.
    #[must_use]
    pub fn status(&self) -> Vec<RelayStatus> {
        self.0.shared.links.status()
    }

    /// Counters of what wakes phones.
    #[must_use]
    pub fn push_stats(&self) -> PushStats {
        let deliveries = &self.0.shared.deliveries;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PushStats {
            sent: read(&deliveries.push_sent),
            failed: read(&deliveries.push_failed),
            dropped: read(&deliveries.push_dropped),
        }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.0.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            outbox_queued: read(&counters.outbox_queued),
            outbox_looks: read(&counters.outbox_looks),
            events_received: read(&counters.received),
            events_rejected: read(&counters.rejected),
            events_false: read(&counters.false_events),
            events_deferred: read(&counters.deferred),
            messages_sent: read(&counters.sent),
            last_event_at: Some(read(&counters.last_event_at)).filter(|at| *at > 0),
            backlog_fetched: read(&counters.fetched),
            backlog_processed: read(&counters.processed),
            possible_gaps: read(&counters.gaps),
            relays_without_room: read(&counters.without_room),
            internal_errors: self.0.shared.pool.panics(),
        }
    }
}

/// The account's own relays: those that are named now, else those that were named last.
fn relays(engine: &mut Engine, named: Vec<String>) -> mdk_core::Result<Vec<String>> {
    if named.is_empty() {
        return remembered::relays(engine);
    }
    remembered::set_relays(engine, &named)?;
    Ok(named)
}
