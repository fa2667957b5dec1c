//! The parts of Marmot v2 inside MLS: app components and the account identity proof.

pub mod attachment;
pub mod components;
pub mod group_image;
pub mod identity_proof;
pub mod limits;
pub mod media_type;

mod codec;

pub use attachment::Attachment;
pub use components::{Component, component_id, decode_known};
pub use identity_proof::IdentityProof;
