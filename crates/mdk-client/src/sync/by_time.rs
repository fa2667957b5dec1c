//! Histories that relays give go to the engine by time.

use std::collections::HashSet;
use std::sync::Arc;

use mdk_wire::Event;

use super::gate::Gift;
use super::relay_sync::JobId;
use crate::client::feed::{Heard, IngestReport};
use crate::client::shared::{Shared, add};
use crate::client::times::now;
use crate::error::Result;

/// The outcome of a gift.
pub(crate) struct Given {
    pub(crate) relay: String,
    pub(crate) job: JobId,
    pub(crate) last: bool,
    pub(crate) report: IngestReport,
}

/// Gives to the engine what relays have given, by time.
pub(crate) async fn feed(shared: Arc<Shared>, gifts: Vec<Gift>) -> Result<Vec<Given>> {
    let mut given = Vec::new();
    let mut relays = Vec::new();
    for gift in gifts {
        let newest = gift.events.iter().map(Event::created_at).max();
        given.push((gift.relay.clone(), gift.job, gift.last, newest.unwrap_or(0).min(now())));
        relays.push((Arc::<str>::from(gift.relay), gift.events));
    }
    let mut fed = feed_all(&shared, by_time(relays)).await?;
    let report = |(relay, job, last, newest): (String, JobId, bool, u64)| {
        let report = IngestReport { newest: fed.newest.min(newest), ..fed.clone() };
        // New events are counted once.
        fed.new = 0;
        Given { relay, job, last, report }
    };
    Ok(given.into_iter().map(report).collect())
}

async fn feed_all(shared: &Arc<Shared>, mut events: Vec<Heard>) -> Result<IngestReport> {
    let mut fed = IngestReport::default();
    while !events.is_empty() {
        let rest = events.split_off(batch_end(&events, shared.options.batch));
        let count = events.len() as u64;
        fed.join(&shared.feed(events).await?);
        events = rest;
        add(&shared.counters.processed, count);
    }
    Ok(fed)
}

/// The events of all, by time; of one time those of one relay in its order. What another relay has as well comes at the
/// end once more: it is known by then, and costs nothing, unless it waits and counts for the one with less noise.
pub(super) fn by_time(relays: Vec<(Arc<str>, Vec<Event>)>) -> Vec<Heard> {
    let (mut first, mut again, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let several = relays.len() > 1;
    for (relay, events) in relays {
        for event in events {
            let known = several && !seen.insert(event.id());
            if known { &mut again } else { &mut first }.push((relay.clone(), event));
        }
    }
    first.sort_by_key(|(_, event)| event.created_at());
    first.append(&mut again);
    first
}

/// Where the next batch of `events`, which are sorted by time, is to end: a second is not torn apart, because the engine
/// knows the order within one only of what it has together. One that is very full is, all the same.
fn batch_end(events: &[Heard], batch: usize) -> usize {
    const MOST_BATCHES: usize = 8;
    let batch = batch.max(1);
    if events.len() <= batch {
        return events.len();
    }
    let time = events[batch - 1].1.created_at();
    let more = events[batch..].iter().take(batch * (MOST_BATCHES - 1));
    batch + more.take_while(|(_, event)| event.created_at() == time).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::event;

    #[test]
    fn what_two_relays_have_is_in_the_order_of_time_and_first_of_all_once() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let of_a = vec![event(1, 1), event(3, 3), event(5, 5)];
        let of_b = vec![event(1, 1), event(2, 2), event(4, 4), event(5, 5)];
        let all = by_time(vec![(a, of_a), (b, of_b)]);
        let all: Vec<_> = all.iter().map(|(relay, event)| (&**relay, event.created_at())).collect();
        let once = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)];
        assert_eq!(all, [&once[..], &[("b", 1), ("b", 5)]].concat());
    }

    #[test]
    fn a_second_is_not_torn_apart() {
        let relay: Arc<str> = Arc::from("a");
        let heard = |times: &[u64]| -> Vec<Heard> {
            times.iter().map(|time| (relay.clone(), event(*time, *time))).collect()
        };
        assert_eq!(batch_end(&heard(&[1, 2, 2, 2, 3]), 2), 4);
        assert_eq!(batch_end(&heard(&[1, 2, 3]), 2), 2);
        assert_eq!(batch_end(&heard(&[1]), 2), 1);
        assert_eq!(batch_end(&heard(&[7; 40]), 2), 16);
    }
}
