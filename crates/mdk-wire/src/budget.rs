//! The budget of each peer: the one place of these numbers. `docs/internals/budgets.md` names, for each, the abuse that
//! it is against and the test that goes over it.

/// A relay, no matter who named it.
pub mod relay {
    use std::time::Duration;

    use crate::limits::MAX_EVENT_BYTES;

    /// Largest `EVENT` message that is read, bytes: an event, its label and its subscription.
    pub const EVENT_FRAME_BYTES: usize = MAX_EVENT_BYTES + 128;
    /// Largest other message that is read, bytes.
    pub const OTHER_FRAME_BYTES: usize = 64 * 1024;
    /// Events of one connection that wait for the engine of an account: as many as go to it at once
    /// (`ClientOptions.batch`).
    pub const QUEUE_SHARE: usize = 100;
    /// Largest `NEG-MSG` that is read, bytes: the largest of relays in use carry half a million bytes as hex.
    pub const RECONCILE_FRAME_BYTES: usize = 1024 * 1024;
    /// Events that a relay may name in one reconciliation; a longer history is paged through.
    pub const RECONCILED_IDS: usize = 100_000;
    /// Messages in which it may do so.
    pub const RECONCILE_ROUNDS: usize = 200;
    /// Most strings in a message that is read, those of all tags together.
    pub const FRAME_STRINGS: usize = 16 * 1024;
    /// From this size on, bytes, a message is read on a thread that may block, so that other relays go on.
    pub const LARGE_FRAME_BYTES: usize = 64 * 1024;
    /// Such messages that are read at one time in a process.
    pub const LARGE_FRAMES_AT_ONCE: usize = 2;

    /// Bytes of events that wait for the engine of one account, of all relays together.
    pub const QUEUED_BYTES: usize = 16 * 1024 * 1024;

    /// How long the others wait for a page, or for the stored part of a subscription: longer than a relay takes that is well.
    pub const PATIENCE: Duration = Duration::from_secs(3);
    /// Events of one relay's subscriptions that are held until its history is there.
    pub const HELD_EVENTS: usize = 5_000;
    /// The same in bytes.
    pub const HELD_BYTES: usize = 8 * 1024 * 1024;
    /// Events of a history that are in memory at one time; what is newer is fetched again.
    pub const WINDOW_EVENTS: usize = 20_000;
    /// The same in bytes.
    pub const WINDOW_BYTES: usize = 64 * 1024 * 1024;

    /// Relays of one group, beside those that the account's owner named, that are read at one time.
    pub const GROUP_RELAYS: usize = 5;
    /// The time that one of these may be away before another one of the group is read in its place.
    pub const ROTATE_AFTER: Duration = Duration::from_secs(30);
    /// The time for which the others go before it then.
    pub const ROTATED_FOR: Duration = Duration::from_secs(600);
    /// How long a relay that is away is still owed an event that another one has, in seconds.
    pub const OWED_FOR: u64 = 86_400;
    /// Unfinished events of an account from which nothing more is owed to a relay that is away.
    pub const OWED_EVENTS: usize = 10_000;
    /// Relays on one host, by whatever port or path, that others named.
    pub const HOST_RELAYS: usize = 4;
    /// Connections of a process, however many files it may have open.
    pub const SOCKETS: usize = 1024;
    /// The part of the process's open files that may be connections: one of so many.
    pub const SOCKET_SHARE: usize = 2;
    /// The part of these connections that may go to relays that others named: one of so many.
    pub const PEER_SHARE: usize = 2;

    /// The longest time that closing the connections of an account takes, whatever relays and the engine do. The outbox
    /// has the rest of this time before [`CLOSE_LAST`]. Closing an account takes five seconds, and the database has the
    /// rest of them.
    pub const CLOSE: Duration = Duration::from_millis(4_500);
    /// The rest of it, or more if the outbox was given longer, for running work to come to its end.
    pub const CLOSE_LAST: Duration = Duration::from_millis(500);

    /// Time within which points are counted.
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// Points within it from which the relay is left alone for the longest pause.
    pub const POINTS: u32 = 20_000;
    /// Points of a message that no honest relay sends: forged, unasked for, garbage, larger than it may be.
    pub const FALSE_POINTS: u32 = 10;
    /// Points of a notice, a ping or a challenge.
    pub const CHATTER_POINTS: u32 = 2;
    /// Points of a repetition, and of a message for a request that is over.
    pub const STRAY_POINTS: u32 = 1;
    /// Bytes of these that are another point each.
    pub const BYTES_PER_POINT: usize = 1024;
    /// The same of repetitions and of late messages, which honest relays send, too.
    pub const STRAY_BYTES_PER_POINT: usize = 4 * 1024;
    /// A message comes to its end within so many times the bytes of the largest, however small the pieces are.
    pub const WIRE_FACTOR: usize = 2;
    /// Newest events of a live subscription among which a repetition is noticed.
    pub const LIVE_IDS: usize = 256;
}

