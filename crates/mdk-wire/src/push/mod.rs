//! Push notifications (docs/internals/protocol/push.md): how members tell each other which tokens wake their phones, and
//! the trigger that asks a notification server to wake some. No message depends on any of it.

mod gossip;
mod record;
mod token;
mod trigger;

pub use gossip::{Gossip, Ignored, parse, records_content, removals_content};
pub use record::{TokenKey, TokenRecord, TokenRemoval};
pub use token::{EncryptedToken, Fingerprint, Platform, Token};
pub use trigger::{read_trigger, triggers};

/// Rules enforced here, for the coverage table.
pub const RULES: &[(&str, &str)] = &[
    (
        "2.11-1",
        "a payload of another version, of another form or with more than 32 entries is ignored",
    ),
    ("2.11-2", "an entry that is not in its form is dropped; its neighbours are not"),
    ("2.11-3", "an entry that is dated more than an hour ahead is dropped"),
    ("2.11-4", "the owner signs each entry, for the group that carries it"),
    ("2.11-5", "of two entries the later one counts; the digest decides between equal times"),
    ("2.11-6", "a trigger is one gift wrap per server and batch, from keys that are used once"),
    ("2.11-7", "a batch has 1, 2, 4, 8 or 16 pieces; random bytes fill it up"),
    (
        "2.11-8",
        "a server drops a trigger of another form before it opens a piece, and a bad piece alone",
    ),
];

/// The version that content and tags name.
pub const VERSION: &str = "marmot-push-v1";
/// Most entries in one message, and most pieces in one trigger that a server takes.
pub const MAX_ENTRIES: usize = 32;
/// Most pieces in one trigger of ours: the event stays below 64 KiB.
pub const MAX_PIECES: usize = 16;
/// Milliseconds that an entry may be dated ahead.
pub const MAX_AHEAD_MILLIS: u64 = 3_600_000;
