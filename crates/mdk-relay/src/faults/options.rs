//! How bad it is.

use std::time::Duration;

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
