//! Events of ours that came back from a relay.

use mdk_core::{RelayVerdict, SendState};

use super::state::Worker;
use crate::client::lock::lock;
use crate::error::{ClientError, Result};
use crate::relay_pool::normal_url;

impl Worker {
    /// What came back from a relay is there, whatever it answers, or does not.
    pub(super) async fn echoes(&mut self) -> Result<()> {
        let echoes = std::mem::take(&mut *lock(&self.shared.echoes));
        for (event, relay) in echoes {
            let to = relay.to_string();
            let same = move |url: &str| normal_url(url).is_ok_and(|url| *url == *relay);
            if let Some(item) = self.items.iter().find(|item| item.event_id == event)
                && let Some(result) = item.results.iter().find(|result| same(&result.relay))
            {
                if result.state != SendState::Accepted {
                    let (seq, relay) = (item.seq, result.relay.clone());
                    self.answer(seq, &relay, RelayVerdict::Accepted).await?;
                }
                continue;
            }
            // One that was given up, or of which so far no answer is waited for.
            let tell = move |engine: &mut mdk_core::Engine| engine.outbox_echo(&event, &to, same);
            match self.shared.engine(tell).await {
                Ok(change) => {
                    self.stale |= !change.finished;
                    self.follow(&change);
                }
                Err(ClientError::Engine(error)) => tracing::warn!("an echo is not kept: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
