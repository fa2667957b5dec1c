//! What the pool and its users exchange.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mdk_wire::budget::relay::QUEUED_BYTES;
use mdk_wire::{Event, PublicKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Who named a relay URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The owner of the account, in its options: every ws or wss address is dialled.
    User,
    /// Somebody else's data (group, invite, relay list): only public addresses are dialled, names are checked after DNS, and
    /// only ports 80, 443 and from 1024 on.
    Peer,
}

/// Room for the events that wait in an account's sink, by their bytes: [`QUEUED_BYTES`], over all relays.
#[derive(Clone)]
pub struct Room(pub(super) Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(QUEUED_BYTES)))
    }
}

/// What an event takes of its account's room, by its bytes, and of its connection's share of the sink, until it is taken out of
/// the sink and dropped. A copy takes nothing.
#[derive(Default)]
pub struct Held(#[allow(dead_code)] pub(super) Option<[OwnedSemaphorePermit; 2]>);

impl Clone for Held {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// An account as the pool knows it.
#[derive(Clone)]
pub struct Account {
    /// Whose it is.
    pub public_key: PublicKey,
    /// Where everything goes that arrives for it. Bounded: while it is full, the sockets it is subscribed on are not read.
    pub sink: mpsc::Sender<Arrived>,
    /// How much may wait there, by its bytes. While there is no room, the sockets are not read, either.
    pub room: Room,
    /// Signs the events of NIP-42, and nothing else; `None` declines.
    #[allow(clippy::type_complexity)]
    pub sign: Arc<dyn Fn(mdk_wire::UnsignedEvent) -> Option<mdk_wire::Event> + Send + Sync>,
    /// Counts what relays answer it with and no honest one would: events whose id or signature is wrong, or that match no
    /// filter.
    pub false_events: Arc<AtomicU64>,
}

/// What reaches an account's sink. Relays are named in the form of [`normal_url`](super::normal_url).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// An event that matches the subscription.
    Event {
        /// Where it came from.
        relay: Arc<str>,
        /// Subscription of the account.
        subscription: u64,
        /// The event.
        event: Event,
        /// Its part of the account's room.
        held: Held,
    },
    /// The stored events of a subscription are through.
    EndOfStored {
        /// Where.
        relay: Arc<str>,
        /// Subscription of the account.
        subscription: u64,
    },
    /// The relay closed a subscription.
    Closed {
        /// Where.
        relay: Arc<str>,
        /// Subscription of the account.
        subscription: u64,
        /// What it said, at most 500 characters.
        reason: String,
    },
    /// Connected: nothing is subscribed now. Comes again after an authentication that the relay asked for late, because it may
    /// have hidden events until then; subscriptions made before are then still open.
    Connected {
        /// Where.
        relay: Arc<str>,
    },
    /// The connection ended, and with it every subscription on it.
    Disconnected {
        /// Where.
        relay: Arc<str>,
        /// Why, in our words; `None` when it was released.
        reason: Option<String>,
    },
}

/// Answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The relay has it (`duplicate:` too).
    Accepted,
    /// The relay, or its announced limits, refuse it.
    Refused {
        /// What it said, at most 500 characters.
        reason: String,
        /// Whether it is no matter of time: another attempt is of no use.
        forever: bool,
    },
    /// Not connected now.
    Unreachable {
        /// Why, in our words.
        reason: String,
    },
    /// Sent, and no answer within the time.
    NoAnswer,
}

/// Events of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Events in the relay's order; each matches the filter.
    pub events: Vec<Event>,
    /// Whether the relay said that this is all (EOSE). Not after a timeout, CLOSED, or one of our bounds.
    pub complete: bool,
}

/// State of the connection to one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayState {
    /// Being dialled.
    Connecting,
    /// Usable.
    Connected,
    /// Waiting for the next attempt.
    BackingOff,
    /// Released or closed.
    Closed,
    /// It sent too much that nobody asked for; next attempt after the longest pause.
    Banned,
}

/// One relay as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// URL in the form of [`normal_url`](super::normal_url).
    pub url: String,
    /// State.
    pub state: RelayState,
    /// Round trip of the last ping.
    pub latency: Option<Duration>,
    /// Why the last attempt or connection ended, in our words. While there is a connection: what the relay says when it
    /// refuses us although we authenticate (NIP-42).
    pub last_error: Option<String>,
    /// When the next attempt is due.
    pub next_attempt: Option<SystemTime>,
    /// Requests and events that it left without any answer for three seconds, or for as long as they were waited for if that
    /// is less, while the pool has it open.
    pub unanswered: u64,
    /// Events that it had acknowledged and did not have any more when it was asked for them, likewise.
    pub lost: u64,
    /// Everything is here that it had for the account then, Unix seconds: of the groups of that time, all pages or all ids
    /// (NIP-77). `None`: that cannot be said, or nobody asks for an account.
    pub complete_as_of: Option<u64>,
}

/// A relay as it stands, for the pool and for the task that keeps it up to date.
pub(super) type Status = Arc<Mutex<RelayStatus>>;
