//! The bus: one queue from all to all, with what may go wrong on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use mdk_wire::EventId;

use super::client::Item;
use super::format::{Class, RelayOrder, Selector, Sync};
use super::world::{Failed, World};

#[derive(Default)]
pub struct Bus {
    pub queue: VecDeque<Rc<Item>>,
    withheld: BTreeMap<String, Rc<Item>>,
    partition: Option<BTreeSet<usize>>,
    /// What somebody has received.
    pub received: BTreeSet<EventId>,
    /// What left the queue, for clients that fetch later.
    history: Vec<Rc<Item>>,
    order: RelayOrder,
    copies: usize,
    hidden: BTreeSet<(EventId, usize)>,
}

impl Bus {
    pub fn find(&self, id: &EventId) -> Option<&Rc<Item>> {
        let mut all = self.queue.iter().chain(&self.history).chain(self.withheld.values());
        all.find(|i| i.event.id() == *id)
    }

    pub fn retract(&mut self, items: &[Rc<Item>]) {
        let gone = |i: &Rc<Item>| items.iter().any(|x| x.event.id() == i.event.id());
        self.queue.retain(|i| !gone(i));
        self.withheld.retain(|_, i| !gone(i));
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl World {
    fn matches(&self, selector: &Selector, item: &Item) -> Result<bool, Failed> {
        let sender = selector.sender.as_deref().map(|name| self.client(name)).transpose()?;
        Ok(sender.is_none_or(|s| s == item.sender)
            && selector.action_id.as_ref().is_none_or(|a| *a == item.action)
            && selector.publication.as_ref().is_none_or(|p| Some(p) == item.publication.as_ref())
            && selector.class.is_none_or(|class| match class {
                Class::GroupMessage => item.class != Class::Welcome,
                class => class == item.class,
            }))
    }

    /// Place in the queue of what a selector names.
    fn select(&self, selector: &Selector, taken: &[usize]) -> Result<usize, Failed> {
        if let Selector { action_id: None, publication: None, sender: None, class: None, .. } =
            selector
        {
            return Err(Failed::Runner("a selector that names nothing".into()));
        }
        let mut left = selector.occurrence.unwrap_or(0);
        for (place, item) in self.bus.queue.iter().enumerate() {
            if taken.contains(&place) && selector.occurrence.is_none() {
                continue;
            }
            if self.matches(selector, item)? {
                if left == 0 {
                    return Ok(place);
                }
                left -= 1;
            }
        }
        Err(Failed::Runner(format!("no queued message matches {selector:?}")))
    }

    pub fn deliver_all(&mut self) {
        while let Some(item) = self.bus.queue.pop_front() {
            self.bus.history.push(item.clone());
            let open = |bus: &Bus, c| bus.partition.as_ref().is_none_or(|p| p.contains(&c));
            for c in 0..self.clients.len() {
                if c == item.sender || !open(&self.bus, item.sender) || !open(&self.bus, c) {
                    continue;
                }
                if self.bus.hidden.contains(&(item.event.id(), c)) {
                    continue;
                }
                self.bus.received.insert(item.event.id());
                let client = &mut self.clients[c];
                if client.offline || !client.is_running() {
                    client.missed.push(item.clone());
                } else {
                    client.mailbox.push(item.clone());
                }
            }
        }
    }

    pub fn omit(&mut self, selector: &Selector) -> Result<(), Failed> {
        let place = self.select(selector, &[])?;
        self.bus.queue.remove(place);
        Ok(())
    }

    pub fn duplicate(&mut self, selector: &Selector) -> Result<(), Failed> {
        let place = self.select(selector, &[])?;
        let copy = self.bus.queue[place].clone();
        self.bus.queue.insert(place + 1, copy);
        Ok(())
    }

    pub fn withhold(&mut self, selector: &Selector, label: &str) -> Result<(), Failed> {
        let place = self.select(selector, &[])?;
        let item = self.bus.queue.remove(place).expect("it was selected");
        match self.bus.withheld.insert(label.to_owned(), item) {
            None => Ok(()),
            Some(_) => Err(Failed::Runner(format!("{label:?} is withheld already"))),
        }
    }

    pub fn release(&mut self, label: &str) -> Result<(), Failed> {
        let item = self.bus.withheld.remove(label);
        let item =
            item.ok_or_else(|| Failed::Runner(format!("nothing is withheld as {label:?}")))?;
        self.bus.queue.push_back(item);
        Ok(())
    }

    pub fn reorder(&mut self, order: &[Selector]) -> Result<(), Failed> {
        if order.len() != self.bus.queue.len() {
            let queued = self.bus.queue.len();
            let text = format!("{} messages are ordered, {queued} are queued", order.len());
            return Err(Failed::Runner(text));
        }
        let mut places = Vec::new();
        for selector in order {
            let place = self.select(selector, &places)?;
            if places.contains(&place) {
                return Err(Failed::Runner(format!("{selector:?} names a message twice")));
            }
            places.push(place);
        }
        self.bus.queue = places.into_iter().map(|p| self.bus.queue[p].clone()).collect();
        Ok(())
    }

    pub fn set_partition(&mut self, allow: Option<&[String]>) -> Result<(), Failed> {
        self.bus.partition = match allow {
            None => None,
            Some(names) => Some(names.iter().map(|n| self.client(n)).collect::<Result<_, _>>()?),
        };
        Ok(())
    }

    pub fn configure_relay(&mut self, order: RelayOrder, copies: usize) {
        self.bus.order = order;
        self.bus.copies = copies;
    }

    pub fn set_visible(
        &mut self,
        selector: &Selector,
        clients: &[String],
        visible: bool,
    ) -> Result<(), Failed> {
        let mut found: Vec<EventId> = Vec::new();
        for item in self.bus.history.iter().chain(&self.bus.queue) {
            if self.matches(selector, item)? {
                found.push(item.event.id());
            }
        }
        if let Some(occurrence) = selector.occurrence {
            found = found.get(occurrence).into_iter().copied().collect();
        }
        if found.is_empty() {
            return Err(Failed::Runner(format!("no message matches {selector:?}")));
        }
        for name in clients {
            let client = self.client(name)?;
            for id in &found {
                if visible {
                    self.bus.hidden.remove(&(*id, client));
                } else {
                    self.bus.hidden.insert((*id, client));
                }
            }
        }
        Ok(())
    }

    /// A client fetches what the relays have.
    pub fn sync(&mut self, client: usize, sync: &Sync) {
        let missed = std::mem::take(&mut self.clients[client].missed);
        let mut fetched: Vec<Rc<Item>> = match sync {
            Sync::Incremental => missed,
            Sync::Since { .. } | Sync::FullHistory | Sync::SetReconciliation => {
                self.bus.history.clone()
            }
        };
        fetched.retain(|item| {
            item.sender != client
                && !self.bus.hidden.contains(&(item.event.id(), client))
                && !matches!(sync, Sync::Since { timestamp } if item.event.created_at() < *timestamp)
        });
        if self.bus.order == RelayOrder::Reverse {
            fetched.reverse();
        }
        for item in fetched {
            for _ in 0..self.bus.copies.max(1) {
                self.bus.received.insert(item.event.id());
                self.clients[client].mailbox.push(item.clone());
            }
        }
    }
}
