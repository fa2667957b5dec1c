//! Welcomes that nobody takes where their recipients want them.

use std::collections::HashMap;
use std::sync::Arc;

use mdk_core::{OutboxItem, OutboxPurpose, RelayResult, SendState};
use mdk_wire::PublicKey;
use tokio::time::Instant;

use super::state::{Done, PATIENT, Worker};
use crate::client::shared::Shared;
use crate::lists;
use crate::relay_pool::normal_url;

impl Worker {
    /// Whether only one relay may still take a Welcome that has been tried nowhere else.
    pub(super) fn last_hope(&self, seq: i64) -> bool {
        let item = self.items.iter().find(|item| item.seq == seq);
        item.is_some_and(|item| {
            let waits = item.results.iter().filter(|r| r.state == SendState::Waiting);
            let welcome = matches!(item.purpose, OutboxPurpose::Welcome { .. });
            welcome && !item.is_accepted() && !self.widened.contains_key(&seq) && waits.count() == 1
        })
    }

    /// The relays that a Welcome was for count as tried often enough.
    pub(super) fn exhaust(&mut self, seq: i64) {
        for item in self.items.iter_mut().filter(|item| item.seq == seq) {
            item.results
                .iter_mut()
                .for_each(|result| result.attempts = result.attempts.max(PATIENT));
        }
    }

    /// Whom a Welcome is for that no relay has, and when it is time to look for others: now, once each of its relays was
    /// tried often enough, and again from time to time while all of them refuse.
    pub(super) fn tired(
        &self,
        item: &OutboxItem,
        now: Instant,
        since: &mut HashMap<i64, Instant>,
    ) -> Option<(PublicKey, Instant)> {
        let OutboxPurpose::Welcome { recipient } = item.purpose else { return None };
        if item.is_accepted() {
            return None;
        }
        if let Some(last) = self.widened.get(&item.seq) {
            // Who was invited may be found elsewhere by now.
            let again = *last + self.shared.options.retry_max;
            return item.is_refused_invite().then_some((recipient, again));
        }
        // Without a network nothing is tried.
        if self.shared.connected.borrow().is_empty() {
            return None;
        }
        let since = *since.entry(item.seq).or_insert(now);
        let tried =
            |result: &RelayResult| result.state == SendState::Refused || result.attempts >= PATIENT;
        let at = if item.results.iter().all(tried) {
            now
        } else {
            since + self.shared.options.welcome_patience
        };
        Some((recipient, at))
    }
}

/// Whether a relay that refused may be asked again: an invite is worth another attempt, as long as no relay has it.
pub(super) fn may_ask_again(item: &OutboxItem, result: &RelayResult) -> bool {
    let invite = matches!(item.purpose, OutboxPurpose::Welcome { .. });
    invite && result.state == SendState::Refused && !item.is_accepted()
}

/// The relays that a Welcome has, and others where its recipient may be.
pub(super) async fn widen(shared: Arc<Shared>, item: OutboxItem, recipient: PublicKey) -> Done {
    let further = lists::further_targets(&shared, &recipient, item.group.as_ref()).await;
    let relays = further.map(|further| {
        let known = |url: &String| {
            item.relays.iter().any(|relay| normal_url(relay).is_ok_and(|relay| relay == *url))
        };
        let new: Vec<String> = further.into_iter().filter(|url| !known(url)).collect();
        item.relays.iter().cloned().chain(new).collect()
    });
    Done::Found { seq: item.seq, relays }
}
