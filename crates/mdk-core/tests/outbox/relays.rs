//! Members whose outbox is in use, and relays that answer as the test says.

use std::ops::{Deref, DerefMut};

use mdk_core::{
    CommitEnd, Delivery, EventBody, OutboxChange, OutboxItem, OutboxPurpose, RelayVerdict,
};
use mdk_wire::{Event, EventId, GroupId};

use crate::kit::disk::Disk;
use crate::kit::{Member, RELAY, event, relayed_by};

pub const ONE: &str = "wss://one.example";
pub const TWO: &str = "wss://two.example";

/// A change of delivery: message, new state, what relays said against it.
pub type Told = (EventId, Delivery, Vec<(String, String)>);

pub fn refused(reason: &str) -> RelayVerdict {
    RelayVerdict::Refused { reason: reason.to_owned() }
}

pub fn later(next_at: u64) -> RelayVerdict {
    RelayVerdict::Later { reason: "unreachable".to_owned(), next_at }
}

/// Whether all relays have answered, and what became of the message.
pub fn went(change: OutboxChange) -> (bool, Option<Delivery>) {
    (change.finished, change.delivery)
}

/// Whether all relays have answered, and what became of the commit.
pub fn ended(change: OutboxChange) -> (bool, Option<CommitEnd>) {
    (change.finished, change.commit)
}

pub fn relays(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| (*url).to_owned()).collect()
}

pub fn sending(name: &'static str) -> Member {
    let mut member = Member::new(name);
    member.engine.enable_outbox();
    member
}

/// Alice, whose outbox is in use and empty, and bob, in a group with two relays.
pub fn pair() -> (Member, Member, GroupId) {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let group = alice.founds("g", &mut [&mut bob]);
    alice.changes(&group, relayed_by(relays(&[ONE, TWO])), &mut [&mut bob]);
    alice.engine.enable_outbox();
    assert!(alice.outbox().is_empty());
    (alice, bob, group)
}

/// A member with a real database, which is closed and opened between calls.
pub struct OnDisk {
    pub disk: Disk,
    pub member: Member,
}

impl OnDisk {
    pub fn new(name: &'static str) -> Self {
        Self::of(Disk::new(name))
    }

    pub fn of(disk: Disk) -> Self {
        let mut member = disk.open();
        member.engine.enable_outbox();
        Self { disk, member }
    }

    /// The process ends between two calls, and another one begins.
    #[must_use]
    pub fn restarted(self) -> Self {
        drop(self.member);
        Self::of(self.disk)
    }
}

impl Deref for OnDisk {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.member
    }
}

impl DerefMut for OnDisk {
    fn deref_mut(&mut self) -> &mut Member {
        &mut self.member
    }
}

impl Member {
    pub fn outbox(&mut self) -> Vec<OutboxItem> {
        self.engine.outbox(1000).unwrap()
    }

    pub fn item(&mut self, wanted: impl Fn(&OutboxPurpose) -> bool) -> Option<OutboxItem> {
        self.outbox().into_iter().find(|item| wanted(&item.purpose))
    }

    pub fn commit_item(&mut self) -> OutboxItem {
        self.item(|p| matches!(p, OutboxPurpose::Commit { .. })).expect("a commit to publish")
    }

    /// A relay takes the commit that waits.
    pub fn commit_arrives(&mut self) {
        let item = self.commit_item();
        self.answers(&item, RELAY, RelayVerdict::Accepted);
    }

    /// Makes two commits, which the other hears of.
    pub fn goes_ahead_of(&mut self, other: &mut Member, group: &GroupId) {
        for _ in 0..2 {
            let update = self.updates(group, &mut []);
            other.takes(event(&update));
        }
    }

    pub fn welcomes(&mut self) -> Vec<OutboxItem> {
        let mut items = self.outbox();
        items.retain(|item| matches!(item.purpose, OutboxPurpose::Welcome { .. }));
        items
    }

    pub fn answers(
        &mut self,
        item: &OutboxItem,
        relay: &str,
        verdict: RelayVerdict,
    ) -> OutboxChange {
        self.engine.outbox_result(item.seq, relay, verdict).unwrap()
    }

    /// Every relay takes everything, and what follows from that. Gives what was published, in order.
    pub fn publishes(&mut self) -> Vec<Event> {
        let mut published = Vec::new();
        while let Some(item) = self.outbox().into_iter().next() {
            if item.relays.is_empty() {
                self.engine.set_outbox_relays(item.seq, &relays(&[ONE])).unwrap();
                continue;
            }
            for relay in &item.relays {
                let change = self.answers(&item, relay, RelayVerdict::Accepted);
                assert_ne!(change.commit, Some(CommitEnd::Lost), "{}", self.name);
            }
            published.push(parse(&item.event));
        }
        published
    }

    /// The changes of delivery in the log, in order.
    pub fn deliveries(&mut self) -> Vec<Told> {
        let events = self.engine.events(0, 10_000).unwrap();
        let changes = events.into_iter().filter_map(|event| match event.body {
            EventBody::DeliveryChanged { message_id, delivery, errors } => {
                Some((message_id, delivery, errors))
            }
            _ => None,
        });
        changes.collect()
    }

    /// How far the newest message of a group is.
    pub fn delivery(&mut self, group: &GroupId) -> Delivery {
        self.engine.messages(group, 1, None, None).unwrap().pop().unwrap().fate.delivery
    }
}

pub fn parse(json: &str) -> Event {
    Event::from_json(json.as_bytes()).unwrap()
}
