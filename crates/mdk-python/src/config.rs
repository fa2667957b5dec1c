//! `mdk.Config` (a Python dataclass that checks itself) as the engine's.

use std::time::Duration;

use pyo3::prelude::*;

#[derive(FromPyObject)]
pub(crate) struct Config {
    max_past_epochs: u32,
    out_of_order_tolerance: u32,
    maximum_forward_distance: u32,
    key_package_lifetime: Duration,
    self_update_every: Duration,
    max_event_bytes: u64,
    max_message_bytes: u64,
    max_held_events: u32,
    cached_groups: u32,
}

impl From<Config> for mdk_core::Config {
    fn from(config: Config) -> Self {
        let mut core = Self::default();
        core.max_past_epochs = config.max_past_epochs;
        core.out_of_order_tolerance = config.out_of_order_tolerance;
        core.maximum_forward_distance = config.maximum_forward_distance;
        core.key_package_lifetime = config.key_package_lifetime.as_secs();
        core.self_update_every = config.self_update_every.as_secs();
        core.max_event_bytes = config.max_event_bytes;
        core.max_message_bytes = config.max_message_bytes;
        core.max_held_events = config.max_held_events;
        core.cached_groups = config.cached_groups;
        core
    }
}
