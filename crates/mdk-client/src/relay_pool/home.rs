//! A connection's place in its pool.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use super::command::Command;
use super::registry::Place;
use super::session::Apart;
use super::worker::Status;
use super::{Account, Inner, Origin};

/// Which connection a task serves, and what it may ask of its pool.
pub(super) struct Home {
    pub(super) pool: Weak<Inner>,
    pub(super) url: url::Url,
    pub(super) at: (String, Origin),
    pub(super) place: Place,
}

impl Home {
    /// Gives an account another connection, with the requests that are to be made there.
    pub(super) fn part(&self, account: &Account, why: Apart, requests: Vec<Command>) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut relays = pool.relays();
        let who = account.public_key;
        let here = Some((self.at.1, self.place));
        if pool.closed.load(Ordering::SeqCst) || relays.place_of(&self.at.0, &who) != here {
            return;
        }
        relays.leave(&self.at.0, &who);
        if let Some(host) = relays.hosts.get_mut(&self.at) {
            host.unshared |= why == Apart::Own;
            if let Some(handle) = host.connections.get_mut(&self.place) {
                handle.full |= why == Apart::Full;
            }
        }
        let place = relays.place_for(&self.at, &who);
        let most = pool.options.max_connections;
        if !relays.has(&self.at, place) && relays.room_for(&self.at, &self.url, most).is_err() {
            // The account opens it again, when there is room.
            return;
        }
        Inner::admit(&pool, &mut relays, &self.url, &self.at, place, account);
        if let Some(handle) = relays.find(&self.at.0, &who) {
            for request in requests {
                let _ = handle.commands.send(request);
            }
        }
    }

    /// Takes the connection out of the pool, unless there is something to do after all. Nothing can be opened in between.
    pub(super) fn retire(
        &self,
        commands: &mpsc::UnboundedReceiver<Command>,
        status: &Status,
    ) -> bool {
        let Some(pool) = self.pool.upgrade() else { return true };
        let mut relays = pool.relays();
        let handle = relays.hosts.get(&self.at).and_then(|host| host.connections.get(&self.place));
        if !handle.is_some_and(|handle| Arc::ptr_eq(&handle.status, status)) {
            return true;
        }
        if !commands.is_empty() {
            return false;
        }
        relays.remove(&self.at, self.place);
        true
    }
}
