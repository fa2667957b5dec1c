//! What the tasks of one account have in common.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use mdk_core::Engine;
use mdk_wire::budget::relay::PATIENCE;
use mdk_wire::{Event, EventId, Keys, PublicKey, UnsignedEvent};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::delivered::{Delivered, Deliveries};
use super::former::Former;
use super::links::Links;
use super::lock::lock;
use super::named::Named;
use super::recent::Recent;
use super::sent::Sent;
use crate::error::{ClientError, Result};
use crate::lists::cache::Cache;
use crate::options::{ClientOptions, EngineAccess, with_engine};
use crate::relay_pool::{Account, Arrived, Origin, Pool, RelayState, RelayStatus, Room};

/// Engine calls of this process that run at one time: each takes a thread, and there may be hundreds of accounts.
static ENGINE_CALLS: Semaphore = Semaphore::const_new(32);

/// What the task that takes events in is asked for.
pub(crate) enum Command {
    /// Fetch from every connected relay; answered with the number of new events.
    Fetch(oneshot::Sender<Result<u64>>),
    /// Answer when a relay has given all that it has under this routing id, and that is settled.
    Read(String, oneshot::Sender<()>),
    /// Write down how far the relays have been read.
    KeepCursors(oneshot::Sender<()>),
}

/// How far the account is, for those that wait for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The history of one of the account's own relays is there, up to now.
    pub(crate) own_history: bool,
    /// No catch-up is running, and what the last ones fetched is settled.
    pub(crate) settled: bool,
    /// A relay has a KeyPackage of ours, or none is wanted.
    pub(crate) key_package: bool,
    /// None has, and each of our own has refused it for good.
    pub(crate) refused: bool,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) outbox_queued: AtomicU64,
    pub(crate) outbox_looks: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) false_events: Arc<AtomicU64>,
    pub(crate) deferred: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) last_event_at: AtomicU64,
    pub(crate) fetched: AtomicU64,
    pub(crate) processed: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) without_room: AtomicU64,
}

/// What the tasks wait for while they have nothing to do.
#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) outbox: Notify,
    pub(crate) interests: Notify,
    pub(crate) upkeep: Notify,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn EngineAccess>,
    /// `None` once the client is closed: who keeps a closed one keeps no key.
    keys: Arc<Mutex<Option<Keys>>>,
    pub(crate) me: PublicKey,
    pub(crate) options: ClientOptions,
    pub(crate) pool: Pool,
    pub(crate) links: Links,
    pub(crate) counters: Counters,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) sent: Mutex<Sent>,
    pub(crate) lists: Cache,
    /// The account's own relays, in the pool's form; set by `start`.
    pub(crate) own: Mutex<Vec<String>>,
    /// Relays that were the account's own until lately.
    pub(crate) former: Mutex<Former>,
    /// Of these, those that nothing else is read from.
    pub(crate) left: Mutex<HashSet<String>>,
    /// Relays that the user named at any time, for the account or for a group.
    pub(crate) named: Mutex<Named>,
    /// Of the account's own relays those that refuse its KeyPackage for good, with their words.
    pub(crate) refusals: Mutex<BTreeMap<String, String>>,
    /// Relays that are connected now.
    pub(crate) connected: watch::Sender<HashSet<String>>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) stop: watch::Sender<bool>,
    /// Why it stopped, when that was a fault of ours.
    fault: OnceLock<&'static str>,
    pub(crate) wake: Wake,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Messages of ours that a relay has, for those who wake phones.
    pub(crate) deliveries: Deliveries,
    /// Relays that something in the outbox waits for.
    pub(crate) outbox_targets: Mutex<HashSet<String>>,
    /// Relays whose history is being read: it may end the epoch that a waiting message was made in.
    pub(crate) reading: Mutex<HashSet<String>>,
    /// Ids of events that are being published.
    pub(crate) awaited: Mutex<HashSet<[u8; 32]>>,
    /// Events of ours that came back from a relay, still to be told to the engine.
    pub(crate) echoes: Mutex<Vec<(EventId, Arc<str>)>>,
    /// When something last happened, for the pace of the upkeep.
    pub(crate) active_at: Mutex<tokio::time::Instant>,
}

/// The ends that the first task takes.
pub(crate) struct Inlets {
    pub(crate) arrived: mpsc::Receiver<Arrived>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

impl Shared {
    pub(crate) fn new(
        engine: Arc<dyn EngineAccess>,
        keys: Keys,
        options: ClientOptions,
        pool: Pool,
    ) -> (Arc<Self>, Inlets, mpsc::Receiver<Delivered>) {
        let (sink, arrived) = mpsc::channel(options.queue.max(1));
        let (commands, orders) = mpsc::channel(16);
        let (deliveries, delivered) = Deliveries::new();
        let me = keys.public_key();
        let keys = Arc::new(Mutex::new(Some(keys)));
        let signer = keys.clone();
        let counters = Counters::default();
        let account = Account {
            public_key: me,
            false_events: counters.false_events.clone(),
            sink,
            room: Room::default(),
            sign: Arc::new(move |event| {
                /// NIP-42.
                const AUTH: u16 = 22_242;
                lock(&signer).as_ref().filter(|_| event.kind == AUTH).map(|keys| event.sign(keys))
            }),
        };
        let progress = Progress { key_package: !options.reachable, ..Progress::default() };
        let shared = Self {
            engine,
            keys,
            me,
            options,
            links: Links::new(pool.clone(), account),
            pool,
            counters,
            recent: Mutex::default(),
            sent: Mutex::default(),
            lists: Cache::default(),
            own: Mutex::default(),
            former: Mutex::default(),
            left: Mutex::default(),
            named: Mutex::default(),
            refusals: Mutex::default(),
            connected: watch::channel(HashSet::new()).0,
            changes: watch::channel(0).0,
            progress: watch::channel(progress).0,
            stop: watch::channel(false).0,
            fault: OnceLock::new(),
            wake: Wake::default(),
            commands,
            deliveries,
            outbox_targets: Mutex::default(),
            reading: Mutex::default(),
            awaited: Mutex::default(),
            echoes: Mutex::default(),
            active_at: Mutex::new(tokio::time::Instant::now()),
        };
        (Arc::new(shared), Inlets { arrived, commands: orders }, delivered)
    }

