//! Which relays this account holds open, and for how long.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::lock::lock;
use crate::error::Result;
use crate::relay_pool::{Account, Origin, Pool, RelayStatus};

/// How long a relay stays open that was needed once.
const LINGER: Duration = Duration::from_secs(60);

struct Link {
    origin: Origin,
    /// History and live events come from it.
    fixed: bool,
    used_at: Instant,
}

/// Opens a relay with its first use and gives it up with its last.
pub(crate) struct Links {
    pool: Pool,
    account: Account,
    open: Mutex<HashMap<String, Link>>,
    /// The keys of `open` and since when they are, for those who cannot wait.
    since: std::sync::Mutex<HashMap<String, Instant>>,
    /// Relays of which everything is here that they had then, Unix seconds.
    complete: std::sync::Mutex<HashMap<String, u64>>,
}

impl Links {
    pub(crate) fn new(pool: Pool, account: Account) -> Self {
        let (open, since, complete) = Default::default();
        Self { pool, account, open, since, complete }
    }

    /// Holds a relay open until [`Links::release`].
    pub(crate) async fn hold(&self, relay: &str, origin: Origin) -> Result<()> {
        self.open(relay, origin, true).await
    }

    /// Makes sure that a relay is open, for a while.
    pub(crate) async fn touch(&self, relay: &str, origin: Origin) -> Result<()> {
        self.open(relay, origin, false).await
    }

    async fn open(&self, relay: &str, origin: Origin, fixed: bool) -> Result<()> {
        let mut open = self.open.lock().await;
        if let Some(link) = open.get_mut(relay)
            && (link.origin == Origin::User || origin == Origin::Peer)
            && self.pool.is_open(relay, &self.account.public_key)
        {
            link.fixed |= fixed;
            link.used_at = Instant::now();
            return Ok(());
        }
        self.pool.open(relay, origin, &self.account).await?;
        let fixed = fixed || open.get(relay).is_some_and(|link| link.fixed);
        lock(&self.since).entry(relay.to_owned()).or_insert_with(Instant::now);
        open.insert(relay.to_owned(), Link { origin, fixed, used_at: Instant::now() });
        Ok(())
    }

    /// Nothing comes from this relay any more; whoever used it last may still need it for a moment.
    pub(crate) async fn release(&self, relay: &str) {
        if let Some(link) = self.open.lock().await.get_mut(relay) {
            link.fixed = false;
        }
    }

    /// Gives up what has not been used for a while and is not in `needed`.
    pub(crate) async fn sweep(&self, needed: &HashSet<String>) {
        let mut open = self.open.lock().await;
        let idle = |link: &Link| !link.fixed && link.used_at.elapsed() > LINGER;
        let idle: Vec<String> = open
            .iter()
            .filter(|(relay, link)| idle(link) && !needed.contains(*relay))
            .map(|(relay, _)| relay.clone())
            .collect();
        for relay in idle {
            open.remove(&relay);
            lock(&self.since).remove(&relay);
            lock(&self.complete).remove(&relay);
            self.pool.release(&relay, &self.account.public_key).await;
        }
    }

    /// Gives everything up.
    pub(crate) async fn close(&self) {
        lock(&self.since).clear();
        for (relay, _) in self.open.lock().await.drain() {
            self.pool.release(&relay, &self.account.public_key).await;
        }
    }

    /// Relays that are open for this account.
    pub(crate) fn names(&self) -> HashSet<String> {
        lock(&self.since).keys().cloned().collect()
    }

    /// Everything is here that this relay had at this time, Unix seconds.
    pub(crate) fn note_complete(&self, relay: &str, at: u64) {
        lock(&self.complete).insert(relay.to_owned(), at);
    }

    /// The relays that this account has open, as they stand.
    pub(crate) fn status(&self) -> Vec<RelayStatus> {
        let ours = self.names();
        let mut status = self.pool.status();
        status.retain(|relay| ours.contains(&relay.url));
        let complete = lock(&self.complete);
        for relay in &mut status {
            relay.complete_as_of = complete.get(&relay.url).copied();
        }
        status
    }

    /// Whether this relay was opened for this account within `time`.
    pub(crate) fn is_new(&self, relay: &str, time: Duration) -> bool {
        lock(&self.since).get(relay).is_some_and(|since| since.elapsed() < time)
    }
}
