//! The accounts of one connection and what waits for them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mdk_wire::budget::relay::{QUEUE_SHARE, QUEUED_BYTES};
use mdk_wire::{Keys, PublicKey};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::{Account, Arrived, Held};

/// What may wait between socket and sinks before the socket is not read any more. Large enough that answers and pings behind
/// a few events are seen while a sink is full.
const MAX_BACKLOG_BYTES: usize = 1024 * 1024;
const MAX_BACKLOG: usize = 256;
/// How long one full sink may hold up the other accounts of a connection.
const PATIENCE: Duration = Duration::from_secs(20);

type Permit = (PublicKey, u64, Option<(OwnedPermit<Arrived>, Held)>);

struct Slot {
    account: Account,
    /// Events of this connection that may wait in the sink: one that floods it leaves room for what others give.
    share: Arc<Semaphore>,
    /// The key that stands for its own at this relay; made when it is needed.
    mask: OnceLock<Keys>,
    /// Tells a reopened account from the one before.
    opened: u64,
    waiting: VecDeque<Arrived>,
    /// Since when the sink is full.
    full_since: Option<Instant>,
    /// Its backlog was dropped; it hears of a lost connection as soon as it listens again.
    dropped: bool,
}

/// Accounts of one connection.
pub(super) struct Accounts {
    relay: Arc<str>,
    slots: HashMap<PublicKey, Slot>,
    backlog: usize,
    backlog_bytes: usize,
    opened: u64,
    permits: FuturesUnordered<Pin<Box<dyn Future<Output = Permit> + Send>>>,
    /// Whether there is a connection.
    pub(super) connected: bool,
}

impl Accounts {
    pub(super) fn new(relay: Arc<str>) -> Self {
        Self {
            relay,
            slots: HashMap::new(),
            backlog: 0,
            backlog_bytes: 0,
            opened: 0,
            permits: FuturesUnordered::new(),
            connected: false,
        }
    }

    pub(super) fn relay(&self) -> Arc<str> {
        self.relay.clone()
    }

    pub(super) fn insert(&mut self, account: Account) {
        self.remove(&account.public_key);
        self.opened += 1;
        let slot = Slot {
            opened: self.opened,
            waiting: VecDeque::new(),
            full_since: None,
            dropped: false,
            share: Arc::new(Semaphore::new(QUEUE_SHARE)),
            mask: OnceLock::new(),
            account,
        };
        self.slots.insert(slot.account.public_key, slot);
    }

    /// As if every account had just come: what waits for them is dropped.
    pub(super) fn renew(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        *self = Self::new(self.relay());
        for slot in slots.into_values() {
            self.insert(slot.account);
        }
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        if let Some(mut slot) = self.slots.remove(key) {
            self.forget(slot.waiting.drain(..));
        }
    }

    pub(super) fn get(&self, key: &PublicKey) -> Option<&Account> {
        self.slots.get(key).map(|slot| &slot.account)
    }

    /// A key of the account for this relay alone, which is nowhere but in memory.
    pub(super) fn mask(&self, key: &PublicKey) -> Option<&Keys> {
        self.slots.get(key).map(|slot| slot.mask.get_or_init(Keys::generate))
    }

