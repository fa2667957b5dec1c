//! The options of a relay.

/// Limits of a local relay.
#[derive(Debug, Clone)]
pub struct LocalRelayOptions {
    /// Port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Largest EVENT message, bytes. A larger one is answered with OK false, `invalid:`; one that is more than 1 MiB
    /// larger ends the connection.
    pub max_event_bytes: usize,
    /// NIP-42: nothing is read or written before AUTH.
    pub require_auth: bool,
    /// Most events that one filter gets, whatever it asks for. `None`: as many as it asks for, and 500 without `limit`.
    pub page_limit: Option<usize>,
    /// Whether the NIP-11 document names the limits above. Without it the document is empty of them.
    pub announce: bool,
    /// NIP-77: whether it says which events it has. Without it the document does not name it, and a message of it is answered
    /// with a notice.
    pub reconciles: bool,
    /// Most events that are kept; the oldest go first.
    pub max_events: usize,
    /// Whether it can be made faulty. Without it [`LocalRelay::faults`](crate::LocalRelay::faults) and
    /// [`LocalRelay::refuse`](crate::LocalRelay::refuse) have no effect.
    pub faults: bool,
}

impl Default for LocalRelayOptions {
    fn default() -> Self {
        Self {
            port: 0,
            max_event_bytes: 1024 * 1024,
            require_auth: false,
            page_limit: None,
            announce: true,
            reconciles: true,
            max_events: 200_000,
            faults: true,
        }
    }
}

impl LocalRelayOptions {
    /// Most events that a filter gets which asks for so many.
    pub(crate) fn page(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or_else(|| self.default_page()).min(self.page_limit.unwrap_or(usize::MAX))
    }

    /// Most events that a filter gets which says nothing of it.
    pub(crate) fn default_page(&self) -> usize {
        self.page_limit.unwrap_or(usize::MAX).min(500)
    }
}