/// A client of the relay of ours (`mdk-relay`), which listens on loopback.
pub mod client {
    use std::time::Duration;

    /// Bytes of the HTTP request before the WebSocket.
    pub const REQUEST_BYTES: usize = 16 * 1024;
    /// Time for it.
    pub const HANDSHAKE: Duration = Duration::from_secs(5);
    /// Open subscriptions of a connection.
    pub const SUBSCRIPTIONS: usize = 10_000;
    /// Characters of a subscription's name (NIP-01).
    pub const SUBSCRIPTION_CHARS: usize = 64;
    /// Open reconciliations (NIP-77) of a connection.
    pub const RECONCILIATIONS: usize = 8;
    /// Bytes of answers that a client has not read yet, and of live events.
    pub const UNREAD_BYTES: usize = 64 * 1024 * 1024;
}

/// A stranger who invites.
pub mod inviter {
    /// Invites of one account that wait for an answer.
    pub const MAX_OF_ONE: usize = 16;
    /// Invites of all strangers that wait for an answer.
    pub const MAX_WAITING: usize = 256;
    /// The time for which an invite waits, in seconds.
    pub const MAX_AGE: u64 = 30 * 86_400;
}

/// A member of a group, who may be hostile.
pub mod member {
    /// Reactions of one member to one message that are kept; a deleted one makes room.
    pub const MAX_REACTIONS: usize = 32;
    /// Edits of one message that are kept: the newest ones.
    pub const MAX_EDITS: usize = 16;
    /// Deletions of one message by one member that are kept.
    pub const MAX_DELETIONS: usize = 4;
    /// Bytes in memory that the tags of a reaction, an edit or a deletion may take. If there are more, only the tag
    /// that names the message is kept.
    pub const MAX_TAGS_ABOUT_BYTES: usize = 2_048;
    /// Push tokens, removed ones included, of one device that are kept: the newest ones.
    pub const MAX_PUSH_TOKENS: usize = 8;
    /// Milliseconds between two requests for push tokens by one member that are answered.
    pub const PUSH_REQUEST_EVERY: u64 = 600_000;
    /// Messages that go at once when there are more of a member than are kept.
    pub const MAX_CUT_AT_ONCE: u32 = 1_024;
    /// Commits of one account on one state that compete with others there.
    pub const MAX_OF_ONE: usize = 8;
    /// Verified proposals of one account in one epoch that are kept.
    pub const MAX_PROPOSALS: usize = 16;
    /// Bytes of the reason that a deletion may give; a longer one is not kept.
    pub const MAX_REASON_BYTES: usize = 1_024;
}

/// A group, with all of its members and relays.
pub mod group {
    /// Reactions that are shown of one message.
    pub const MAX_SHOWN_REACTIONS: u32 = 1_024;
    /// Events that no key has opened on which the key of a new state is tried in one call, the newest first; in the calls
    /// that follow so many with the keys of all states that are not new.
    pub const MAX_TRIED_AT_ONCE: u32 = 1_024;
    /// Bytes of the events that wait, without Welcomes: anybody may seal noise to a routing id. Their number is
    /// `Config.max_held_events`.
    pub const MAX_HELD_BYTES: u64 = 16 << 20;
    /// The time for which an event that no key opens waits, in seconds (rule D1-8).
    pub const HELD_FOR: u64 = 30 * 86_400;
    /// Opened handshake messages that wait: only members can make them.
    pub const MAX_INPUTS: u32 = 256;
    /// Welcomes that wait for the end of a membership that still lasts.
    pub const MAX_WELCOMES: usize = 4;
    /// States beside the followed branch, and commits that led there.
    pub const MAX_BESIDE: usize = 256;
    /// Bytes of those commits. A line that is followed may take its part of them.
    pub const MAX_BYTES: u64 = 64 << 20;
    /// Candidate tips whose states are kept whole: of more, the worst sleep, and only their commits are kept.
    pub const MAX_RIVALS: usize = 8;
    /// Events that no key has opened that go at once for one that a key has.
    pub const MAX_NOISE_DROPPED: u32 = 64;
    /// Changes of the epoch that are kept in the log of events: an older one goes into the one after it.
    pub const MAX_EPOCHS_TOLD: u32 = 256;
    /// Messages whose time has come that are read at once.
    pub const MAX_EXPIRED_AT_ONCE: u32 = 256;
}
