//! A group's settings, in whatever form they have on the wire.

use std::collections::{BTreeMap, BTreeSet};

use mdk_wire::{NostrGroupId, PublicKey};

pub(crate) use mdk_wire::v2::components::{Endpoint, Lifecycle};

/// The protocol that a group's servers speak (Blossom).
pub(crate) const MEDIA_KIND: &str = "blossom-v1";

/// A group's settings, in whatever form they have on the wire.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Sorted by bytes.
    pub(crate) admins: Vec<PublicKey>,
    /// Released peers join groups without routing, so it may be missing; nothing can be sent there.
    pub(crate) nostr_group_id: Option<NostrGroupId>,
    /// Sorted by bytes.
    pub(crate) relays: Vec<String>,
    /// Seconds; 0 keeps messages for ever.
    pub(crate) retention: u64,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) has_image: bool,
    /// The servers for files of a group that is yet to be founded, if its founder names any; a group's own are in
    /// `components`.
    pub(crate) media: Vec<Endpoint>,
    /// The entries these were read from, raw; empty for a group that is yet to be founded.
    pub(crate) components: BTreeMap<u16, Vec<u8>>,
    /// Required extensions, proposals and credentials.
    pub(crate) required: [BTreeSet<u16>; 3],
}

impl Settings {
    /// The settings of a new group. `admins` and `relays` need not be sorted.
    pub(crate) fn founding(
        name: String,
        description: String,
        admins: impl IntoIterator<Item = PublicKey>,
        nostr_group_id: NostrGroupId,
        relays: impl IntoIterator<Item = String>,
        retention: u64,
    ) -> Self {
        let admins: BTreeSet<PublicKey> = admins.into_iter().collect();
        let relays: BTreeSet<String> = relays.into_iter().collect();
        Self {
            name,
            description,
            admins: admins.into_iter().collect(),
            nostr_group_id: Some(nostr_group_id),
            relays: relays.into_iter().collect(),
            retention,
            lifecycle: Lifecycle::Active,
            has_image: false,
            media: Vec::new(),
            components: BTreeMap::new(),
            required: Default::default(),
        }
    }
}

/// The public look of a group: its settings, and its accounts.
pub(crate) type Look = (Settings, Vec<PublicKey>);
