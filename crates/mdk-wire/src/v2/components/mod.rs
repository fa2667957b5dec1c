//! App components: the typed entries of `app_data_dictionary` (protocol/components.md 2.2).
//!
//! Every type reads only its canonical bytes (`decode`) and writes only valid ones (`encode`), so
//! `decode(bytes)?.encode()? == bytes`. `Debug` shows counts and lengths, never values.

mod admin;
mod agent_stream;
mod application;
mod avatar;
pub mod component_id;
mod image;
mod list;
mod media;
mod registry;
mod routing;
mod settings;

pub use admin::AdminPolicy;
pub use agent_stream::{AgentStream, ROLE_FANOUT, ROLE_RECEIVE, ROLE_SEND};
pub use application::{FIRST_APPLICATION_ID, check_application_owned};
pub use avatar::AvatarUrl;
pub use image::{Image, ImageRef};
pub use list::{ComponentList, LastResort};
pub use media::{Endpoint, MEDIA_FORMAT, Media};
pub use registry::{Component, allowed_in_group_context, decode_known};
pub use routing::Routing;
pub use settings::{Lifecycle, Profile, Retention};

/// Rules of every module here, for the coverage table.
pub const RULES: &[&[(&str, &str)]] = &[
    super::codec::RULES,
    list::RULES,
    registry::RULES,
    application::RULES,
    settings::RULES,
    image::RULES,
    admin::RULES,
    routing::RULES,
    agent_stream::RULES,
    avatar::RULES,
    media::RULES,
];
