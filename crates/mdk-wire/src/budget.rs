//! What each peer may cost: the one place of these numbers. `docs/internals/budgets.md` says what each is against and which
//! test goes over it.

/// A relay, whoever named it.
pub mod relay {}

/// A stranger who invites.
pub mod inviter {
    /// Invites of one account that wait for an answer.
    pub const MAX_OF_ONE: usize = 16;
    /// Invites of all strangers that wait for an answer.
    pub const MAX_WAITING: usize = 256;
    /// How long an invite waits, in seconds.
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
    /// Bytes in memory that the tags of a reaction, an edit or a deletion may take; of more the one is kept that names
    /// the message.
    pub const MAX_TAGS_ABOUT_BYTES: usize = 2_048;
    /// Messages that go at once when there are more of a member than are kept.
    pub const MAX_CUT_AT_ONCE: u32 = 1_024;
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
    /// Events that no key has opened that go at once for one that a key has.
    pub const MAX_NOISE_DROPPED: u32 = 64;
    /// Messages whose time has come that are read at once.
    pub const MAX_EXPIRED_AT_ONCE: u32 = 256;
}
