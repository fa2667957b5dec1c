//! Every limit and lifetime of the engine in one place.

/// Limits and lifetimes. Durations are seconds, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How far a message may be from the newest one of its sender.
    pub ratchet: RatchetLimits,
    /// Lifetime of a new KeyPackage, at most 84 days (protocol/key-packages.md A1-5).
    pub key_package_lifetime: u64,
    /// Whether `tick` replaces KeyPackages that were used or come to their end. It hands the events out. Their
    /// publisher gives them back as relays do, or calls
    /// [`Engine::published_key_package`](crate::Engine::published_key_package).
    pub rotate_key_packages: bool,
    /// Age of our leaf after which `needs_self_update` names the group.
    pub self_update_every: u64,
    /// Largest event the engine makes; a Welcome over it is `GroupTooLarge`.
    pub max_event_bytes: u64,
    /// Largest application payload, in bytes of its JSON.
    pub max_message_bytes: u64,
    /// Largest file of a message, and largest group image, in bytes before encryption.
    pub max_media_bytes: u64,
    /// Whether pictures lose the place, the time and the maker of the picture before they are encrypted.
    pub strip_image_metadata: bool,
    /// Undecryptable events held per group. Their bytes are limited too ([`mdk_wire::budget::group::MAX_HELD_BYTES`]).
    pub max_held_events: u32,
    /// How much of a group's messages is kept.
    pub history: HistoryLimits,
    /// Loaded groups kept in memory.
    pub cached_groups: u32,
    /// How long branches compete, and whether messages wait for the end of it.
    pub settling: SettlingConfig,
}

/// How far a message may be from the newest one in its sender's ratchet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatchetLimits {
    /// The generations that a message may be behind.
    pub out_of_order_tolerance: u32,
    /// The generations that a message may be ahead.
    pub maximum_forward_distance: u32,
}

/// How much of a group's messages is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Messages of every kind that are kept of one member of a group. The account's own messages are not counted. If a
    /// member has more, that member's oldest messages go, and nobody else's.
    pub max_sender_messages: u64,
    /// Bytes that the messages of one member may take: their texts and tags, and [`mdk_store::ROW_BYTES`] for each.
    pub max_sender_bytes: u64,
    /// Messages that are kept of all members of a group together. If there are more, the oldest go of the member with
    /// most.
    pub max_group_messages: u64,
    /// Bytes that the messages of all members of a group may take together.
    pub max_group_bytes: u64,
}

/// How long branches compete, and whether messages wait for the end of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlingConfig {
    /// Milliseconds without relevant input after which a choice between branches is made. The protocol fixes 1000.
    pub quiet_millis: u64,
    /// Milliseconds after which it is made in any case. The protocol fixes 5000.
    pub max_millis: u64,
    /// Whether messages of ours are encrypted also while branches compete. They then count for the branch that they are
    /// said on, and are lost for everybody with it; else they are [`Error::Settling`](crate::Error::Settling) until the
    /// choice is made.
    pub speak_undecided: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ratchet: RatchetLimits { out_of_order_tolerance: 100, maximum_forward_distance: 1000 },
            key_package_lifetime: 84 * 86_400,
            rotate_key_packages: true,
            self_update_every: 7 * 86_400,
            max_event_bytes: 131_072,
            max_message_bytes: 65_536,
            max_media_bytes: 104_857_600,
            strip_image_metadata: true,
            max_held_events: 8192,
            history: HistoryLimits {
                max_sender_messages: 500_000,
                max_sender_bytes: 256 << 20,
                max_group_messages: 2_000_000,
                max_group_bytes: 1 << 30,
            },
            cached_groups: 64,
            settling: SettlingConfig {
                quiet_millis: 1000,
                max_millis: 5000,
                speak_undecided: true,
            },
        }
    }
}
