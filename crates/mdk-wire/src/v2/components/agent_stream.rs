//! Policy for streamed agent text (0x8006, experimental).

use super::component_id;
use crate::error::WireError;
use crate::v2::codec::invalid;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-50", "the stream policy has exactly 12 bytes"),
    ("2.2-51", "role masks have only the bits 1, 2 and 4"),
    ("2.2-52", "at least one role is required"),
    ("2.2-53", "every required role is allowed"),
];

/// Role bit: understands the final message of a stream.
pub const ROLE_RECEIVE: u8 = 1;
/// Role bit: sends streams.
pub const ROLE_SEND: u8 = 2;
/// Role bit: forwards streams.
pub const ROLE_FANOUT: u8 = 4;

/// Policy for streamed agent text (0x8006), 12 bytes: two role masks, u32, u32, u16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentStream {
    /// Roles that every member must have; not 0, within `allowed_roles`.
    pub required_roles: u8,
    /// Roles that a member may have.
    pub allowed_roles: u8,
    /// Largest frame, in bytes.
    pub max_frame: u32,
    /// Seconds for which a frame may be replayed.
    pub replay_ttl: u32,
    /// Padding policy.
    pub padding: u16,
}

impl AgentStream {
    /// Component id.
    pub const ID: u16 = component_id::AGENT_STREAM;

    /// Reads the component.
    ///
    /// # Errors
    /// Not 12 bytes, or the role masks are not possible.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        // rule: 2.2-50
        let mut reader = Reader::new(data);
        let policy = Self {
            required_roles: reader.u8()?,
            allowed_roles: reader.u8()?,
            max_frame: reader.u32()?,
            replay_ttl: reader.u32()?,
            padding: reader.u16()?,
        };
        reader.finish()?;
        policy.check()?;
        Ok(policy)
    }

    /// Writes the component.
    ///
    /// # Errors
    /// The role masks are not possible.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut writer = Writer::with_capacity(12);
        writer.u8(self.required_roles).u8(self.allowed_roles);
        writer.u32(self.max_frame).u32(self.replay_ttl).u16(self.padding);
        Ok(writer.into_vec())
    }

    fn check(&self) -> Result<(), WireError> {
        // rule: 2.2-51
        let known = ROLE_RECEIVE | ROLE_SEND | ROLE_FANOUT;
        if (self.required_roles | self.allowed_roles) & !known != 0 {
            return Err(invalid("stream policy has an unknown role"));
        }
        // rule: 2.2-52
        if self.required_roles == 0 {
            return Err(invalid("stream policy requires no role"));
        }
        // rule: 2.2-53
        if self.required_roles & !self.allowed_roles != 0 {
            return Err(invalid("stream policy requires a role that it does not allow"));
        }
        Ok(())
    }
}
