//! Connections to relays, shared by all accounts of a process.
//!
//! Filters are those of `nostr-sdk`, events those of `mdk-wire`; the connections are not its `RelayPool`'s, because that one
//! cannot give what an engine needs that must not lose an event:
//!
//! - Everything it reports goes through a broadcast channel that drops the oldest when a reader is slow (a relay that floods
//!   notices can push out the `OK` of an event), and a policy that holds it up instead also stops reading its own pongs and
//!   hangs up after a minute.
//! - It reports an event once per process, not once per subscription, and re-subscribes on its own after a reconnect with the
//!   filters of long ago, without a way to begin from a cursor.
//! - It authenticates (NIP-42) one key, and asks for another connection per account.
//! - It writes every message, both ways, into its log.
//! - Its pauses are whole seconds and not bounded by options; NIP-11 is not looked at.
//!
//! Here one task owns one socket, which a few accounts share. It never waits for anything but all of its work at
//! once: what cannot be written is queued within a bound, what an account does not take is kept within a bound, and beyond that
//! the socket is not read, so that the relay is held back by TCP.

mod accounts; // the accounts of one connection, and what waits for them
mod auth; // NIP-42 for several accounts on one connection
mod command; // what the pool asks of a connection
mod connections; // starts connections, and moves accounts between them
mod filters; // filters of NIP-01, and whether an event matches
mod frames; // messages to and from a relay, written and parsed
pub mod fuzzing; // a session without a relay, for the fuzzer
mod meter; // counts what nobody asked for; a ban follows
mod panic_guard; // starts a connection's task again after a panic
mod reconciling; // NIP-77: which events a relay has
mod reconnect; // the task of a connection: dials, serves, pauses, dials again
mod registry; // which accounts share which connection
mod room; // whether there is room for another connection
mod rounds; // NIP-77: the messages of a connection's reconciliations
mod session; // one connection from its handshake to its end
mod socket; // one WebSocket, read and written
pub(crate) mod sockets; // how many connections the process may have
pub(crate) mod trouble_log; // logs and counts what a relay does not do for us
pub(crate) mod types; // what the pool and its users exchange

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mdk_wire::budget::relay::CLOSE_LAST;
use mdk_wire::{Event, PublicKey};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use self::command::{Command, Publish, Query};
use self::connections::Connections;
use self::filters::Filter;
pub(crate) use self::frames::wants_auth;
#[cfg(test)]
pub(crate) use self::reconnect::tests::{URL, in_pause, nowhere};
use self::registry::Handle;
pub use self::types::{
    Account, Arrived, Held, Origin, Page, Published, RelayState, RelayStatus, Room,
};
pub use crate::dial::address::normal_url;
use crate::dial::{Dialer, Resolve, SystemResolver, address};
use crate::error::{ClientError, Result};
use crate::options::PoolOptions;
use crate::relay_info::RelayInfo;

/// Answers of a task come at their deadline; this much later the caller stops to believe in it.
const GRACE: Duration = Duration::from_millis(500);
/// From this size on, an event waits for the relay's announced limits before it is sent.
const LARGE: usize = 16 * 1024;
/// Longest wait for them.
const LIMITS_WAIT: Duration = Duration::from_secs(3);

/// Connections to relays, shared by any number of accounts of a process. Cheap to clone; the connections end with the last
/// clone.
#[derive(Clone)]
pub struct Pool(Arc<Connections>);

