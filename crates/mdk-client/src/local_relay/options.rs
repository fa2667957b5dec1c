//! What kind of relay it is, and how bad.

use std::time::Duration;

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
    /// Most events that are kept; the oldest go first.
    pub max_events: usize,
}

impl Default for LocalRelayOptions {
    fn default() -> Self {
        Self {
            port: 0,
            max_event_bytes: 1024 * 1024,
            require_auth: false,
            page_limit: None,
            announce: true,
            max_events: 200_000,
        }
    }
}

/// Faults of a local relay; all off by default. They can be combined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// EVENT messages of more bytes than this vanish: not stored, no OK.
    pub drop_silently_over: Option<usize>,
    /// Every message of the relay comes this much later; their order stays.
    pub delay: Option<Duration>,
    /// Every event is sent twice.
    pub duplicate: bool,
    /// Events come in an order that this seed decides, within windows of 64 events or 20 ms; never after their EOSE.
    pub reorder: Option<u64>,
    /// Most events that one filter gets, newest first; not announced.
    pub page_limit: Option<usize>,
    /// EVENT messages per minute, over all connections; more are refused with `rate-limited:`. A whole minute's worth
    /// may come at once.
    pub rate_limit: Option<u32>,
    /// OK true for every event, but it is not stored.
    pub lie_ok: bool,
    /// The relay's OK never comes: the event is stored and sent to whoever asked for it, and nobody tells its author.
    pub lose_ok: bool,
    /// To every request: an event that matches none of its filters and one for a subscription that nobody opened.
    /// Before every event: copies of it with the same id and other content, a wrong signature, and a made-up id.
    pub false_events: bool,
    /// No EOSE; instead well signed events that match the subscription, until it is closed.
    pub endless: bool,
    /// NOTICE messages without end.
    pub notice_flood: bool,
    /// Everything is answered with `auth-required:` and a challenge, and so is every AUTH (after its OK true).
    pub auth_loop: bool,
    /// Before every answer to a REQ or EVENT: a NOTICE of 8 MiB.
    pub huge_frames: bool,
    /// No EOSE; instead a well signed event of 1.9 MB with 380,000 tags that matches the subscription, over and over.
    pub huge_tags: bool,
    /// One byte every 50 ms, the handshake included.
    pub slow_bytes: bool,
}
