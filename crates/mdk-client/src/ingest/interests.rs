//! Which relays are read, and what is listened to on each.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Flow, of};
use crate::client::cursor::{Cursor, Wanted};
use crate::client::shared::{Shared, lock};
use crate::client::topics::{Again, Relay, STORED, STORED_BEFORE, live_filters};
use crate::error::{ClientError, Result};
use crate::relay_pool::Origin;

/// Filters in one subscription.
const FILTERS: usize = 8;

impl Flow {
    /// Listens from the cursor on. False if the relay would not.
    pub(super) async fn subscribe(&mut self, url: &str) -> Result<bool> {
        let Some(relay) = self.relays.get_mut(url) else { return Ok(true) };
        let filters = live_filters(&self.shared, relay, STORED);
        if filters == relay.live {
            return Ok(true);
        }
        relay.live.clear();
        let (shared, before) = (self.shared.clone(), relay.subscriptions);
        let mut count = 0;
        for part in filters.chunks(FILTERS) {
            count += 1;
            let part = part.to_vec();
            relay.opening.begin(count, Instant::now() + shared.options.request_timeout);
            if let Err(error) = shared.pool.subscribe(url, &shared.me, count, part).await {
                tracing::debug!("not subscribed: {error}");
                let held = relay.opening.end(count);
                self.take_in(of(&Arc::from(url), held), true).await?;
                return Ok(false);
            }
        }
        relay.subscriptions = count;
        relay.live = filters;
        for id in count + 1..=before {
            shared.pool.unsubscribe(url, &shared.me, id).await;
        }
        Ok(true)
    }

    /// What is to be listened to on a new connection before anything is fetched, by the numbers of subscriptions.
    pub(super) fn listen_first(shared: &Shared, relay: &mut Relay) -> Vec<(u64, Vec<String>)> {
        if relay.subscriptions > 0 {
            return Vec::new();
        }
        relay.live = live_filters(shared, relay, STORED);
        let filters = live_filters(shared, relay, STORED_BEFORE);
        let listen: Vec<_> = (1..).zip(filters.chunks(FILTERS).map(<[_]>::to_vec)).collect();
        for (id, _) in &listen {
            relay.opening.begin(*id, Instant::now() + shared.options.request_timeout);
            relay.subscriptions = *id;
        }
        listen
    }

    /// Compares what the engine wants to hear of with what is listened to.
    pub(super) async fn look_around(&mut self) -> Result<()> {
        self.look = false;
        self.looked_at = Some(Instant::now());
        let mut wanted = match self.shared.engine(Wanted::of).await {
            Ok(wanted) => wanted,
            Err(ClientError::Engine(error)) => {
                tracing::warn!("the engine does not say what it wants: {error}");
                self.look = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        wanted.former = lock(&self.shared.former).relays().into_iter().collect();
        let first = self.relays.is_empty();
        if wanted == self.wanted && !first {
            return self.hold_named().await;
        }
        self.wanted = wanted;
        let own: BTreeSet<String> = self.shared.own_relays().into_iter().collect();
        let former = self.wanted.former.clone();
        let used: BTreeSet<String> =
            own.iter().cloned().chain(self.wanted.groups.keys().cloned()).collect();
        *lock(&self.shared.left) = former.difference(&used).cloned().collect();
        let urls: BTreeSet<String> = used.union(&former).cloned().collect();
        let gone: Vec<String> =
            self.relays.keys().filter(|url| !urls.contains(*url)).cloned().collect();
        for url in gone {
            let subscriptions = self.relays.remove(&url).map_or(0, |relay| relay.subscriptions);
            for id in 1..=subscriptions {
                self.shared.pool.unsubscribe(&url, &self.shared.me, id).await;
            }
            self.shared.links.release(&url).await;
        }
        for url in urls {
            let groups = self.wanted.groups.get(&url).cloned().unwrap_or_default();
            let own = own.contains(&url);
            let inbox = own || former.contains(&url);
            self.want(&url, Relay { own, inbox, groups, ..Relay::default() }).await?;
        }
        if std::mem::take(&mut self.unread) {
            // As if it had not been looked at.
            self.wanted = Wanted::default();
            self.look = true;
        }
        Ok(())
    }

    /// Opens what the user has named since somebody else did, which may not have been dialled then.
    async fn hold_named(&self) -> Result<()> {
        for url in self.relays.keys().filter(|url| self.shared.origin(url) == Origin::User) {
            self.hold(url, Origin::User).await?;
        }
        Ok(())
    }

    async fn hold(&self, url: &str, origin: Origin) -> Result<()> {
        match self.shared.links.hold(url, origin).await {
            Err(ClientError::Closed) => Err(ClientError::Closed),
            Err(error) => {
                tracing::info!("a relay is not used: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reads a relay from now on, or other things on it.
    async fn want(&mut self, url: &str, new: Relay) -> Result<()> {
        if let Some(relay) = self.relays.get_mut(url) {
            if relay.groups == new.groups && relay.inbox == new.inbox {
                return Ok(());
            }
            let fewer = !relay.groups.is_subset(&new.groups) || relay.inbox && !new.inbox;
            (relay.groups, relay.inbox) = (new.groups, new.inbox);
            let topics: BTreeSet<String> = relay.topics().collect();
            relay.cursor.topics.retain(|topic| topics.contains(topic));
            let news = topics.iter().any(|topic| !relay.cursor.topics.contains(topic));
            if news {
                relay.complete = false;
                self.catch_up(url, Again::New);
            } else if fewer && relay.connected && !relay.catching {
                self.subscribe(url).await?;
            }
            return Ok(());
        }
        let name = url.to_owned();
        let cursor = match self.shared.engine(move |engine| Cursor::load(engine, &name)).await {
            Err(ClientError::Engine(error)) => {
                tracing::warn!("a cursor cannot be read: {error}");
                self.unread = true;
                return Ok(());
            }
            cursor => cursor?,
        };
        let connected = self.shared.is_connected(url);
        let mut relay = Relay { cursor, connected, ..new };
        let topics: BTreeSet<String> = relay.topics().collect();
        relay.cursor.topics.retain(|topic| topics.contains(topic));
        self.relays.insert(url.to_owned(), relay);
        let origin = self.shared.origin(url);
        self.hold(url, origin).await?;
        if connected {
            // It was open for something else.
            self.catch_up(url, Again::All);
        }
        Ok(())
    }
}
