//! The relays that are read, and what is under way: telling a relay's machine, and doing what it orders.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::catch_up::{Fetch, Said};
use crate::client::feed::Heard;
use crate::client::republish_lost::{self, Place};
use crate::client::shared::Shared;
use crate::client::times::{chance, now};
use crate::error::Result;
use crate::sync::by_time::Given;
use crate::sync::gate::{CatchUpGate, GateInput, Gift};
use crate::sync::line::Order;
use crate::sync::relay_sync::{Action, Input, JobId, Now, RelaySync};
use crate::sync::topics::Rules;
use crate::sync::wanted::Wanted;

/// One relay that is read: its machine, and the line that does what that orders.
pub(super) struct Reader {
    pub(super) sync: RelaySync,
    pub(super) serial: u32,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

pub(super) struct Turn {
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Arc<Rules>,
    pub(super) relays: HashMap<String, Reader>,
    pub(super) gate: CatchUpGate,
    pub(super) wanted: Wanted,
    /// Tells the machine of a relay from those that were before.
    pub(super) serial: u32,
    pub(super) lines: JoinSet<()>,
    /// Where lines say what comes of their orders.
    pub(super) said: mpsc::Sender<Said>,
    /// Histories that wait until the engine has a part of theirs.
    pub(super) parts: HashMap<JobId, oneshot::Sender<()>>,
    pub(super) feeding: JoinSet<Result<Vec<Given>>>,
    /// The events that go to the engine next, and whether one of them was held.
    pub(super) deliveries: Vec<Heard>,
    pub(super) held: bool,
    pub(super) amends: JoinSet<()>,
    /// Groups that a relay was asked for further back, to be noted.
    pub(super) searched: Vec<String>,
    /// It was settled at least once.
    pub(super) has_settled: bool,
    /// When it is to be seen whether a group stands still.
    pub(super) still_at: Option<Instant>,
    pub(super) waiting: Vec<oneshot::Sender<Result<u64>>>,
    /// Callers that wait until a relay was read for a routing id.
    pub(super) readers: Vec<(String, oneshot::Sender<()>)>,
    /// Relays whose cursor is not written down yet.
    pub(super) unsaved: BTreeSet<String>,
    pub(super) looked_at: Option<Instant>,
    pub(super) look: bool,
    /// Relays of groups that were away for too long, and until when others go before them.
    pub(super) failing: HashMap<String, Instant>,
    /// Relays for which there was no room.
    pub(super) crowded_out: BTreeSet<String>,
    /// A cursor could not be read: its relay is still to be opened.
    pub(super) unread: bool,
}

impl Turn {
    /// Tells a relay's machine, and does what that orders. What is to be delivered goes to the engine after the whole batch.
    pub(super) fn tell(&mut self, url: &str, input: Input) {
        let now = Now { at: Instant::now(), wall: now(), chance: chance() };
        let Some(reader) = self.relays.get_mut(url) else { return };
        let actions = reader.sync.on(input, now);
        for action in actions {
            self.act(url, action);
        }
    }

    fn act(&mut self, url: &str, action: Action) {
        let Some(reader) = self.relays.get(url) else { return };
        let order = match action {
            Action::Subscribe(opening) => Order::Subscribe(opening),
            Action::Unsubscribe(ids) => Order::Unsubscribe(ids),
            Action::Fetch { job, spans, never_ends, slow } => {
                let orders = reader.orders.clone();
                self.began(url, !slow);
                let _ = orders.send(Order::Fetch(Fetch { job, spans, never_ends, slow }));
                return;
            }
            Action::Give { job, events, last } => {
                let gift = Gift { relay: url.to_owned(), job, events, last };
                self.gate.on(GateInput::Give(gift), Instant::now());
                return;
            }
            Action::Deliver { events, held } => {
                let relay: Arc<str> = Arc::from(url);
                self.deliveries.extend(events.into_iter().map(|event| (relay.clone(), event)));
                self.held |= held;
                return;
            }
            Action::SaveCursor => {
                self.unsaved.insert(url.to_owned());
                return;
            }
            Action::CompleteAsOf(at) => {
                self.shared.links.note_complete(url, at);
                return;
            }
            Action::CheckPublished => {
                let place = match (reader.sync.scope().own, reader.sync.scope().inbox) {
                    (true, _) => Place::Own,
                    (false, true) => Place::Former,
                    (false, false) => Place::Group,
                };
                while self.amends.try_join_next().is_some() {}
                self.amends.spawn(republish_lost::make(self.shared.clone(), url.to_owned(), place));
                return;
            }
            Action::SearchedDeeper(topics) => {
                self.searched.extend(topics);
                return;
            }
        };
        // (its line ends with the client)
        let _ = reader.orders.send(order);
    }

    /// A history is being fetched: what is said of the running one begins anew if no other is.
    fn began(&mut self, url: &str, awaited: bool) {
        let others = |(name, reader): (&String, &Reader)| name != url && reader.sync.is_fetching();
        let alone = !self.relays.iter().any(others);
        self.gate.on(GateInput::Began { awaited, alone }, Instant::now());
        if awaited {
            self.shared.progress.send_if_modified(|p| std::mem::replace(&mut p.settled, false));
        }
        if alone {
            self.shared.counters.fetched.store(0, Ordering::Relaxed);
            self.shared.counters.processed.store(0, Ordering::Relaxed);
        }
    }
}
