//! What an account remembers between runs beside its groups: its relays and file servers, how far a bot and a listener are.

use mdk_core::{Engine, Result};
use mdk_wire::{EventId, GroupId};

/// Where the account's relays are.
pub const RELAYS: &str = "relays";
const FILE_SERVERS: &str = "blossom";
/// The KeyPackage event of ours that a relay has taken.
const KEY_PACKAGE: &str = "key_package/published";
const RESTORED: &str = "client/restored";
const OWN_RELAYS_ADDED: &str = "spread/";
const LISTEN: &str = "cli/listen/";
const BOT_POSITION: &str = "bot/position";
const BOT_SEEN: &str = "bot/seen";
const BOT_LANE: &str = "bot/lane/";

/// How far a bot is: cursors of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotState {
    /// Nothing at or before it is open, in any group.
    pub position: Option<i64>,
    /// The end of the log when the last run ended.
    pub seen: Option<i64>,
    /// The last event that was done of each group, and of no group.
    pub lanes: Vec<(Option<GroupId>, i64)>,
}

/// The URLs in such a value; none where there is none, or where it cannot be read.
#[must_use]
pub fn urls(value: Option<&[u8]>) -> Vec<String> {
    value.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default()
}

fn set_urls(engine: &mut Engine, key: &str, urls: &[String]) -> Result<()> {
    let text = serde_json::json!(urls).to_string().into_bytes();
    if engine.state(key)?.as_ref() != Some(&text) {
        engine.set_state(key, Some(&text))?;
    }
    Ok(())
}

/// The relays that the account was last opened with.
///
/// # Errors
/// Faults of this machine, as for all of these.
pub fn relays(engine: &mut Engine) -> Result<Vec<String>> {
    Ok(urls(engine.state(RELAYS)?.as_deref()))
}

/// See [`relays`].
pub fn set_relays(engine: &mut Engine, relays: &[String]) -> Result<()> {
    set_urls(engine, RELAYS, relays)
}

/// The file servers that were named last.
pub fn file_servers(engine: &mut Engine) -> Result<Vec<String>> {
    Ok(urls(engine.state(FILE_SERVERS)?.as_deref()))
}

/// See [`file_servers`].
pub fn set_file_servers(engine: &mut Engine, servers: &[String]) -> Result<()> {
    set_urls(engine, FILE_SERVERS, servers)
}

/// The KeyPackage event of ours that a relay took last.
pub fn published_key_package(engine: &mut Engine) -> Result<Option<EventId>> {
    let id = engine.state(KEY_PACKAGE)?.and_then(|id| <[u8; 32]>::try_from(id).ok());
    Ok(id.map(EventId::from_bytes))
}

/// See [`published_key_package`].
pub(crate) fn set_published_key_package(engine: &mut Engine, id: &EventId) -> Result<()> {
    engine.set_state(KEY_PACKAGE, Some(id.as_bytes()))
}

fn flag(engine: &mut Engine, key: &str, is_set: bool) -> Result<()> {
    engine.set_state(key, is_set.then_some(b"1"))
}

/// Whether the account was restored, and its keys have not been renewed since.
pub fn is_restored(engine: &mut Engine) -> Result<bool> {
    Ok(engine.state(RESTORED)?.is_some())
}

/// See [`is_restored`].
pub fn set_restored(engine: &mut Engine, is_restored: bool) -> Result<()> {
    flag(engine, RESTORED, is_restored)
}

/// Whether the account's own relays were once added to this group.
pub fn own_relays_added(engine: &mut Engine, group: &GroupId) -> Result<bool> {
    Ok(engine.state(&of_group(OWN_RELAYS_ADDED, Some(group)))?.is_some())
}

/// See [`own_relays_added`].
pub fn note_own_relays_added(engine: &mut Engine, group: &GroupId) -> Result<()> {
    flag(engine, &of_group(OWN_RELAYS_ADDED, Some(group)), true)
}

