//! Events that this engine has verified or signed, and stored.

use mdk_wire::Event;

use crate::model::error::{Error, Result};

/// An event that we stored after verifying or signing it.
pub(crate) fn stored_event(json: &str) -> Result<Event> {
    Event::from_stored_json(json.as_bytes()).map_err(|_| Error::Unrecoverable("stored event"))
}