    /// Counts an event for the account that no honest relay sends.
    pub(super) fn lied_to(&self, key: &PublicKey) {
        if let Some(account) = self.get(key) {
            account.false_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn keys(&self) -> Vec<PublicKey> {
        self.slots.keys().copied().collect()
    }

    /// Removes the accounts that nobody listens for any more.
    pub(super) fn sweep(&mut self) {
        for key in self.keys() {
            if self.get(&key).is_some_and(|account| account.sink.is_closed()) {
                self.remove(&key);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether nobody else is on this connection.
    pub(super) fn is_alone(&self) -> bool {
        self.slots.len() < 2
    }

    /// Whether the socket must not be read now.
    pub(super) fn is_full(&self) -> bool {
        self.backlog >= MAX_BACKLOG || self.backlog_bytes >= MAX_BACKLOG_BYTES
    }

    fn forget(&mut self, items: impl Iterator<Item = Arrived>) {
        for item in items {
            self.backlog -= 1;
            self.backlog_bytes -= size(&item);
        }
    }

    /// Gives `item` to the account, or keeps it until there is room. Order is kept; nothing is dropped.
    pub(super) fn deliver(&mut self, key: &PublicKey, item: Arrived) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.dropped {
            return;
        }
        let mut item = item;
        if slot.waiting.is_empty() {
            match offer(slot, item) {
                Ok(()) => return,
                Err(TrySendError::Closed(_)) => return self.remove(key),
                Err(TrySendError::Full(back)) => item = back,
            }
            slot.full_since = Some(Instant::now());
            self.permits.push(permit(slot, &item));
        }
        // A connection that comes and goes behind a full sink is told once.
        if let (Arrived::Disconnected { .. }, Some(Arrived::Connected { .. })) =
            (&item, slot.waiting.back())
            && slot.waiting.len() > 1
            && matches!(slot.waiting[slot.waiting.len() - 2], Arrived::Disconnected { .. })
        {
            let last = slot.waiting.pop_back();
            return self.forget(last.into_iter());
        }
        self.backlog += 1;
        self.backlog_bytes += size(&item);
        slot.waiting.push_back(item);
    }

    /// Tells every account.
    pub(super) fn deliver_all(&mut self, item: &Arrived) {
        for key in self.keys() {
            self.deliver(&key, item.clone());
        }
    }

    /// Waits for room in a sink that was full; forever when none is.
    pub(super) async fn room(&mut self) -> Permit {
        match self.permits.next().await {
            Some(permit) => permit,
            None => std::future::pending().await,
        }
    }

    /// Uses room in a sink.
    pub(super) fn resume(&mut self, (key, opened, room): Permit) {
        let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.opened == opened) else {
            return;
        };
        let Some((room, held)) = room else { return self.remove(&key) };
        slot.full_since = None;
        if slot.dropped {
            slot.dropped = false;
            let reason = Some("the account did not keep up".to_owned());
            room.send(Arrived::Disconnected { relay: self.relay.clone(), reason });
            if self.connected {
                self.deliver(&key, Arrived::Connected { relay: self.relay.clone() });
            }
            return;
        }
        let Some(item) = slot.waiting.pop_front() else { return };
        self.backlog -= 1;
        self.backlog_bytes -= size(&item);
        room.send(with(item, held));
        while let Some(item) = slot.waiting.pop_front() {
            let bytes = size(&item);
            match offer(slot, item) {
                Ok(()) => {
                    self.backlog -= 1;
                    self.backlog_bytes -= bytes;
                }
                Err(TrySendError::Full(item)) => {
                    self.permits.push(permit(slot, &item));
                    slot.waiting.push_front(item);
                    slot.full_since = Some(Instant::now());
                    return;
                }
                Err(TrySendError::Closed(item)) => {
                    slot.waiting.push_front(item);
                    return self.remove(&key);
                }
            }
        }
    }

    /// When the patience with a full sink ends; `None` while nobody is held up by it.
    pub(super) fn patience(&self) -> Option<Instant> {
        if !self.is_full() || self.slots.len() < 2 {
            return None;
        }
        let waiting = self.slots.values().filter(|slot| !slot.dropped);
        waiting.filter_map(|slot| slot.full_since).min().map(|since| since + PATIENCE)
    }

    /// Drops the backlog of accounts that held the others up for too long. Their subscriptions must be ended; they are told of
    /// a lost connection and fetch again.
    pub(super) fn drop_late(&mut self, now: Instant) -> Vec<PublicKey> {
        if self.patience().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut late = Vec::new();
        for key in self.keys() {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.full_since.is_some_and(|since| since + PATIENCE <= now) && !slot.dropped {
                slot.dropped = true;
                let items = std::mem::take(&mut slot.waiting);
                self.forget(items.into_iter());
                late.push(key);
            }
        }
        late
    }
}

/// Puts `item` into the sink, if there is room for one more and for its bytes, and its connection has not had its share.
// (the error is the item, which stays with the caller)
#[allow(clippy::result_large_err)]
fn offer(slot: &Slot, item: Arrived) -> Result<(), TrySendError<Arrived>> {
    let account = &slot.account;
    let part = slot.share.clone().try_acquire_many_owned(events(&item)).ok();
    let room = account.room.0.clone().try_acquire_many_owned(weight(&item)).ok();
    let held = match part.zip(room) {
        Some((part, room)) => Held(Some([part, room])),
        None if account.sink.is_closed() => return Err(TrySendError::Closed(item)),
        None => return Err(TrySendError::Full(item)),
    };
    account.sink.try_send(with(item, held)).map_err(|error| match error {
        TrySendError::Full(item) => TrySendError::Full(with(item, Held::default())),
        closed @ TrySendError::Closed(_) => closed,
    })
}

/// Waits for room for `first`, which is the first one that waits.
fn permit(slot: &Slot, first: &Arrived) -> Pin<Box<dyn Future<Output = Permit> + Send>> {
    let (key, opened, account) = (slot.account.public_key, slot.opened, &slot.account);
    let (sink, room, share) = (account.sink.clone(), account.room.0.clone(), slot.share.clone());
    let (events, weight) = (events(first), weight(first));
    Box::pin(async move {
        let part = share.acquire_many_owned(events).await.ok();
        let room = room.acquire_many_owned(weight).await.ok();
        let sink = sink.reserve_owned().await.ok();
        let held = Held(part.zip(room).map(|(part, room)| [part, room]));
        (key, opened, sink.map(|sink| (sink, held)))
    })
}

fn with(mut item: Arrived, part: Held) -> Arrived {
    if let Arrived::Event { held, .. } = &mut item {
        *held = part;
    }
    item
}

fn events(item: &Arrived) -> u32 {
    u32::from(matches!(item, Arrived::Event { .. }))
}

/// The share of the room for bytes that an item takes: never more than there is.
fn weight(item: &Arrived) -> u32 {
    match item {
        Arrived::Event { event, .. } => {
            u32::try_from(event.weight().min(QUEUED_BYTES)).unwrap_or(u32::MAX)
        }
        _ => 0,
    }
}

fn size(item: &Arrived) -> usize {
    match item {
        Arrived::Event { event, .. } => event.weight(),
        _ => 64,
    }
}

#[cfg(test)]
mod tests;
