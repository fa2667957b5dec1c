//! Relays: each takes an event or does not, and passes it on late, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use mdk_wire::EventId;

use super::plan::{draw, happens};

/// An event that a relay has.
#[derive(Debug, Clone)]
pub struct Sent {
    pub json: String,
    pub id: EventId,
}

#[derive(Default)]
pub struct Net {
    pub log: Vec<Sent>,
    known: BTreeMap<EventId, usize>,
    /// What is on its way to a member: when, and which.
    inbox: Vec<Vec<(u64, usize)>>,
    /// What has not reached a member at all.
    missing: Vec<BTreeSet<usize>>,
    /// What a member could not hand to any relay.
    outbox: Vec<Vec<(String, EventId)>>,
    pub cut: BTreeSet<usize>,
    relays: u64,
    /// Whether a member is given what it has published itself.
    echo: bool,
}

impl Net {
    pub fn new(members: usize, relays: usize, echo: bool) -> Self {
        Self {
            inbox: vec![Vec::new(); members],
            missing: vec![BTreeSet::new(); members],
            outbox: vec![Vec::new(); members],
            relays: relays as u64,
            echo,
            ..Self::default()
        }
    }

    /// Publishes; gives when the first relay says so, `None` without a connection.
    pub fn publish(
        &mut self,
        from: usize,
        json: String,
        id: EventId,
        now: u64,
        salt: u64,
    ) -> Option<u64> {
        if self.cut.contains(&from) {
            self.outbox[from].push((json, id));
            return None;
        }
        let first = now + 20 + draw(&[salt, 90]) % 300;
        if self.known.contains_key(&id) {
            return Some(first);
        }
        let place = self.log.len();
        self.log.push(Sent { json, id });
        self.known.insert(id, place);
        for to in (0..self.inbox.len()).filter(|to| self.echo || *to != from) {
            self.missing[to].insert(place);
            for relay in 0..self.relays {
                let words = [salt, relay, to as u64, place as u64];
                let word = |n| draw(&[words[0], words[1], words[2], words[3], n]);
                // A relay that refuses it, a subscription that drops it.
                let lost = happens(15, &[salt, relay, 91]) && relay > 0 || word(1) % 100 < 8;
                if lost {
                    continue;
                }
                let delay = match word(2) % 10 {
                    0..=5 => 20 + word(3) % 300,
                    6..=8 => 200 + word(3) % 2_000,
                    _ if word(4) % 4 > 0 => 1_000 + word(3) % 3_000,
                    _ => 2_000 + word(3) % 15_000,
                };
                self.inbox[to].push((now + delay, place));
            }
        }
        Some(first)
    }

    /// What a member could not publish while it was cut off.
    pub fn heal(&mut self, who: usize) -> Vec<(String, EventId)> {
        self.cut.remove(&who);
        std::mem::take(&mut self.outbox[who])
    }

    /// What has come, in the order in which it came.
    pub fn due(&mut self, who: usize, now: u64) -> Vec<usize> {
        if self.cut.contains(&who) {
            return Vec::new();
        }
        let mut due: Vec<(u64, usize)> =
            self.inbox[who].iter().filter(|(at, _)| *at <= now).copied().collect();
        self.inbox[who].retain(|(at, _)| *at > now);
        due.sort_unstable();
        for (_, place) in &due {
            self.missing[who].remove(place);
        }
        due.into_iter().map(|(_, place)| place).collect()
    }

    /// Everything that has not come; the relays give it in any order.
    pub fn resync(&mut self, who: usize, salt: u64) -> Vec<usize> {
        if self.cut.contains(&who) {
            return Vec::new();
        }
        let mut all: Vec<usize> = std::mem::take(&mut self.missing[who]).into_iter().collect();
        match salt % 3 {
            0 => {}
            1 => all.reverse(),
            _ => all.sort_by_key(|place| draw(&[salt, *place as u64])),
        }
        all
    }

    /// It came to nothing, and has to come again.
    pub fn misses(&mut self, who: usize, place: usize) {
        self.missing[who].insert(place);
    }

    pub fn is_missing(&self, who: usize) -> bool {
        !self.missing[who].is_empty()
    }
}
