//! Size limits of the v2 components. One constant each; exceeding one names it in the error.

/// Bytes of a group name (0x8001).
pub const PROFILE_NAME_BYTES: usize = 256;
/// Bytes of a group description (0x8001).
pub const PROFILE_DESCRIPTION_BYTES: usize = 4096;
/// Bytes of the media type of a group image (0x8002).
pub const IMAGE_MEDIA_TYPE_BYTES: usize = 128;
/// Relays of a group (0x8004).
pub const ROUTING_RELAYS: usize = 16;
/// Bytes of one relay URL (0x8004).
pub const ROUTING_RELAY_URL_BYTES: usize = 512;
/// Bytes of an avatar URL (0x8007).
pub const AVATAR_URL_BYTES: usize = 2048;
/// Bytes of the `dim` hint of an avatar (0x8007).
pub const AVATAR_DIM_BYTES: usize = 256;
/// Bytes of the `thumbhash` hint of an avatar (0x8007).
pub const AVATAR_THUMBHASH_BYTES: usize = 256;
/// Locator kinds of the media policy (0x800b).
pub const MEDIA_KINDS: usize = 64;
/// Bytes of one locator kind (0x800b).
pub const MEDIA_KIND_BYTES: usize = 16;
/// Bytes of the base URL of one media endpoint (0x800b).
pub const MEDIA_BASE_URL_BYTES: usize = 2048;
/// Bytes of each half of a media type.
pub const MEDIA_TYPE_HALF_BYTES: usize = 64;
/// Attachments of one message.
pub const ATTACHMENTS: usize = 64;
/// Places where the ciphertext of one attachment lies.
pub const ATTACHMENT_LOCATORS: usize = 64;
/// Bytes of the kind of one such place.
pub const ATTACHMENT_LOCATOR_KIND_BYTES: usize = 64;
/// Bytes of the address of one such place.
pub const ATTACHMENT_LOCATOR_BYTES: usize = 2048;
/// Bytes of the file name of an attachment.
pub const ATTACHMENT_FILENAME_BYTES: usize = 255;
/// Bytes of the `dim` and of the `thumbhash` of an attachment.
pub const ATTACHMENT_HINT_BYTES: usize = 256;
/// Bytes of one application-owned component (ids from 0xF000).
pub const APPLICATION_ENTRY_BYTES: usize = 4096;
/// Application-owned components of one group.
pub const APPLICATION_ENTRIES: usize = 32;
/// Bytes of all application-owned components of one group together.
pub const APPLICATION_TOTAL_BYTES: usize = 8192;
/// Largest `created_at` of an identity proof: 2^53 - 1, the largest integer that every JSON reader keeps.
pub const PROOF_CREATED_AT: u64 = (1 << 53) - 1;
