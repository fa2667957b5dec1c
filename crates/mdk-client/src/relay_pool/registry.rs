//! Which accounts share which connection.
//!
//! Accounts share connections in groups, because relays bound the subscriptions of one connection and not always say so. An
//! account moves to another connection when its own is full, and to one of its own when the relay knows only one account per
//! connection (NIP-42).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use mdk_wire::PublicKey;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::command::Command;
use super::trouble_log::Troubles;
use super::types::Status;
use super::{Origin, RelayState, RelayStatus};
use crate::relay_info::InfoCell;

/// Accounts of one connection: what relays allow without a word (20 to 32 subscriptions), at three of an account.
const ACCOUNTS: usize = 10;
/// The same when the relay announces its limit, at most.
const MAX_ACCOUNTS: usize = 100;

/// One of the connections to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Of several accounts.
    Shared(u32),
    /// Of this one alone.
    Own(PublicKey),
}

/// The pool's end of a connection's task. The task ends when it is dropped.
pub(super) struct Handle {
    pub(super) commands: UnboundedSender<Command>,
    pub(super) status: Status,
    pub(super) info: Arc<InfoCell>,
    pub(super) troubles: Arc<Troubles>,
    pub(super) task: JoinHandle<()>,
    pub(super) accounts: HashSet<PublicKey>,
    /// Messages that came, whatever they were, answers to pings too.
    pub(super) heard: Arc<AtomicU64>,
    /// Whether an account had to leave for lack of room.
    pub(super) full: bool,
}

impl Handle {
    fn status(&self) -> RelayStatus {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (unanswered, lost) = self.troubles.counts();
        RelayStatus { unanswered, lost, ..status }
    }
}

/// The more useful a connection is, the lower.
fn rank(status: &RelayStatus) -> u8 {
    match status.state {
        RelayState::Connected => 0,
        RelayState::Connecting => 1,
        RelayState::BackingOff => 2,
        RelayState::Banned => 3,
        RelayState::Closed => 4,
    }
}

/// A relay, by URL and who named it.
pub(super) struct Host {
    pub(super) info: Arc<InfoCell>,
    pub(super) troubles: Arc<Troubles>,
    /// Whether it knows only one account per connection.
    pub(super) unshared: bool,
    pub(super) connections: BTreeMap<Place, Handle>,
}

/// Every connection of the pool.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) hosts: HashMap<(String, Origin), Host>,
    /// Where an account has a URL open.
    places: HashMap<(String, PublicKey), (Origin, Place)>,
}

impl Registry {
    /// Where the account has the relay open.
    pub(super) fn place_of(&self, url: &str, who: &PublicKey) -> Option<(Origin, Place)> {
        self.places.get(&(url.to_owned(), *who)).copied()
    }

    /// The connection that serves the account.
    pub(super) fn find(&self, url: &str, who: &PublicKey) -> Option<&Handle> {
        let (origin, place) = self.place_of(url, who)?;
        self.hosts.get(&(url.to_owned(), origin))?.connections.get(&place)
    }

    /// Whether there is this connection.
    pub(super) fn has(&self, at: &(String, Origin), place: Place) -> bool {
        self.hosts.get(at).is_some_and(|host| host.connections.contains_key(&place))
    }

    /// Whichever document of the relay there is.
    pub(super) fn info(&self, url: &str) -> Option<Arc<InfoCell>> {
        let of = |origin| self.hosts.get(&(url.to_owned(), origin)).map(|host| host.info.clone());
        of(Origin::User).or_else(|| of(Origin::Peer))
    }

    /// The first connection with room for another account.
    pub(super) fn place_for(&self, at: &(String, Origin), who: &PublicKey) -> Place {
        let Some(host) = self.hosts.get(at) else { return Place::Shared(0) };
        if host.unshared {
            return Place::Own(*who);
        }
        let announced = host.info.known().and_then(|info| info.max_subscriptions);
        let most = announced.map_or(ACCOUNTS, |most| {
            usize::try_from(most / 3).unwrap_or(MAX_ACCOUNTS).clamp(1, MAX_ACCOUNTS)
        });
        let mut number = 0;
        while let Some(handle) = host.connections.get(&Place::Shared(number))
            && (handle.full || handle.accounts.len() >= most)
        {
            number += 1;
        }
        Place::Shared(number)
    }

    /// Puts the account on a connection that is open.
    pub(super) fn join(&mut self, at: &(String, Origin), place: Place, who: PublicKey) {
        let host = self.hosts.get_mut(at);
        if let Some(handle) = host.and_then(|host| host.connections.get_mut(&place)) {
            handle.accounts.insert(who);
            self.places.insert((at.0.clone(), who), (at.1, place));
        }
    }

    /// Takes the account off its connection; the connection ends with its last one.
    pub(super) fn leave(&mut self, url: &str, who: &PublicKey) -> Option<(Origin, Place)> {
        let (origin, place) = self.places.remove(&(url.to_owned(), *who))?;
        let at = (url.to_owned(), origin);
        let handle = self.hosts.get_mut(&at)?.connections.get_mut(&place)?;
        handle.accounts.remove(who);
        handle.full = false;
        let _ = handle.commands.send(Command::Release(*who));
        if handle.accounts.is_empty() {
            self.remove(&at, place);
        }
        Some((origin, place))
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, at: &(String, Origin), place: Place) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        if let Some(handle) = host.connections.remove(&place) {
            for who in handle.accounts {
                self.places.remove(&(at.0.clone(), who));
            }
        }
        if host.connections.is_empty() {
            self.hosts.remove(at);
        }
    }

    /// Every connection.
    pub(super) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.hosts.values().flat_map(|host| host.connections.values())
    }

    /// Every URL as its best connection stands.
    pub(super) fn status(&self) -> Vec<RelayStatus> {
        let mut best: BTreeMap<String, RelayStatus> = BTreeMap::new();
        for handle in self.handles() {
            let status = handle.status();
            match best.get_mut(&status.url) {
                Some(known) if rank(known) <= rank(&status) => {}
                Some(known) => *known = status,
                None => {
                    best.insert(status.url.clone(), status);
                }
            }
        }
        best.into_values().collect()
    }

    /// The relays of one account, as its connections stand, by URL.
    pub(super) fn status_of(&self, who: &PublicKey) -> Vec<RelayStatus> {
        let serve = self.handles().filter(|handle| handle.accounts.contains(who));
        let mut statuses: Vec<_> = serve.map(Handle::status).collect();
        statuses.sort_by(|a, b| a.url.cmp(&b.url));
        statuses
    }

    /// Ends all of them.
    pub(super) fn drain(&mut self) -> Vec<JoinHandle<()>> {
        self.places.clear();
        let hosts = std::mem::take(&mut self.hosts).into_values();
        hosts.flat_map(|host| host.connections.into_values()).map(|handle| handle.task).collect()
    }
}
