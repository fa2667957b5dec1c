//! Messages that wake nobody.

use std::collections::HashSet;

use mdk_core::Engine;
use mdk_wire::EventId;

/// What a message is marked by that wakes nobody: this, and its id.
const QUIET: &str = "quiet/";

/// Marks a message of ours that waits for a relay: it wakes nobody.
///
/// # Errors
/// Those of [`Engine::set_state`].
pub fn keep_quiet(engine: &mut Engine, message: &EventId) -> mdk_core::Result<()> {
    engine.set_state(&quiet_key(message), Some(&[]))
}

fn quiet_key(message: &EventId) -> String {
    format!("{QUIET}{}", message.to_hex())
}

/// Takes the mark away; whether it was there.
pub(super) fn was_quiet(engine: &mut Engine, message: &EventId) -> mdk_core::Result<bool> {
    let key = quiet_key(message);
    let marked = engine.state(&key)?.is_some();
    if marked {
        engine.set_state(&key, None)?;
    }
    Ok(marked)
}

/// Forgets the marks of messages that wait for no relay any more: they failed, or went with their group.
pub(super) fn forget_marks(engine: &mut Engine) -> mdk_core::Result<()> {
    let marks = engine.states(QUIET)?;
    if marks.is_empty() {
        return Ok(());
    }
    let waiting = engine.outbox_messages()?;
    let waiting: HashSet<String> = waiting.iter().map(|message| quiet_key(&message.id)).collect();
    for (key, _) in marks.iter().filter(|(key, _)| !waiting.contains(key)) {
        engine.set_state(key, None)?;
    }
    Ok(())
}
