//! A relay as its owner holds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Result;
use crate::faults::{Faults, Refusal};
use crate::options::LocalRelayOptions;
use crate::server::Server;

/// A running relay. Dropping it ends everything it started.
pub struct LocalRelay {
    server: Server,
    url: String,
}

impl LocalRelay {
    /// Starts a relay on 127.0.0.1. Must be called inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`crate::RelayError::PortTaken`].
    pub async fn start(options: LocalRelayOptions) -> Result<Self> {
        let server = Server::start(options).await?;
        let url = format!("ws://127.0.0.1:{}", server.port());
        Ok(Self { server, url })
    }

    /// `ws://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port, the same for the whole life of the relay.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Takes the relay down: when this returns all connections are cut and the port refuses new ones. What is stored stays.
    pub async fn pause(&self) {
        self.server.pause().await;
    }

    /// Brings the relay up again on the same port. Without effect while it is up.
    ///
    /// # Errors
    /// [`crate::RelayError::PortTaken`]: cannot happen while the port is held, which it is during a pause.
    pub async fn resume(&self) -> Result<()> {
        self.server.resume().await
    }

    /// Whether the port accepts connections.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.server.is_up()
    }

    /// Cuts all connections; new ones are accepted.
    pub async fn cut(&self) {
        self.server.cut().await;
    }

    /// Forgets every stored event and cuts all connections, as a relay that restarts empty. A paused one stays paused.
    pub async fn wipe(&self) {
        // In this order: who connects again finds it empty, and what it then offers stays.
        self.server.hub().wipe();
        self.server.cut().await;
    }

    /// From now on refuses events of these kinds (`None`: of all) with `reason`, which should begin with a prefix of
    /// NIP-01 (`blocked: `, `error: ` …). Replaces what was refused before; an empty set refuses nothing.
    pub fn refuse(&self, kinds: Option<BTreeSet<u16>>, reason: &str) {
        let refusal = (kinds.as_ref() != Some(&BTreeSet::new()))
            .then(|| Refusal { kinds, reason: reason.to_owned() });
        self.server.rules().send_modify(|rules| Arc::make_mut(rules).refusal = refusal);
    }

    /// Switches faults on and off; holds for connections that are open, too. `Faults::default()` is a good relay.
    pub fn faults(&self, faults: Faults) {
        self.server.rules().send_modify(|rules| Arc::make_mut(rules).faults = faults);
    }

    /// Number of events of this kind that are stored now.
    pub fn count(&self, kind: u16) -> usize {
        self.server.hub().count(kind)
    }

    /// Every event of this kind that was stored, as JSON, in the order of arrival: also those since replaced, deleted
    /// or wiped. At most `options.max_events` of all kinds, the newest.
    #[must_use]
    pub fn events(&self, kind: u16) -> Vec<String> {
        self.server.hub().log(kind)
    }

    /// Number of open WebSocket connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.hub().signals.connections()
    }

    /// Number of events that `Faults::huge_tags` has made it send.
    #[must_use]
    pub fn huge_events(&self) -> usize {
        self.server.hub().signals.huge_events()
    }

    /// Counts up whenever an event is stored, a huge one sent, or a connection opened or ended: to wait for a condition without polling.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.server.hub().signals.changes()
    }
}

impl std::fmt::Debug for LocalRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRelay")
            .field("port", &self.port())
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}
