//! Relays that take no KeyPackage of ours.

use mdk_core::OutboxPurpose;

use super::state::Worker;
use crate::client::lock::lock;
use crate::relay_pool::Published;

impl Worker {
    /// Notes what one of the account's own relays says to its KeyPackage: whoever waits until the account can be invited is to
    /// hear that nobody takes it.
    pub(super) fn note_refusal(&self, seq: i64, relay: &str, answer: &Published) {
        let shared = &self.shared;
        let key_package = |item: &mdk_core::OutboxItem| item.purpose == OutboxPurpose::KeyPackage;
        if !self.items.iter().any(|item| item.seq == seq && key_package(item)) {
            return;
        }
        let own = shared.own_relays();
        let all = {
            let mut said = lock(&shared.refusals);
            match answer {
                Published::Refused { reason, forever: true } => {
                    if own.iter().any(|url| url == relay) {
                        said.insert(relay.to_owned(), reason.clone());
                    }
                }
                Published::Accepted | Published::Refused { forever: false, .. } => {
                    said.remove(relay);
                }
                Published::Unreachable { .. } | Published::NoAnswer => return,
            }
            own.iter().all(|url| said.contains_key(url))
        };
        shared.progress.send_if_modified(|p| std::mem::replace(&mut p.refused, all) != all);
    }
}
