//! The connections of a pool, and the place of each in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, watch};

use super::accounts::Accounts;
use super::command::Command;
use super::meter::Meter;
use super::reconnect::Worker;
use super::registry::{Handle, Host, Place, Registry};
use super::session::Apart;
use super::trouble_log::Troubles;
use super::types::Status;
use super::{Account, Origin, RelayState, RelayStatus};
use crate::dial::Dialer;
use crate::options::PoolOptions;
use crate::relay_info::InfoCell;

/// The state that the clones of a pool share.
pub(super) struct Connections {
    pub(super) options: Arc<PoolOptions>,
    pub(super) dialer: Dialer,
    pub(super) closed: AtomicBool,
    /// Times that a task was started again after a panic.
    pub(super) panics: AtomicU64,
    /// How often something was told of a relay's troubles.
    pub(super) troubles: watch::Sender<u64>,
    pub(super) relays: Mutex<Registry>,
}

impl Connections {
    pub(super) fn relays(&self) -> MutexGuard<'_, Registry> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an account on a connection, and starts the connection if it is the first.
    pub(super) fn admit(
        this: &Arc<Self>,
        relays: &mut Registry,
        url: &url::Url,
        at: &(String, Origin),
        place: Place,
        account: &Account,
    ) {
        let open = relays.hosts.get(at).and_then(|host| host.connections.get(&place));
        let open = open.map(|handle| handle.commands.send(Command::Open(account.clone())));
        if !matches!(open, Some(Ok(()))) {
            // A task ends on its own only when the registry has forgotten it; this one died for good.
            if open.is_some() {
                relays.remove(at, place);
            }
            let host = relays.hosts.entry(at.clone()).or_insert_with(|| Host {
                info: Arc::new(InfoCell::new(this.dialer.clone(), url.clone(), at.1)),
                troubles: Arc::new(Troubles::new(url, at.1, this.troubles.clone())),
                unshared: false,
                connections: BTreeMap::new(),
            });
            let home = Home { pool: Arc::downgrade(this), url: url.clone(), at: at.clone(), place };
            let known = (host.info.clone(), host.troubles.clone());
            let handle = this.spawn(known, home, account);
            host.connections.insert(place, handle);
        }
        relays.join(at, place, account.public_key);
    }

    /// Starts the task of a connection with its first account.
    fn spawn(
        &self,
        (info, troubles): (Arc<InfoCell>, Arc<Troubles>),
        home: Home,
        account: &Account,
    ) -> Handle {
        let (commands, receiver) = mpsc::unbounded_channel();
        let status = Arc::new(Mutex::new(RelayStatus {
            url: home.at.0.clone(),
            state: RelayState::Connecting,
            latency: None,
            last_error: None,
            next_attempt: None,
            unanswered: 0,
            lost: 0,
            complete_as_of: None,
        }));
        let heard = Arc::new(AtomicU64::new(0));
        let mut accounts = Accounts::new(home.at.0.as_str().into());
        accounts.insert(account.clone());
        let worker = Worker {
            options: self.options.clone(),
            dialer: self.dialer.clone(),
            info: info.clone(),
            troubles: troubles.clone(),
            status: status.clone(),
            commands: receiver,
            accounts,
            failures: 0,
            challenges: false,
            lazy: false,
            heard: heard.clone(),
            since: None,
            meter: Meter::default(),
            home,
        };
        let task = tokio::spawn(worker.run());
        let (accounts, full) = (HashSet::new(), false);
        Handle { commands, status, info, troubles, task, accounts, heard, full }
    }
}

/// Which connection a task serves, and what it may ask of its pool.
pub(super) struct Home {
    pub(super) pool: Weak<Connections>,
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
        Connections::admit(&pool, &mut relays, &self.url, &self.at, place, account);
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