    /// Calls the engine. When it is gone, the client stops.
    pub(crate) async fn engine<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = ENGINE_CALLS.acquire().await.map_err(|_| ClientError::Closed)?;
        let result = with_engine(&self.engine, f).await;
        self.heed(&result);
        result
    }

    /// Signs an event of the account.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub(crate) fn sign(&self, event: UnsignedEvent) -> Result<Event> {
        lock(&self.keys).as_ref().map(|keys| event.sign(keys)).ok_or(ClientError::Closed)
    }

    /// Forgets the account's keys: nothing is signed any more.
    pub(crate) fn forget_keys(&self) {
        *lock(&self.keys) = None;
    }

    /// Without the engine there is nothing to go on with.
    fn heed<T>(&self, result: &Result<T>) {
        match result {
            Err(ClientError::EngineGone) => self.stop(),
            Err(ClientError::Internal(what)) => self.fail(what),
            _ => {}
        }
    }

    /// Runs one of the client's tasks. A panic in it is the end of the client, and not of a part of it in silence.
    pub(crate) async fn guarded(self: Arc<Self>, task: impl Future<Output = ()>) {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            self.fail("a task of the client panicked");
        }
    }

    /// Stops because of a fault of ours: whoever waits is told.
    pub(crate) fn fail(&self, what: &'static str) {
        tracing::error!("the client stops: {what}");
        let _ = self.fault.set(what);
        self.stop();
    }

    /// As [`Shared::stop`] or [`Shared::fail`], whatever `error` calls for.
    pub(crate) fn stop_for(&self, error: &ClientError) {
        tracing::warn!("the client stops: {error}");
        match error {
            ClientError::Internal(what) => self.fail(what),
            _ => self.stop(),
        }
    }

    /// What a call ends with once the client has stopped.
    pub(crate) fn end(&self) -> ClientError {
        self.fault.get().map_or(ClientError::Closed, |what| ClientError::Internal(what))
    }

    pub(crate) fn stop(&self) {
        self.stop.send_if_modified(|stopped| !std::mem::replace(stopped, true));
        // Whoever waits for news is to see that there will be none.
        self.bump();
    }

    pub(crate) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when the client stops.
    pub(crate) async fn until_stopped(&self) {
        // The sender lives in `self`.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Sleeps; false if the client stopped.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.until_stopped() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    pub(crate) fn bump(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn active(&self) {
        *lock(&self.active_at) = tokio::time::Instant::now();
    }

    pub(crate) fn own_relays(&self) -> Vec<String> {
        lock(&self.own).clone()
    }

    /// Our relays, then those that were ours until lately: where what says how we are reached has to be.
    pub(crate) fn own_and_former(&self) -> Vec<String> {
        /// So many the outbox takes for one event.
        const MOST: usize = 64;
        let former = lock(&self.former).relays();
        self.own_relays().into_iter().chain(former).take(MOST).collect()
    }

    /// Whose word it is that a relay is used.
    pub(crate) fn origin(&self, relay: &str) -> Origin {
        if lock(&self.named).has(relay) { Origin::User } else { Origin::Peer }
    }

    /// Makes sure that a relay is open for a while.
    pub(crate) async fn touch(&self, relay: &str) -> Result<()> {
        self.links.touch(relay, self.origin(relay)).await
    }

    pub(crate) fn is_connected(&self, relay: &str) -> bool {
        self.connected.borrow().contains(relay)
    }
}

/// Whether the first attempt to reach one of our relays is still under way, and lately begun. One that the account left
/// is not waited for as long as the others: it may be gone for good.
pub(crate) fn is_dialled_first(shared: &Shared, relay: &RelayStatus) -> bool {
    let left = lock(&shared.left).contains(&relay.url);
    let patience = if left { PATIENCE / 6 } else { PATIENCE };
    relay.state == RelayState::Connecting
        && relay.last_error.is_none()
        && shared.links.is_new(&relay.url, patience)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_core::{Config, SystemClock};

    use super::*;
    use crate::options::{PoolOptions, SharedEngine};

    #[tokio::test]
    async fn a_panic_of_a_task_ends_the_client_with_words() {
        let keys = Keys::generate();
        let engine = Engine::in_memory(keys.clone(), Config::default(), Arc::new(SystemClock));
        let engine = SharedEngine::new(engine.unwrap());
        let pool = Pool::new(PoolOptions::default());
        let (shared, ..) = Shared::new(engine, keys, ClientOptions::default(), pool);
        shared.clone().guarded(async {}).await;
        assert!(!shared.stopped());
        assert!(matches!(shared.end(), ClientError::Closed));
        shared.clone().guarded(async { panic!("for the test") }).await;
        assert!(shared.stopped());
        assert!(matches!(shared.end(), ClientError::Internal(_)));
    }
}
