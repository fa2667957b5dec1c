//! The accounts that may change the group (0x8003).

use std::collections::BTreeSet;
use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::ids::PublicKey;
use crate::limits::MAX_VECTOR_BYTES;
use crate::v2::codec::invalid;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-30", "the admin list is not empty"),
    ("2.2-31", "the admin list is a vector of whole 32-byte keys"),
    ("2.2-32", "the admin list is sorted by bytes, without duplicates"),
    ("2.2-33", "every admin key lifts to a curve point"),
];

const ADMINS: &str = "admin list";

/// The admins of a group (0x8003): `keys<V>`, x-only keys, sorted by bytes, unique, at least one.
///
/// There is no count limit: every account of the group may be an admin, and the tree bounds the accounts.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminPolicy {
    /// Sorted by bytes, unique, not empty.
    pub admins: Vec<PublicKey>,
}

impl fmt::Debug for AdminPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminPolicy({} admins)", self.admins.len())
    }
}

impl AdminPolicy {
    /// Component id.
    pub const ID: u16 = component_id::ADMIN_POLICY;

    /// Sorts `admins` and drops duplicates.
    pub fn new(admins: impl IntoIterator<Item = PublicKey>) -> Self {
        let sorted: BTreeSet<PublicKey> = admins.into_iter().collect();
        Self { admins: sorted.into_iter().collect() }
    }

    /// Whether `key` is an admin.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.admins.binary_search(key).is_ok()
    }

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, empty, not sorted, duplicates, or a key that is no curve point.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let keys = reader.vector(ADMINS, MAX_VECTOR_BYTES)?;
        reader.finish()?;
        // rule: 2.2-31
        let (keys, rest) = keys.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(invalid("admin list is not made of 32-byte keys"));
        }
        // Order first: lifting a key costs far more than comparing it.
        check_order(keys.iter())?;
        // rule: 2.2-33
        let admins =
            keys.iter().map(|key| PublicKey::from_bytes(*key)).collect::<Result<_, _>>()?;
        Ok(Self { admins })
    }

    /// Writes the component.
    ///
    /// # Errors
    /// Empty, not sorted, or duplicates.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        check_order(self.admins.iter().map(PublicKey::as_bytes))?;
        let mut writer = Writer::with_capacity(4 + self.admins.len() * 32);
        writer.varint(self.admins.len() * 32)?;
        for admin in &self.admins {
            writer.bytes(admin.as_bytes());
        }
        Ok(writer.into_vec())
    }
}

fn check_order<'a>(keys: impl ExactSizeIterator<Item = &'a [u8; 32]>) -> Result<(), WireError> {
    // rule: 2.2-30
    if keys.len() == 0 {
        return Err(invalid("admin list is empty"));
    }
    // rule: 2.2-32
    if keys.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(invalid("admin list is not sorted and unique"))
    }
}