/// A cursor is not behind the end of the log, which a salvaged database may have lost.
fn cursor(value: &[u8], last: i64) -> Option<i64> {
    value.try_into().ok().map(|at| i64::from_be_bytes(at).min(last))
}

fn cursor_of(engine: &mut Engine, key: &str) -> Result<Option<i64>> {
    let last = engine.last_cursor()?;
    Ok(engine.state(key)?.and_then(|value| cursor(&value, last)))
}

fn set_cursor(engine: &mut Engine, key: &str, at: Option<i64>) -> Result<()> {
    engine.set_state(key, at.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
}

fn of_group(prefix: &str, group: Option<&GroupId>) -> String {
    group.map_or_else(|| prefix.to_owned(), |group| format!("{prefix}{}", group.to_hex()))
}

/// Where the last listener ended, of one group or of everything.
pub fn listen_cursor(engine: &mut Engine, group: Option<&GroupId>) -> Result<Option<i64>> {
    cursor_of(engine, &of_group(LISTEN, group))
}

/// See [`listen_cursor`].
pub fn set_listen_cursor(engine: &mut Engine, group: Option<&GroupId>, at: i64) -> Result<()> {
    set_cursor(engine, &of_group(LISTEN, group), Some(at))
}

/// How far the account's bot is.
pub fn bot_state(engine: &mut Engine) -> Result<BotState> {
    let last = engine.last_cursor()?;
    let lanes = engine.states(BOT_LANE)?.into_iter().filter_map(|(key, value)| {
        let group = match key.strip_prefix(BOT_LANE)? {
            "" => None,
            hex => Some(GroupId::from_hex(hex).ok()?),
        };
        Some((group, cursor(&value, last)?))
    });
    let lanes = lanes.collect();
    let (position, seen) = (cursor_of(engine, BOT_POSITION)?, cursor_of(engine, BOT_SEEN)?);
    Ok(BotState { position, seen, lanes })
}

/// See [`BotState::position`].
pub fn set_bot_position(engine: &mut Engine, at: i64) -> Result<()> {
    set_cursor(engine, BOT_POSITION, Some(at))
}

/// See [`BotState::seen`].
pub fn set_bot_seen(engine: &mut Engine, at: Option<i64>) -> Result<()> {
    set_cursor(engine, BOT_SEEN, at)
}

/// See [`BotState::lanes`].
pub fn set_bot_lane(engine: &mut Engine, group: Option<&GroupId>, at: i64) -> Result<()> {
    set_cursor(engine, &of_group(BOT_LANE, group), Some(at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use mdk_core::{Config, SystemClock};
    use mdk_wire::Keys;

    use super::*;

    #[test]
    fn a_cursor_is_not_behind_the_end_of_the_log() {
        let clock = Arc::new(SystemClock);
        let mut engine = Engine::in_memory(Keys::generate(), Config::default(), clock).unwrap();
        assert_eq!(bot_state(&mut engine).unwrap(), BotState::default());
        set_listen_cursor(&mut engine, None, 9).unwrap();
        set_bot_position(&mut engine, 9).unwrap();
        let group = GroupId::from_bytes(&[1; 32]).unwrap();
        set_bot_lane(&mut engine, Some(&group), -3).unwrap();
        set_bot_lane(&mut engine, None, 9).unwrap();
        assert_eq!(listen_cursor(&mut engine, None).unwrap(), Some(0));
        assert_eq!(listen_cursor(&mut engine, Some(&group)).unwrap(), None);
        let lanes = vec![(None, 0), (Some(group), -3)];
        assert_eq!(
            bot_state(&mut engine).unwrap(),
            BotState { position: Some(0), seen: None, lanes }
        );
        // What cannot be read is nothing.
        engine.set_state(BOT_POSITION, Some(b"12")).unwrap();
        engine.set_state(RELAYS, Some(b"[1]")).unwrap();
        assert_eq!(bot_state(&mut engine).unwrap().position, None);
        assert!(relays(&mut engine).unwrap().is_empty());
    }
}
