//! A group that stands still: what the others say cannot be read.
//!
//! An event bears the time of its making. One that waited in an outbox for weeks, or was made by a clock that is wrong, comes
//! to a relay with a time that nobody asks for any more who was not connected at that moment. If it was a commit,
//! nothing that follows it can be read.

use mdk_core::Engine;
use tokio::time::Instant;

use super::state::Turn;
use crate::client::times::now;
use crate::error::{ClientError, Result};
use crate::sync::relay_sync::Input;

/// Seconds between two looks further back for one group: others can make us believe that it stands still.
const DAY: u64 = 86_400;

impl Turn {
    /// Something came that cannot be read yet. What it waits for is given some time.
    pub(super) fn may_stand_still(&mut self) {
        let at = Instant::now() + self.shared.options.standstill;
        self.still_at.get_or_insert(at);
    }

    /// Asks all relays of a group that stands still for what they have of the last weeks.
    pub(super) async fn search_deeper(&mut self) -> Result<()> {
        if self.still_at.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        self.still_at = None;
        let due = match self.shared.engine(due).await {
            Err(ClientError::Engine(error)) => {
                tracing::warn!("it is not known whether a group stands still: {error}");
                self.may_stand_still();
                return Ok(());
            }
            due => due?,
        };
        if !due.is_empty() {
            // (those that are not connected do it when they are)
            let urls: Vec<String> = self.relays.keys().cloned().collect();
            let groups = || Input::SearchDeeper(due.iter().cloned().collect());
            urls.iter().for_each(|url| self.tell(url, groups()));
        }
        Ok(())
    }

    /// Writes down for which groups a relay has given it. Without that it is done again: it costs requests and nothing else.
    pub(super) async fn note_searched(&self, topics: Vec<String>) -> Result<()> {
        if topics.is_empty() {
            return Ok(());
        }
        let note = move |engine: &mut Engine| {
            let at = now().to_be_bytes();
            topics.iter().try_for_each(|route| engine.set_state(&key(route), Some(&at)))
        };
        match self.shared.engine(note).await {
            Err(ClientError::Engine(error)) => {
                tracing::warn!("it is not noted what was asked for: {error}");
                Ok(())
            }
            other => other,
        }
    }
}

fn key(route: &str) -> String {
    format!("deeper/{route}")
}

/// Routing ids of the groups for which it is to be done, and has not been done today.
fn due(engine: &mut Engine) -> mdk_core::Result<Vec<String>> {
    let now = now();
    let mut due = Vec::new();
    for route in engine.standing_still()? {
        let route = route.to_hex();
        let last =
            engine.state(&key(&route))?.and_then(|at| <[u8; 8]>::try_from(at.as_slice()).ok());
        let last = last.map(u64::from_be_bytes);
        if last.is_none_or(|last| last > now || now - last >= DAY) {
            due.push(route);
        }
    }
    Ok(due)
}
