//! `mdk.Config` (a Python dataclass that checks itself) as the engine's.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::Raise;
use crate::views::imported;

pub(crate) struct Config(pub(crate) mdk_core::Config);

#[derive(FromPyObject)]
struct Fields {
    out_of_order_tolerance: u32,
    maximum_forward_distance: u32,
    key_package_lifetime: Duration,
    self_update_every: Duration,
    max_event_bytes: u64,
    max_message_bytes: u64,
    max_media_bytes: u64,
    strip_image_metadata: bool,
    max_held_events: u32,
    max_sender_messages: u64,
    max_sender_bytes: u64,
    max_group_messages: u64,
    max_group_bytes: u64,
    cached_groups: u32,
}

impl FromPyObject<'_, '_> for Config {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let class = imported!(value.py(), "mdk.config", "Config")?;
        if !value.is_instance(class)? {
            return Err(PyTypeError::new_err("config: not a Config"));
        }
        // Only one whose checks were circumvented.
        let fields: Fields =
            value.extract().map_err(|_: PyErr| Raise::input("config", "not a valid Config"))?;
        Ok(Self(fields.into()))
    }
}

impl From<Fields> for mdk_core::Config {
    fn from(fields: Fields) -> Self {
        let mut core = Self::default();
        core.ratchet.out_of_order_tolerance = fields.out_of_order_tolerance;
        core.ratchet.maximum_forward_distance = fields.maximum_forward_distance;
        core.key_package_lifetime = fields.key_package_lifetime.as_secs();
        core.self_update_every = fields.self_update_every.as_secs();
        core.max_event_bytes = fields.max_event_bytes;
        core.max_message_bytes = fields.max_message_bytes;
        core.max_media_bytes = fields.max_media_bytes;
        core.strip_image_metadata = fields.strip_image_metadata;
        core.max_held_events = fields.max_held_events;
        core.history.max_sender_messages = fields.max_sender_messages;
        core.history.max_sender_bytes = fields.max_sender_bytes;
        core.history.max_group_messages = fields.max_group_messages;
        core.history.max_group_bytes = fields.max_group_bytes;
        core.cached_groups = fields.cached_groups;
        core
    }
}
