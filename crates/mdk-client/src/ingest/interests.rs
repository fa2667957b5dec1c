//! Which relays are read, and what is listened to on each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_wire::budget::relay::ROTATED_FOR;
use tokio::time::Instant;

use super::{Flow, of};
use crate::catch_up::{Listen, Listened};
use crate::client::cursor::{Cursor, Wanted};
use crate::client::shared::lock;
use crate::client::topics::{Again, Relay, live_filters};
use crate::error::{ClientError, Result};
use crate::relay_pool::Origin;

/// Filters in one subscription.
const FILTERS: usize = 8;

impl Flow {
    /// Listens to what is wanted by now. False if the relay would not, or something may have been missed. `behind`: what
    /// comes of it waits for a history that is still to come.
    pub(super) async fn subscribe(&mut self, url: &str, behind: bool) -> Result<bool> {
        let Some(listen) = self.listen(url) else { return Ok(true) };
        if let Some(relay) = self.relays.get_mut(url).filter(|relay| behind && relay.keeps_gate()) {
            relay.opening.shut();
        }
        let listened = listen.begin(&self.shared, url).await;
        self.listened(url, listened).await?;
        Ok(listened == Listened::Well)
    }

    /// The subscriptions to be opened in place of those that there are, when other things are wanted.
    pub(super) fn listen(&mut self, url: &str) -> Option<Listen> {
        let relay = self.relays.get_mut(url)?;
        let filters = live_filters(&self.shared, relay);
        if filters == relay.live {
            return None;
        }
        relay.former.append(&mut relay.listening);
        let crowded = std::mem::take(&mut relay.crowded);
        let until = Instant::now() + self.shared.options.request_timeout;
        let mut new = Vec::new();
        for part in filters.chunks(FILTERS) {
            self.subscriptions += 1;
            relay.opening.begin(self.subscriptions, until);
            relay.listening.push(self.subscriptions);
            new.push((self.subscriptions, part.to_vec()));
        }
        relay.live = filters;
        Some(Listen { new, former: relay.former.clone(), crowded })
    }

    /// What follows when it was tried to open subscriptions.
    pub(super) async fn listened(&mut self, url: &str, listened: Listened) -> Result<()> {
        let Some(relay) = self.relays.get_mut(url) else { return Ok(()) };
        if listened == Listened::Well {
            // (when there is nothing to wait for)
            self.end_former(url).await;
            return Ok(());
        }
        (relay.complete, relay.whole) = (false, false);
        let held = match listened {
            Listened::Deaf => relay.listen_anew(),
            _ => {
                relay.opening.unheard = true;
                Vec::new()
            }
        };
        self.take_in(of(&Arc::from(url), held), true).await
    }

    /// Ends the subscriptions from before, once those in their place have gone live.
    pub(super) async fn end_former(&mut self, url: &str) {
        let live = |relay: &&mut Relay| !relay.opening.is_open() && !relay.live.is_empty();
        let Some(relay) = self.relays.get_mut(url).filter(live) else { return };
        for id in std::mem::take(&mut relay.former) {
            self.shared.pool.unsubscribe(url, &self.shared.me, id).await;
        }
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
        let now = Instant::now();
        self.failing.retain(|_, until| *until > now);
        for url in self.relays.iter().filter(|(_, relay)| relay.is_lost(now)).map(|(url, _)| url) {
            self.failing.entry(url.clone()).or_insert(now + ROTATED_FOR);
        }
        let owned = |url: &String| self.shared.origin(url) == Origin::User;
        wanted.narrow(owned, |url| self.failing.contains_key(url));
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
            let relay = self.relays.remove(&url).unwrap_or_default();
            for id in relay.listening.into_iter().chain(relay.former) {
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
        self.keep_cursors().await?;
        if std::mem::take(&mut self.unread) {
            // As if it had not been looked at.
            self.wanted = Wanted::default();
            self.look = true;
        }
        Ok(())
    }

    /// Opens what the user has named since somebody else did, which may not have been dialled then.
    async fn hold_named(&mut self) -> Result<()> {
        let named = |url: &&String| self.shared.origin(url) == Origin::User;
        let named: Vec<String> = self.relays.keys().filter(named).cloned().collect();
        for url in named {
            self.hold(&url, Origin::User).await?;
        }
        Ok(())
    }

    async fn hold(&mut self, url: &str, origin: Origin) -> Result<()> {
        let held = self.shared.links.hold(url, origin).await;
        if !matches!(held, Err(ClientError::NoRoom(_))) {
            self.crowded_out.remove(url);
        }
        let result = match held {
            Err(ClientError::Closed) => Err(ClientError::Closed),
            Err(error @ ClientError::NoRoom(_)) => {
                if self.crowded_out.insert(url.to_owned()) {
                    tracing::warn!("a relay is not used: {error}");
                }
                Ok(())
            }
            Err(error) => {
                tracing::info!("a relay is not used: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        };
        self.shared.counters.without_room.store(self.crowded_out.len() as u64, Ordering::Relaxed);
        result
    }

    /// Whether a relay has been away for so long that another one is to be read in its place.
    pub(super) fn must_rotate(&self) -> bool {
        let now = Instant::now();
        let lost =
            |(url, relay): (&String, &Relay)| relay.is_lost(now) && !self.failing.contains_key(url);
        self.relays.iter().any(lost)
    }

    /// Tries once more to open what there was no room for.
    pub(super) async fn hold_crowded_out(&mut self) -> Result<()> {
        for url in self.crowded_out.clone() {
            match self.relays.contains_key(&url) {
                true => self.hold(&url, self.shared.origin(&url)).await?,
                false => drop(self.crowded_out.remove(&url)),
            }
        }
        Ok(())
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
            relay.keep_topics(&topics);
            let news = topics.iter().any(|topic| !relay.cursor.topics.contains(topic));
            if news {
                relay.complete = false;
                self.catch_up(url, Again::New);
            } else if fewer
                && relay.connected
                && !relay.catching
                && !self.subscribe(url, false).await?
            {
                self.catch_up(url, Again::All);
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
        let away_since = (!connected).then(Instant::now);
        let mut relay = Relay { cursor, connected, away_since, ..new };
        let topics: BTreeSet<String> = relay.topics().collect();
        relay.keep_topics(&topics);
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
