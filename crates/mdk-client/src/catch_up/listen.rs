//! Opening live subscriptions.

use crate::client::shared::Shared;
use crate::error::ClientError;

/// Subscriptions to be opened, with their filters, and those in whose place they are.
pub(crate) struct Listen {
    pub(crate) new: Vec<(u64, Vec<String>)>,
    pub(crate) former: Vec<u64>,
    /// There is no room for both.
    pub(crate) crowded: bool,
}

/// Whether all that is published is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Listened {
    #[default]
    Well,
    /// From now on; some may have been missed since the former subscriptions ended.
    Late,
    /// The relay would not open a subscription.
    Deaf,
}

impl Listen {
    /// Opens the new ones beside the former, which are ended when the new ones have gone live: unless the relay does not allow
    /// so many.
    pub(crate) async fn begin(self, shared: &Shared, url: &str) -> Listened {
        let (mut former, mut listened) = (self.former, Listened::Well);
        if self.crowded {
            end(shared, url, &mut former).await;
        }
        for (id, filters) in self.new {
            let mut opened = shared.pool.subscribe(url, &shared.me, id, filters.clone()).await;
            if matches!(opened, Err(ClientError::Refused { .. })) && !former.is_empty() {
                end(shared, url, &mut former).await;
                listened = Listened::Late;
                opened = shared.pool.subscribe(url, &shared.me, id, filters).await;
            }
            if let Err(error) = opened {
                tracing::debug!("not subscribed: {error}");
                listened = Listened::Deaf;
            }
        }
        listened
    }
}

async fn end(shared: &Shared, url: &str, former: &mut Vec<u64>) {
    for id in former.drain(..) {
        shared.pool.unsubscribe(url, &shared.me, id).await;
    }
}
