//! The routing id and the relays of the group's events (0x8004).

use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::ids::NostrGroupId;
use crate::relay_url;
use crate::v2::codec::{invalid, items, limit_entries, text, write_items};
use crate::v2::limits;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-40", "a group has 1 to 16 relays"),
    ("2.2-41", "a relay URL has 1 to 512 bytes"),
    ("2.2-10", "a relay URL is ws or wss, with a host, without userinfo and fragment"),
    ("2.2-43", "relays are sorted by bytes, without duplicates"),
];

const RELAYS: &str = "relays of the group";
const URL: &str = "relay URL";

/// Nostr routing of a group (0x8004): `nostr_group_id[32] relays<V> of url<1..512>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Routing {
    /// The value of the `h` tag; random, never derived from the MLS group id.
    pub nostr_group_id: NostrGroupId,
    /// 1 to 16 URLs, sorted by bytes, unique.
    pub relays: Vec<String>,
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Routing({} relays)", self.relays.len())
    }
}

impl Routing {
    /// Component id.
    pub const ID: u16 = component_id::ROUTING;

    /// Sorts `relays` and drops duplicates; other faults show in [`Routing::encode`].
    pub fn new(nostr_group_id: NostrGroupId, relays: impl IntoIterator<Item = String>) -> Self {
        let mut relays: Vec<String> = relays.into_iter().collect();
        relays.sort_unstable();
        relays.dedup();
        Self { nostr_group_id, relays }
    }

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, no or too many relays, an unusable URL, not sorted, or duplicates.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let nostr_group_id = NostrGroupId::from_bytes(reader.array()?);
        let mut urls = items(&mut reader)?;
        reader.finish()?;
        let mut relays = Vec::new();
        while !urls.is_empty() {
            // rule: 2.2-40
            limit_entries(RELAYS, relays.len() + 1, limits::ROUTING_RELAYS)?;
            // rule: 2.2-41
            relays.push(text(urls.vector(URL, limits::ROUTING_RELAY_URL_BYTES)?)?);
        }
        let routing = Self { nostr_group_id, relays };
        routing.check()?;
        Ok(routing)
    }

    /// Writes the component.
    ///
    /// # Errors
    /// No or too many relays, an unusable URL, not sorted, or duplicates.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut urls = Writer::new();
        for relay in &self.relays {
            urls.vector(URL, limits::ROUTING_RELAY_URL_BYTES, relay.as_bytes())?;
        }
        let mut writer = Writer::new();
        writer.bytes(self.nostr_group_id.as_bytes());
        write_items(&mut writer, urls)?;
        Ok(writer.into_vec())
    }

    fn check(&self) -> Result<(), WireError> {
        // rule: 2.2-40
        if self.relays.is_empty() {
            return Err(invalid("group has no relay"));
        }
        limit_entries(RELAYS, self.relays.len(), limits::ROUTING_RELAYS)?;
        for relay in &self.relays {
            // rule: 2.2-41
            if relay.is_empty() {
                return Err(invalid("relay URL is empty"));
            }
            // rule: 2.2-10
            relay_url::check(relay)?;
        }
        // rule: 2.2-43
        if self.relays.is_sorted_by(|a, b| a < b) {
            Ok(())
        } else {
            Err(invalid("relays are not sorted and unique"))
        }
    }
}
