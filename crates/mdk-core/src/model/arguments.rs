//! Arguments of the caller that are checked before anything is done.

use mdk_wire::v2::components::Endpoint;

use crate::model::error::{Error, Result};
use crate::model::relay_urls;
use crate::model::settings::MEDIA_KIND;

/// Most relays of a group (protocol/components.md 2.2).
pub(crate) const MAX_RELAYS: usize = 16;
/// Most servers for files of a group.
const MAX_MEDIA_SERVERS: usize = 16;
/// Longest name, in bytes (0x8001).
pub(crate) const MAX_NAME: usize = 256;
/// Longest description, in bytes (0x8001).
pub(crate) const MAX_DESCRIPTION: usize = 4096;

pub(crate) fn check_text(field: &'static str, text: &str, limit: usize) -> Result<()> {
    if text.len() > limit { Err(Error::too_large(field, limit, text.len())) } else { Ok(()) }
}

/// Checks the servers for a group's files.
pub(crate) fn check_media_servers(given: &[String]) -> Result<Vec<Endpoint>> {
    pub(crate) const FIELD: &str = "media_servers";
    if given.len() > MAX_MEDIA_SERVERS {
        return Err(Error::too_large(FIELD, MAX_MEDIA_SERVERS, given.len()));
    }
    let problem = "not an http or https address without user, query and fragment";
    let endpoint = |url: &String| {
        Endpoint::new(MEDIA_KIND, url).map_err(|error| match error.measured() {
            Some((limit, actual)) => Error::too_large(FIELD, limit, actual),
            None => Error::input(FIELD, problem),
        })
    };
    given.iter().map(endpoint).collect()
}

/// Sorted and unique, as 0x8004 wants them.
pub(crate) fn check_relays(given: &[String]) -> Result<Vec<String>> {
    if given.is_empty() {
        return Err(Error::empty("relays", "empty"));
    }
    let mut relays = relay_urls::checked(given, MAX_RELAYS)?;
    relays.sort_unstable();
    Ok(relays)
}
