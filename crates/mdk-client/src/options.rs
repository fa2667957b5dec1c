//! Every limit and time of the client, and how it reaches the engine.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mdk_core::Engine;

use crate::error::{ClientError, Result};
use crate::relay_pool::sockets::sockets;

/// Limits and times of the connections, shared by all accounts of a pool.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// SOCKS5 proxy for every connection; names are resolved by it.
    pub proxy: Option<SocketAddr>,
    /// Lets addresses that others name lead to loopback; for tests.
    pub allow_loopback: bool,
    /// Lets addresses that others name be ws://, without TLS, wherever they are.
    pub allow_plaintext: bool,
    /// Most connections to relays; of these, half may be to relays that others named. By default half of the files that the
    /// process may have open, and at most 1,024.
    pub max_connections: usize,
    /// Longest wait for a connection, TLS and WebSocket included.
    pub connect_timeout: Duration,
    /// Pause before the first reconnect; doubles, with jitter.
    pub reconnect_min: Duration,
    /// Longest pause between two attempts.
    pub reconnect_max: Duration,
    /// Largest message that is read from a relay, bytes; the connection is closed on a larger one.
    pub max_message_bytes: usize,
    /// Most events of one page.
    pub max_page_events: usize,
    /// Most bytes of one page.
    pub max_page_bytes: usize,
    /// Silence after which a ping is sent, and then after as much again the connection counts as dead.
    pub keepalive: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            proxy: None,
            allow_loopback: false,
            allow_plaintext: false,
            max_connections: sockets(),
            connect_timeout: Duration::from_secs(15),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(60),
            max_message_bytes: 2 * 1024 * 1024,
            max_page_events: 1_000,
            max_page_bytes: 16 * 1024 * 1024,
            keepalive: Duration::from_secs(45),
        }
    }
}

/// Limits and times of one account's client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The account's own relays; empty means those it used last.
    pub relays: Vec<String>,
    /// Name for the profile event (kind 0); none is published without it.
    pub name: Option<String>,
    /// Answer of a relay to one request.
    pub request_timeout: Duration,
    /// Pause before the second attempt to publish; doubles, with jitter.
    pub retry_min: Duration,
    /// Longest pause between two attempts to publish.
    pub retry_max: Duration,
    /// Period of the engine's `tick`, KeyPackage upkeep and the look at the relays' lists.
    pub tick_every: Duration,
    /// Events that one page asks for, at most.
    pub page_limit: usize,
    /// Events that are given to the engine in one transaction.
    pub batch: usize,
    /// How long what one relay has is kept at most until the others have given theirs, so that both are read in order: a
    /// history that goes on for ever holds up nobody for longer.
    pub together_for: Duration,
    /// How long those that have given everything wait at most for one that goes on giving, a little at a time, before
    /// anything is decided and published.
    pub waited_for: Duration,
    /// Events between sockets and engine.
    pub queue: usize,
    /// How far behind the cursor gift wraps are asked for. NIP-59 dates them back by up to two days, and they may have
    /// waited in an outbox for days.
    pub inbox_overlap: Duration,
    /// How far behind the cursor group events are asked for after a reconnect: as long as an event may have waited in an
    /// outbox before it was published.
    pub group_overlap: Duration,
    /// The same when the account was not running.
    pub group_overlap_at_start: Duration,
    /// How long events of a group wait that cannot be read, before all of its relays are asked once more for what they have
    /// of the last thirty days, at most once a day: what a whole group waits for was published late, when nobody asked for
    /// the time of its making any more.
    pub standstill: Duration,
    /// How long an invite waits for the inbox relays (kind 10050) of its recipient alone. After that, or after some tries
    /// at each of them, it also goes to the recipient's other relays (kind 10002).
    pub welcome_patience: Duration,
    /// How old a group's epoch is before a message goes out: other apps do not show what comes sooner after a commit.
    pub speak_after: Duration,
    /// Delay before the self-update after a join.
    pub self_update_after_join: Duration,
    /// How long nothing must have happened in a group before our leaf is renewed there.
    pub renew_when_quiet_for: Duration,
    /// After so long it is renewed all the same, as soon as the epoch is old enough to speak in.
    pub renew_at_latest: Duration,
    /// Whether KeyPackage and relay lists are published.
    pub reachable: bool,
    /// Whether what is said wakes the phones of others, and tokens are asked for and told.
    pub push: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            name: None,
            request_timeout: Duration::from_secs(10),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            tick_every: Duration::from_secs(1),
            page_limit: 500,
            batch: 100,
            together_for: Duration::from_secs(10),
            waited_for: Duration::from_secs(30),
            queue: 512,
            inbox_overlap: Duration::from_secs(9 * 86_400),
            group_overlap: Duration::from_secs(2 * 86_400),
            group_overlap_at_start: Duration::from_secs(7 * 86_400),
            standstill: Duration::from_secs(60),
            welcome_patience: Duration::from_secs(120),
            speak_after: Duration::from_secs(2),
            self_update_after_join: Duration::from_secs(60),
            renew_when_quiet_for: Duration::from_secs(30),
            renew_at_latest: Duration::from_secs(86_400),
            reachable: true,
            push: true,
        }
    }
}

/// The engine, wherever it lives.
pub trait EngineAccess: Send + Sync {
    /// Runs `f` with the engine locked. Blocks.
    ///
    /// # Errors
    /// [`ClientError::EngineGone`] when it is closed, and [`ClientError::Internal`] when it is unusable because `f`, or an
    /// earlier one, panicked.
    fn run(&self, f: Box<dyn FnOnce(&mut Engine) + Send + '_>) -> Result<()>;
}

const UNUSABLE: ClientError =
    ClientError::Internal("the engine is unusable after a panic: open the account again");

/// What the end of a call that gave no result means.
pub(crate) fn ended(error: &tokio::task::JoinError) -> ClientError {
    if error.is_panic() { UNUSABLE } else { ClientError::EngineGone }
}

/// An engine of a Rust program.
pub struct SharedEngine(Mutex<Option<Engine>>);

impl SharedEngine {
    /// Shares `engine`.
    #[must_use]
    pub fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(engine))))
    }

    /// Takes the engine out; later calls end with [`ClientError::EngineGone`].
    #[must_use]
    pub fn take(&self) -> Option<Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EngineAccess for SharedEngine {
    fn run(&self, f: Box<dyn FnOnce(&mut Engine) + Send + '_>) -> Result<()> {
        let mut engine = self.0.lock().map_err(|_| UNUSABLE)?;
        f(engine.as_mut().ok_or(ClientError::EngineGone)?);
        Ok(())
    }
}

/// Calls the engine on a thread that may block.
///
/// # Errors
/// [`ClientError::Engine`], [`ClientError::EngineGone`], [`ClientError::Internal`] when the call panicked.
pub async fn with_engine<T: Send + 'static>(
    engine: &Arc<dyn EngineAccess>,
    f: impl FnOnce(&mut Engine) -> mdk_core::Result<T> + Send + 'static,
) -> Result<T> {
    let engine = engine.clone();
    let call = move || {
        let mut result = None;
        engine.run(Box::new(|engine| result = Some(f(engine))))?;
        result.ok_or(ClientError::EngineGone)?.map_err(ClientError::Engine)
    };
    tokio::task::spawn_blocking(call).await.map_err(|error| ended(&error))?
}
