//! Ids of the components (draft-ietf-mls-extensions-10 below 0x8000, Marmot from there).

/// Supported (leaf) or required (group) components.
pub const APP_COMPONENTS: u16 = 0x0001;
/// Components that contribute to safe AAD.
pub const SAFE_AAD: u16 = 0x0002;
/// Marks a KeyPackage of last resort.
pub const LAST_RESORT: u16 = 0x0004;
/// Name and description.
pub const PROFILE: u16 = 0x8001;
/// Encrypted group image on Blossom servers.
pub const IMAGE: u16 = 0x8002;
/// Admins.
pub const ADMIN_POLICY: u16 = 0x8003;
/// Nostr group id and relays.
pub const ROUTING: u16 = 0x8004;
/// Disappearing messages.
pub const RETENTION: u16 = 0x8005;
/// Streamed agent text.
pub const AGENT_STREAM: u16 = 0x8006;
/// Public group picture.
pub const AVATAR: u16 = 0x8007;
/// Frozen first media policy; never valid.
pub const MEDIA_V1: u16 = 0x8008;
/// Account identity proof; leaf only.
pub const IDENTITY_PROOF: u16 = 0x8009;
/// Media policy.
pub const MEDIA: u16 = 0x800b;
/// Whether the group lives.
pub const LIFECYCLE: u16 = 0x800c;
