//! Every limit on reading or writing, each with its own [`WireError`](crate::WireError) variant.

/// Largest Nostr event read, as JSON, in bytes. Error: `EventTooLarge`.
pub const MAX_EVENT_BYTES: usize = 1 << 20;
/// Most tags in an event. Error: `TooManyTags`.
pub const MAX_TAGS: usize = 4096;
/// Most strings in one tag. Error: `TooManyTagValues`.
pub const MAX_TAG_VALUES: usize = 4096;
/// Largest MLSMessage inside a kind 445 event, in bytes; leaves room for base64 and the envelope
/// within [`MAX_EVENT_BYTES`]. Error: `GroupMessageTooLarge`.
pub const MAX_GROUP_MESSAGE_BYTES: usize = 720 * 1024;
/// Largest application payload (JSON), in bytes. Error: `PayloadTooLarge`.
pub const MAX_PAYLOAD_BYTES: usize = MAX_GROUP_MESSAGE_BYTES;
/// Largest MLSMessage(Welcome), in bytes. Two layers of base64 and padding multiply it by 2.4 to 3, so
/// the largest ones may still exceed [`MAX_EVENT_BYTES`] when wrapped. Error: `WelcomeTooLarge`.
pub const MAX_WELCOME_BYTES: usize = 432 * 1024;
/// Largest MLSMessage(KeyPackage), in bytes. Error: `KeyPackageTooLarge`.
pub const MAX_KEY_PACKAGE_BYTES: usize = 64 * 1024;
/// Most relays in one list. Error: `TooManyRelays`.
pub const MAX_RELAYS: usize = 16;
/// Longest relay URL, in bytes. Error: `RelayUrlTooLong`.
pub const MAX_RELAY_URL_BYTES: usize = 512;
/// Longest length-prefixed vector that a length prefix can state (RFC 9420 section 2.1.2).
/// Error: `VectorTooLong`.
pub const MAX_VECTOR_BYTES: usize = (1 << 30) - 1;
