//! What a relay has and does not give: told to the engine, which keeps it with the history of the group.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use mdk_core::Unpaged;
use mdk_wire::{Event, EventId, NostrGroupId};

use super::paging::Gap;
use crate::client::lock::lock;
use crate::client::shared::Shared;
use crate::error::Result;

/// Gaps that are told one by one for one work; the others are told as one.
const APART: usize = 64;

/// A routing id, if it is of a group, and the first and the last second.
type Place = (Option<[u8; 32]>, u64, u64);

/// The gaps in what one work fetches.
#[derive(Default)]
pub(super) struct Gaps {
    topics: Vec<NostrGroupId>,
    known: Mutex<HashSet<Place>>,
    untold: Mutex<Vec<Unpaged>>,
}

impl Gaps {
    pub(super) fn of(topics: &[String]) -> Self {
        let topics = topics.iter().filter_map(|topic| NostrGroupId::from_hex(topic).ok());
        Self { topics: topics.collect(), ..Self::default() }
    }

    /// Keeps one to be told. False for one that was there already.
    pub(super) fn add(&self, gap: &Gap) -> bool {
        // Those of which something is there have more of it; when nothing says which they are, it may be all.
        let mut groups: BTreeMap<Option<[u8; 32]>, Vec<EventId>> = BTreeMap::new();
        for event in &gap.events {
            let route = route(event).map(|route| *route.as_bytes());
            groups.entry(route).or_default().push(event.id());
        }
        if gap.events.is_empty() {
            groups.extend(self.topics.iter().map(|topic| (Some(*topic.as_bytes()), Vec::new())));
            groups.entry(None).or_default();
        }
        let mut new = false;
        for (route, events) in groups {
            if lock(&self.known).insert((route, gap.first, gap.last)) {
                new = true;
                if let Some(route) = route.map(NostrGroupId::from_bytes) {
                    self.keep(Unpaged { route, first: gap.first, last: gap.last, events });
                }
            }
        }
        new
    }

    fn keep(&self, gap: Unpaged) {
        let mut untold = lock(&self.untold);
        let alike = untold.iter().filter(|other| other.route == gap.route).count();
        match untold.iter_mut().rfind(|other| other.route == gap.route) {
            Some(other) if alike >= APART => {
                (other.first, other.last) = (other.first.min(gap.first), other.last.max(gap.last));
                // Told if there is something new in one of them.
                if other.events.is_empty() || gap.events.is_empty() {
                    other.events.clear();
                } else {
                    other.events.extend(gap.events);
                }
            }
            _ => untold.push(gap),
        }
    }

    /// Tells what was not told.
    pub(super) async fn tell(&self, shared: &Shared) -> Result<()> {
        let untold = std::mem::take(&mut *lock(&self.untold));
        if !untold.is_empty()
            && shared.engine(move |engine| engine.report_unpaged(&untold)).await? > 0
        {
            shared.bump();
        }
        Ok(())
    }
}

/// The group that an event is of.
fn route(event: &Event) -> Option<NostrGroupId> {
    let tag = event.tags().iter().find(|tag| tag[0] == "h")?;
    NostrGroupId::from_hex(tag.get(1)?).ok()
}
