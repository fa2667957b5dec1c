//! Lists of component ids (0x0001, 0x0002) and the last-resort marker (0x0004).

use std::collections::BTreeSet;

use super::component_id;
use crate::error::WireError;
use crate::v2::codec::{invalid, items, write_items};
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-5", "a component list is a vector of whole u16 ids"),
    ("2.2-6", "a component list is strictly ascending"),
    ("2.2-7", "the last-resort marker has no data"),
];

/// A strictly ascending list of component ids: supported or required components (0x0001), or the
/// components that contribute to safe AAD (0x0002).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentList(pub Vec<u16>);

impl ComponentList {
    /// Id under which the list of supported (leaf) or required (group) components stands.
    pub const ID: u16 = component_id::APP_COMPONENTS;
    /// Id under which the list for safe AAD stands; same bytes.
    pub const SAFE_AAD_ID: u16 = component_id::SAFE_AAD;

    /// Reads `ids<V>`.
    ///
    /// # Errors
    /// Not canonical, half an id, or not strictly ascending.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let mut items = items(&mut reader)?;
        reader.finish()?;
        // rule: 2.2-5
        let mut ids = Vec::with_capacity(items.remaining() / 2);
        while !items.is_empty() {
            ids.push(items.u16()?);
        }
        let list = Self(ids);
        list.check()?;
        Ok(list)
    }

    /// Writes `ids<V>`.
    ///
    /// # Errors
    /// The list is not strictly ascending.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut items = Writer::with_capacity(self.0.len() * 2);
        for id in &self.0 {
            items.u16(*id);
        }
        let mut writer = Writer::new();
        write_items(&mut writer, items)?;
        Ok(writer.into_vec())
    }

    /// Whether `id` is listed.
    #[must_use]
    pub fn contains(&self, id: u16) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    fn check(&self) -> Result<(), WireError> {
        // rule: 2.2-6
        if self.0.is_sorted_by(|a, b| a < b) {
            Ok(())
        } else {
            Err(invalid("component list is not strictly ascending"))
        }
    }
}

impl FromIterator<u16> for ComponentList {
    /// Sorts and drops duplicates, so the result is always valid.
    fn from_iter<I: IntoIterator<Item = u16>>(ids: I) -> Self {
        let sorted: BTreeSet<u16> = ids.into_iter().collect();
        Self(sorted.into_iter().collect())
    }
}

/// Marks a KeyPackage that may be used more than once (0x0004); carries no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResort;

impl LastResort {
    /// Component id.
    pub const ID: u16 = component_id::LAST_RESORT;

    /// Reads the empty data.
    ///
    /// # Errors
    /// There is data.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        // rule: 2.2-7
        if data.is_empty() { Ok(Self) } else { Err(invalid("last-resort marker has data")) }
    }

    /// Writes nothing.
    ///
    /// # Errors
    /// None; the signature is that of every component.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(Vec::new())
    }
}
