//! Which relays are read, and what is listened to on each.
//!
//! An interest is what the engine wants to hear of: a filter, the account's gift wraps or one group's events, with the
//! relays where it applies. `mdk-core` makes the list (`operations/subscriptions.rs`, `Engine::interests`),
//! `sync/wanted.rs` turns it into topics by relay, and the turn of an account opens and releases relays by that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mdk_wire::budget::relay::ROTATED_FOR;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::state::{Reader, Turn};
use crate::catch_up::Outlet;
use crate::client::lock::lock;
use crate::error::{ClientError, Result};
use crate::relay_pool::Origin;
use crate::sync::cursor::Cursor;
use crate::sync::line;
use crate::sync::relay_sync::{Input, RelaySync};
use crate::sync::topics::Scope;
use crate::sync::wanted::Wanted;

impl Turn {
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
        let lost = self.relays.iter().filter(|(_, reader)| reader.sync.is_lost(now));
        for url in lost.map(|(url, _)| url) {
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
            self.tell(&url, Input::Scope(Scope::default()));
            // (its line does what is ordered already, and ends)
            self.relays.remove(&url);
            self.shared.links.release(&url).await;
        }
        for url in urls {
            let groups = self.wanted.groups.get(&url).cloned().unwrap_or_default();
            let own = own.contains(&url);
            let inbox = own || former.contains(&url);
            let since = |id: &String| self.wanted.since.get(id).copied().unwrap_or(0);
            let groups = groups.into_iter().map(|id| (id.clone(), since(&id))).collect();
            self.want(&url, Scope { own, inbox, groups }).await?;
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
        let lost = |(url, reader): (&String, &Reader)| {
            reader.sync.is_lost(now) && !self.failing.contains_key(url)
        };
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
    async fn want(&mut self, url: &str, scope: Scope) -> Result<()> {
        if self.relays.contains_key(url) {
            self.tell(url, Input::Scope(scope));
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
        self.serial += 1;
        let (rules, now) = (self.rules.clone(), Instant::now());
        let sync = RelaySync::new(rules, self.serial, scope.clone(), cursor, now);
        let (orders, given) = mpsc::unbounded_channel();
        let relay = Arc::from(url);
        let outlet = Outlet { relay, serial: self.serial, to: self.said.clone() };
        self.lines.spawn(line::run(self.shared.clone(), given, outlet));
        self.relays.insert(url.to_owned(), Reader { sync, serial: self.serial, orders });
        // (some of what it was read for may not be wanted any more)
        self.tell(url, Input::Scope(scope));
        let origin = self.shared.origin(url);
        self.hold(url, origin).await?;
        if connected {
            // It was open for something else.
            self.tell(url, Input::Connected);
        }
        Ok(())
    }
}