impl Pool {
    /// A pool without connections. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        Self::with_resolver(options, Arc::new(SystemResolver))
    }

    pub(crate) fn with_resolver(options: PoolOptions, resolver: Arc<dyn Resolve>) -> Self {
        let dialer = Dialer::new(&options, resolver);
        Self(Arc::new(Connections {
            options: Arc::new(options),
            dialer,
            closed: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            troubles: watch::Sender::new(0),
            relays: Mutex::default(),
        }))
    }

    /// What dials, with this pool's proxy and rules.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// The relay as the account has it open.
    fn find<T>(
        &self,
        url: &str,
        account: &PublicKey,
        look: impl FnOnce(&Handle) -> T,
    ) -> Option<T> {
        let url = normal_url(url).ok()?;
        self.0.relays().find(&url, account).map(look)
    }

    /// Opens a relay for an account and starts to connect in the background; never waits for the network. Opening again
    /// replaces the account's sink; [`Origin::User`] wins over [`Origin::Peer`]. The two never share a connection.
    ///
    /// # Errors
    /// [`ClientError::InvalidRelayUrl`], [`ClientError::AddressRefused`], [`ClientError::Closed`]; [`ClientError::NoRoom`] when
    /// there are as many connections as there may be. What only DNS can tell comes later, in [`Pool::status`].
    pub async fn open(&self, url: &str, origin: Origin, account: &Account) -> Result<()> {
        let url = address::parse(url)?;
        let name = address::normal(&url);
        let who = account.public_key;
        let mut relays = self.0.relays();
        if self.0.closed.load(Ordering::SeqCst) {
            return Err(ClientError::Closed);
        }
        let known = relays.place_of(&name, &who);
        let known = known.filter(|(of, _)| *of == Origin::User || *of == origin);
        let origin = known.map_or(origin, |(of, _)| of);
        self.0.dialer.check(&url, origin)?;
        let at = (name, origin);
        let place = known.map_or_else(|| relays.place_for(&at, &who), |(_, place)| place);
        if !relays.has(&at, place) {
            relays.room_for(&at, &url, self.0.options.max_connections)?;
        }
        if known.is_none() {
            relays.leave(&at.0, &who);
        }
        Connections::admit(&self.0, &mut relays, &url, &at, place, account);
        Ok(())
    }

    /// Whether the account has the relay open.
    pub(crate) fn is_open(&self, url: &str, account: &PublicKey) -> bool {
        self.0.relays().find(url, account).is_some()
    }

    /// Gives a relay up for an account. The connection ends with its last account.
    pub async fn release(&self, url: &str, account: &PublicKey) {
        if let Ok(url) = normal_url(url) {
            self.0.relays().leave(&url, account);
        }
    }

    /// Ends every pause between two attempts: the network may be back. Not for a banned relay.
    pub async fn reconnect(&self) {
        for handle in self.0.relays().handles() {
            let _ = handle.commands.send(Command::Wake);
        }
    }

    /// Tries a relay again that was not reached, as soon as the shortest pause is over: somebody has something for it.
    pub(crate) fn hurry(&self, url: &str, account: &PublicKey) {
        if let Some(commands) = self.find(url, account, |handle| handle.commands.clone()) {
            let _ = commands.send(Command::Hurry);
        }
    }

    /// Publishes one event, byte for byte, and waits for the relay's answer to its id, at most `timeout`. Waits for a
    /// connection that is being made, not for a relay in back-off. Sent a second time when the relay wants the account to
    /// authenticate first.
    ///
    /// Refused forever: `blocked:`, `invalid:`, `pow:`, what is no event, and what is over a size that the relay announced;
    /// `restricted:` and `auth-required:` when the account has authenticated, or its authentication is not wanted, or
    /// when the relay sends no challenge (`auth-required:` only when it has not for some seconds).
    pub async fn publish(
        &self,
        url: &str,
        account: &PublicKey,
        event_json: &str,
        timeout: Duration,
    ) -> Published {
        let unreachable = |reason: &str| Published::Unreachable { reason: reason.to_owned() };
        let deadline = Instant::now() + timeout;
        let found = self.find(url, account, |handle| {
            (handle.commands.clone(), handle.info.clone(), handle.status.clone())
        });
        let Some((commands, info, status)) = found else {
            return unreachable("this relay is not open");
        };
        let Ok(event) = Event::from_stored_json(event_json.as_bytes()) else {
            return Published::Refused {
                reason: "invalid: not an event".to_owned(),
                forever: true,
            };
        };
        let frame = frames::publish(event_json);
        if frame.len() > LARGE && !info.is_fresh() {
            let _ = tokio::time::timeout(LIMITS_WAIT.min(timeout), info.get()).await;
        }
        if let Some(reason) =
            info.known().and_then(|info| info.refuses(frame.len(), event.content().chars().count()))
        {
            return Published::Refused { reason, forever: true };
        }
        let (reply, answer) = oneshot::channel();
        let publish = Publish {
            account: *account,
            event_id: event.id().to_hex(),
            kind: event.kind(),
            frame,
            deadline,
            again: false,
            reply,
        };
        if commands.send(Command::Publish(publish)).is_err() {
            return unreachable("closed");
        }
        match tokio::time::timeout_at(deadline + GRACE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unreachable("closed"),
            Err(_) => match status.lock().unwrap_or_else(PoisonError::into_inner).state {
                RelayState::Connected => Published::NoAnswer,
                _ => unreachable("not connected in time"),
            },
        }
    }

    /// One request until the relay says that it is all, closes it, `timeout` is over, or a bound of the options is reached.
    /// The filter's `limit` is lowered to the bound of the options and to what the relay announced.
    ///
    /// # Errors
    /// [`ClientError::NotConnected`]; [`ClientError::Refused`] when the relay closed it before the first event;
    /// [`ClientError::NoAnswer`] when nothing came at all in time; [`ClientError::Internal`] when the filter is none.
    pub async fn query(
        &self,
        url: &str,
        account: &PublicKey,
        filter_json: &str,
        timeout: Duration,
    ) -> Result<Page> {
        self.request(url, account, filter_json, (timeout, timeout)).await
    }

    /// As [`Pool::query`], but as long as events come, each at most `timeout` after the one before, it may last six times
    /// as long: what does not fit through a slow line in time is on its way all the same, and whatever is asked for next
    /// would wait behind it.
    pub(crate) async fn query_slowly(
        &self,
        url: &str,
        account: &PublicKey,
        filter_json: &str,
        timeout: Duration,
    ) -> Result<Page> {
        self.request(url, account, filter_json, (timeout, 6 * timeout)).await
    }

    async fn request(
        &self,
        url: &str,
        account: &PublicKey,
        filter_json: &str,
        (idle, most): (Duration, Duration),
    ) -> Result<Page> {
        let filter = Filter::from_json(filter_json)?;
        let commands = self.find(url, account, |handle| handle.commands.clone());
        let commands = commands.ok_or(ClientError::NotConnected)?;
        let now = Instant::now();
        let (deadline, latest) = (now + idle, now + most);
        let (reply, answer) = oneshot::channel();
        let query = Query {
            account: *account,
            filter,
            deadline,
            idle,
            latest,
            again: false,
            page: Page::default(),
            bytes: 0,
            seen: HashSet::new(),
            reply,
        };
        let sent = commands.send(Command::Query(Box::new(query)));
        sent.map_err(|_| ClientError::NotConnected)?;
        match tokio::time::timeout_at(latest + GRACE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ClientError::NotConnected),
            Err(_) => Err(ClientError::NoAnswer),
        }
    }

    /// Opens a live subscription, in place of an earlier one with the same `id` of this account. It ends with the connection;
    /// subscribe again after [`Arrived::Connected`].
    ///
    /// # Errors
    /// [`ClientError::NotConnected`]; [`ClientError::Refused`] when the relay's announced limits do not allow it, with the
    /// limit; [`ClientError::Internal`] when a filter is none.
    pub async fn subscribe(
        &self,
        url: &str,
        account: &PublicKey,
        id: u64,
        filters: Vec<String>,
    ) -> Result<()> {
        let filters =
            filters.iter().map(|filter| Filter::from_json(filter)).collect::<Result<_>>()?;
        let found = self.find(url, account, |handle| {
            let status = handle.status.lock().unwrap_or_else(PoisonError::into_inner);
            (status.state == RelayState::Connected).then(|| handle.commands.clone())
        });
        let commands = found.flatten().ok_or(ClientError::NotConnected)?;
        let (reply, answer) = oneshot::channel();
        let subscribe = Command::Subscribe { account: *account, id, filters, reply };
        commands.send(subscribe).map_err(|_| ClientError::NotConnected)?;
        answer.await.unwrap_or(Err(ClientError::NotConnected))
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&self, url: &str, account: &PublicKey, id: u64) {
        if let Some(commands) = self.find(url, account, |handle| handle.commands.clone()) {
            let _ = commands.send(Command::Unsubscribe { account: *account, id });
        }
    }

    /// Every relay that is open, by URL. Where there are several connections, as the best of them stands.
    #[must_use]
    pub fn status(&self) -> Vec<RelayStatus> {
        self.0.relays().status()
    }

    /// The relays that one account has open, as the connections stand that serve it, by URL.
    #[must_use]
    pub fn status_of(&self, account: &PublicKey) -> Vec<RelayStatus> {
        self.0.relays().status_of(account)
    }

    /// Number of connections, open or in the making: to each relay one for what a user named and one for what others named,
    /// one for every ten accounts or so, and one for each account that the relay does not let share.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.relays().handles().count()
    }

    /// Faults of ours that were survived: how often the task of a connection panicked, and connected again.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    /// How often something was told, in the log, of what relays do not do for us. The receiver wakes with each time.
    #[must_use]
    pub fn troubles(&self) -> watch::Receiver<u64> {
        self.0.troubles.subscribe()
    }

    /// What the relay says about itself, from the cache or asked for now (at most 10 s). `None` when it says nothing, or is not
    /// open.
    pub async fn info(&self, url: &str) -> Option<RelayInfo> {
        let url = normal_url(url).ok()?;
        let info = self.0.relays().info(&url)?;
        let info = info.get().await;
        info.map(|info| (*info).clone())
    }

    /// Notes that a relay does not have so many events any more that it had acknowledged.
    pub(crate) fn note_lost(&self, url: &str, account: &PublicKey, events: u64) {
        self.find(url, account, |handle| handle.troubles.lost(events));
    }

    /// How many events the relay says that it gives at one time, as far as that is known now.
    pub(crate) fn page_of(&self, url: &str) -> Option<usize> {
        let info = self.0.relays().info(url)?.known()?;
        info.max_limit.filter(|most| *most > 0).and_then(|most| usize::try_from(most).ok())
    }

    /// How many messages of the relay have come on the account's connection; says only whether another one has.
    pub(crate) fn heard(&self, url: &str, account: &PublicKey) -> u64 {
        let count = self.find(url, account, |handle| handle.heard.load(Ordering::Relaxed));
        count.unwrap_or_default()
    }

    /// Ends every connection, within a second. The pool is of no use afterwards; what waits is answered.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        // Without its sender a task ends.
        let tasks = self.0.relays().drain();
        let end = Instant::now() + CLOSE_LAST;
        for mut task in tasks {
            if timeout_at(end, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
