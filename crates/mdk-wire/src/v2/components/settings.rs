//! Name and description (0x8001), disappearing messages (0x8005) and lifecycle (0x800c).

use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::v2::codec::{invalid, text};
use crate::v2::limits;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-20", "a group name has at most 256 bytes"),
    ("2.2-21", "a group description has at most 4096 bytes"),
    ("2.2-45", "retention is exactly one u64; every value is valid"),
    ("2.2-70", "lifecycle is one byte, 0 or 1"),
];

const NAME: &str = "group name";
const DESCRIPTION: &str = "group description";

/// Name and description of a group (0x8001): `name<0..256> description<0..4096>`, UTF-8, both may be empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Up to 256 bytes.
    pub name: String,
    /// Up to 4096 bytes.
    pub description: String,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({} + {} bytes)", self.name.len(), self.description.len())
    }
}

impl Profile {
    /// Component id.
    pub const ID: u16 = component_id::PROFILE;

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, not UTF-8, or a text is too long.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        // rule: 2.2-20
        let name = reader.vector(NAME, limits::PROFILE_NAME_BYTES)?;
        // rule: 2.2-21
        let description = reader.vector(DESCRIPTION, limits::PROFILE_DESCRIPTION_BYTES)?;
        reader.finish()?;
        Ok(Self { name: text(name)?, description: text(description)? })
    }

    /// Writes the component.
    ///
    /// # Errors
    /// A text is too long.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut writer = Writer::new();
        writer.vector(NAME, limits::PROFILE_NAME_BYTES, self.name.as_bytes())?;
        writer.vector(
            DESCRIPTION,
            limits::PROFILE_DESCRIPTION_BYTES,
            self.description.as_bytes(),
        )?;
        Ok(writer.into_vec())
    }
}

/// The time for which messages are kept (0x8005).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Seconds from a message's inner `created_at` to its end; 0 keeps messages for ever.
    pub seconds: u64,
}

impl Retention {
    /// Component id.
    pub const ID: u16 = component_id::RETENTION;

    /// Reads the component.
    ///
    /// # Errors
    /// Not exactly 8 bytes.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        // rule: 2.2-45
        let mut reader = Reader::new(data);
        let seconds = reader.u64()?;
        reader.finish()?;
        Ok(Self { seconds })
    }

    /// Writes the component.
    ///
    /// # Errors
    /// None; the signature is that of every component.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(self.seconds.to_be_bytes().to_vec())
    }
}

/// Whether the group lives (0x800c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// The group is in use.
    Active,
    /// The group was ended for everyone, for ever.
    Disbanded,
}

impl Lifecycle {
    /// Component id.
    pub const ID: u16 = component_id::LIFECYCLE;

    /// Reads the component.
    ///
    /// # Errors
    /// Not exactly one byte, or a byte other than 0 and 1.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        // rule: 2.2-70
        match data {
            [0] => Ok(Self::Active),
            [1] => Ok(Self::Disbanded),
            _ => Err(invalid("lifecycle is not one byte of 0 or 1")),
        }
    }

    /// Writes the component.
    ///
    /// # Errors
    /// None; the signature is that of every component.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(vec![u8::from(*self == Self::Disbanded)])
    }
}
