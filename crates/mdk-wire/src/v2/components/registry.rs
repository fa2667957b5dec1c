//! The one entry point over all components.

use super::{
    AdminPolicy, AgentStream, AvatarUrl, ComponentList, Image, LastResort, Lifecycle, Media,
    Profile, Retention, Routing, component_id,
};
use crate::error::WireError;
use crate::v2::codec::invalid;
use crate::v2::identity_proof::IdentityProof;

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-8", "0x8008 is frozen and never valid"),
    (
        "2.2-12",
        "0x0004, 0x8008 and 0x8009 never stand in the GroupContext dictionary; nor does 0x0002 here",
    ),
];

/// A decoded component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Component {
    /// 0x0001
    AppComponents(ComponentList),
    /// 0x0002
    SafeAad(ComponentList),
    /// 0x0004
    LastResort,
    /// 0x8001
    Profile(Profile),
    /// 0x8002
    Image(Image),
    /// 0x8003
    AdminPolicy(AdminPolicy),
    /// 0x8004
    Routing(Routing),
    /// 0x8005
    Retention(Retention),
    /// 0x8006
    AgentStream(AgentStream),
    /// 0x8007
    AvatarUrl(AvatarUrl),
    /// 0x8009
    IdentityProof(IdentityProof),
    /// 0x800b
    Media(Media),
    /// 0x800c
    Lifecycle(Lifecycle),
}

impl Component {
    /// The id under which the component stands.
    #[must_use]
    pub const fn id(&self) -> u16 {
        match self {
            Self::AppComponents(_) => ComponentList::ID,
            Self::SafeAad(_) => ComponentList::SAFE_AAD_ID,
            Self::LastResort => LastResort::ID,
            Self::Profile(_) => Profile::ID,
            Self::Image(_) => Image::ID,
            Self::AdminPolicy(_) => AdminPolicy::ID,
            Self::Routing(_) => Routing::ID,
            Self::Retention(_) => Retention::ID,
            Self::AgentStream(_) => AgentStream::ID,
            Self::AvatarUrl(_) => AvatarUrl::ID,
            Self::IdentityProof(_) => IdentityProof::ID,
            Self::Media(_) => Media::ID,
            Self::Lifecycle(_) => Lifecycle::ID,
        }
    }

    /// Writes the component's data.
    ///
    /// # Errors
    /// A value breaks a rule of its component.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Self::AppComponents(value) | Self::SafeAad(value) => value.encode(),
            Self::LastResort => LastResort.encode(),
            Self::Profile(value) => value.encode(),
            Self::Image(value) => value.encode(),
            Self::AdminPolicy(value) => value.encode(),
            Self::Routing(value) => value.encode(),
            Self::Retention(value) => value.encode(),
            Self::AgentStream(value) => value.encode(),
            Self::AvatarUrl(value) => value.encode(),
            Self::IdentityProof(value) => value.encode(),
            Self::Media(value) => value.encode(),
            Self::Lifecycle(value) => value.encode(),
        }
    }
}

/// Decodes the data of a component that this crate knows; `None` for an unknown id, which must be kept byte for byte.
///
/// The frozen id 0x8008 is known and always an error.
#[must_use]
pub fn decode_known(id: u16, data: &[u8]) -> Option<Result<Component, WireError>> {
    Some(match id {
        component_id::APP_COMPONENTS => ComponentList::decode(data).map(Component::AppComponents),
        component_id::SAFE_AAD => ComponentList::decode(data).map(Component::SafeAad),
        component_id::LAST_RESORT => LastResort::decode(data).map(|_| Component::LastResort),
        component_id::PROFILE => Profile::decode(data).map(Component::Profile),
        component_id::IMAGE => Image::decode(data).map(Component::Image),
        component_id::ADMIN_POLICY => AdminPolicy::decode(data).map(Component::AdminPolicy),
        component_id::ROUTING => Routing::decode(data).map(Component::Routing),
        component_id::RETENTION => Retention::decode(data).map(Component::Retention),
        component_id::AGENT_STREAM => AgentStream::decode(data).map(Component::AgentStream),
        component_id::AVATAR => AvatarUrl::decode(data).map(Component::AvatarUrl),
        // rule: 2.2-8
        component_id::MEDIA_V1 => Err(invalid("component 0x8008 is frozen")),
        component_id::IDENTITY_PROOF => IdentityProof::decode(data).map(Component::IdentityProof),
        component_id::MEDIA => Media::decode(data).map(Component::Media),
        component_id::LIFECYCLE => Lifecycle::decode(data).map(Component::Lifecycle),
        _ => return None,
    })
}

/// Whether an entry with this id may stand in a GroupContext dictionary. Unknown ids may.
///
/// The specification does not say so of 0x0002; released peers refuse it there, and so do we.
#[must_use]
pub const fn allowed_in_group_context(id: u16) -> bool {
    // rule: 2.2-12
    !matches!(
        id,
        component_id::SAFE_AAD
            | component_id::LAST_RESORT
            | component_id::MEDIA_V1
            | component_id::IDENTITY_PROOF
    )
}
