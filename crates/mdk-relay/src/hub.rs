//! Where all connections meet: the store, and who is to be told of what enters it.
//!
//! A request reads the store and becomes a subscription under one lock, and an event is saved and passed on under the
//! same: each subscription gets each event once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mdk_wire::budget::client::SUBSCRIPTIONS;
use mdk_wire::{Event, Timestamp};
use serde_json::json;

use crate::clock::now;
use crate::filters::Filter;
use crate::options::LocalRelayOptions;
use crate::signals::Signals;
use crate::store::{Saved, Store, Stored};
use crate::voice::Voice;

pub(crate) struct Hub {
    pub(crate) options: LocalRelayOptions,
    pub(crate) signals: Arc<Signals>,
    state: Mutex<State>,
}

struct State {
    store: Store,
    listeners: HashMap<u64, Listener>,
    next: u64,
}

struct Listener {
    voice: Voice,
    subscriptions: BTreeMap<Arc<str>, Vec<Filter>>,
}

impl Listener {
    /// False when it is too far behind.
    fn tell(&self, stored: &Arc<Stored>) -> bool {
        let mut asked = self
            .subscriptions
            .iter()
            .filter(|(_, filters)| filters.iter().any(|filter| filter.matches(&stored.event)));
        asked.all(|(subscription, _)| self.voice.tell(subscription, stored))
    }
}

impl Hub {
    pub(crate) fn new(options: LocalRelayOptions, signals: Arc<Signals>) -> Self {
        let store = Store::new(options.max_events);
        let state = State { store, listeners: HashMap::new(), next: 0 };
        Self { options, signals, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.store.forget_expired(now());
        state
    }

    /// A connection that may subscribe; it must [`leave`](Self::leave).
    pub(crate) fn join(&self, voice: Voice) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.listeners.insert(number, Listener { voice, subscriptions: BTreeMap::new() });
        number
    }

    pub(crate) fn leave(&self, number: u64) {
        self.lock().listeners.remove(&number);
    }

    /// Saves an event and passes it on. The author gets its answer first.
    pub(crate) fn publish(&self, event: Event, answer: impl FnOnce(Saved)) {
        let stored = Arc::new(Stored::new(event));
        let mut state = self.lock();
        let saved = state.store.save(&stored, now());
        answer(saved);
        if matches!(saved, Saved::New | Saved::Ephemeral) {
            state.listeners.retain(|_, listener| {
                let keeps_up = listener.tell(&stored);
                if !keeps_up {
                    listener.voice.end();
                }
                keeps_up
            });
        }
        drop(state);
        if saved == Saved::New {
            self.signals.change();
        }
    }

    /// Says what is stored and its end, and goes on with what comes. An error says why not.
    pub(crate) fn open(
        &self,
        number: u64,
        subscription: &str,
        filters: Vec<Filter>,
    ) -> Result<(), String> {
        let name: Arc<str> = json!(subscription).to_string().into();
        let mut state = self.lock();
        let State { store, listeners, .. } = &mut *state;
        let Some(listener) = listeners.get_mut(&number) else { return Ok(()) };
        let open = &mut listener.subscriptions;
        if open.len() >= SUBSCRIPTIONS && !open.contains_key(&name) {
            return Err(format!("rate-limited: more than {SUBSCRIPTIONS} subscriptions"));
        }
        for stored in store.query(&filters, |filter| self.page(filter)) {
            listener.voice.answer(&name, &stored);
        }
        listener.voice.say(&json!(["EOSE", subscription]));
        open.insert(name, filters);
        Ok(())
    }

    /// Most events that the filter gets.
    fn page(&self, filter: &Filter) -> usize {
        let ids = filter.ids.as_ref().map(std::collections::BTreeSet::len);
        self.options.page(filter.limit.or(ids))
    }

    pub(crate) fn close(&self, number: u64, subscription: &str) {
        let name = json!(subscription).to_string();
        if let Some(listener) = self.lock().listeners.get_mut(&number) {
            listener.subscriptions.remove(&*name);
        }
    }

    /// Number of stored events that match any of the filters.
    pub(crate) fn count_matching(&self, filters: &[Filter]) -> usize {
        self.lock().store.query(filters, |filter| filter.limit.unwrap_or(usize::MAX)).len()
    }

    /// Time and id of what matches, for a reconciliation.
    pub(crate) fn items(&self, filter: Filter) -> Vec<(Timestamp, [u8; 32])> {
        let limit = |filter: &Filter| filter.limit.unwrap_or(usize::MAX);
        let found = self.lock().store.query(&[filter], limit);
        found.iter().map(|s| (s.event.created_at(), *s.event.id().as_bytes())).collect()
    }

    pub(crate) fn wipe(&self) {
        self.lock().store.wipe();
        self.signals.change();
    }

    pub(crate) fn count(&self, kind: u16) -> usize {
        self.lock().store.count(kind)
    }

    pub(crate) fn log(&self, kind: u16) -> Vec<String> {
        self.lock().store.log(kind)
    }
}
