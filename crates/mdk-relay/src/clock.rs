//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use mdk_wire::Timestamp;

/// Unix seconds; 0 before their beginning.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
