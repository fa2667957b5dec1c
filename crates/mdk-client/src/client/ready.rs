//! Waiting for an account to be up to date, and for others to be able to invite it.

use std::time::Duration;

use super::Client;
use super::lock::lock;
use super::shared::{Progress, is_dialled_first};
use crate::error::Result;

impl Client {
    /// As [`Client::caught_up`], and until a KeyPackage is published. May wait for ever when there is no network, or no relay
    /// that takes one.
    ///
    /// # Errors
    /// [`ClientError::Closed`](crate::ClientError::Closed), [`ClientError::Internal`](crate::ClientError::Internal).
    pub async fn ready(&self) -> Result<()> {
        self.until(|now| now.own_history && now.settled && now.key_package).await
    }

    /// Waits until one of the account's relays is connected, and the history of every relay that is reached and answers within
    /// some seconds is fetched and settled. May wait for ever when there is no network.
    ///
    /// # Errors
    /// As [`Client::ready`].
    pub async fn caught_up(&self) -> Result<()> {
        self.until(|now| now.own_history && now.settled).await
    }

    /// Waits until others can invite the account, or each of its own relays has refused its KeyPackage for good: false then,
    /// and [`Client::refusals`] has their words. Another attempt is made later all the same.
    ///
    /// # Errors
    /// As [`Client::ready`].
    pub async fn reachable(&self) -> Result<bool> {
        let shared = &self.0.shared;
        let mut progress = shared.progress.subscribe();
        loop {
            if shared.stopped() {
                return Err(shared.end());
            }
            let now = *progress.borrow_and_update();
            if now.key_package || now.refused {
                return Ok(now.key_package);
            }
            tokio::select! {
                () = shared.until_stopped() => return Err(shared.end()),
                _ = progress.changed() => {}
            }
        }
    }

    /// What the account's own relays said last against its KeyPackage, those that refuse it for good: URLs and words.
    #[must_use]
    pub fn refusals(&self) -> Vec<(String, String)> {
        let said = lock(&self.0.shared.refusals);
        said.iter().map(|(relay, words)| (relay.clone(), words.clone())).collect()
    }

    async fn until(&self, is_there: impl Fn(&Progress) -> bool) -> Result<()> {
        /// How often relays that are being dialled are looked at.
        const LOOK_EVERY: Duration = Duration::from_millis(50);
        let shared = &self.0.shared;
        let mut progress = shared.progress.subscribe();
        loop {
            if shared.stopped() {
                return Err(shared.end());
            }
            let there = is_there(&progress.borrow_and_update());
            if there && !self.dialling() {
                return Ok(());
            }
            tokio::select! {
                () = shared.until_stopped() => return Err(shared.end()),
                _ = progress.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY), if there => {}
            }
        }
    }

    fn dialling(&self) -> bool {
        self.0.shared.pool.status().iter().any(|relay| is_dialled_first(&self.0.shared, relay))
    }
}
