//! What several relays have of one time goes to the engine together: a message that only one of them has is read before
//! the commits that all of them have lead away from its epoch (protocol/waiting.md F1-1 and F1-3).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mdk_wire::Event;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{MOST_BYTES, MOST_EVENTS};
use crate::client::feed::{Fed, Heard};
use crate::client::shared::{Shared, add, lock, now};
use crate::error::{ClientError, Result};

/// What a relay has given, oldest first, and who waits until the engine has it.
pub(crate) struct Gathered {
    pub(crate) relay: String,
    pub(crate) at: Instant,
    events: Vec<Event>,
    done: oneshot::Sender<Result<Fed>>,
}

/// Keeps what one relay gives until all of it is there, or as much as memory is for.
pub(super) struct Gatherer {
    relay: String,
    to: mpsc::Sender<Gathered>,
    /// The others do not wait for this relay, nor is what it has given to wait for the rest of it.
    slow: Arc<AtomicBool>,
    events: Mutex<Vec<Event>>,
    /// What came of what was given; `None` when the engine did not get it.
    fed: Mutex<Option<Fed>>,
}

impl Gatherer {
    pub(super) fn new(relay: &str, to: mpsc::Sender<Gathered>, slow: Arc<AtomicBool>) -> Self {
        Self {
            relay: relay.to_owned(),
            to,
            slow,
            events: Mutex::default(),
            fed: Mutex::new(Some(Fed::default())),
        }
    }

    /// Takes a part of the history. Given on only when it becomes too much, or nobody waits for the relay.
    pub(super) async fn take(&self, events: Vec<Event>) -> Result<Fed> {
        let full = {
            let mut all = lock(&self.events);
            all.extend(events);
            all.len() >= MOST_EVENTS || all.iter().map(Event::weight).sum::<usize>() >= MOST_BYTES
        };
        if full || self.slow.load(Ordering::Relaxed) {
            self.give().await?;
        }
        Ok(Fed::default())
    }

    /// Waits until the engine has what was taken.
    pub(super) async fn give(&self) -> Result<()> {
        let events = std::mem::take(&mut *lock(&self.events));
        if events.is_empty() {
            return Ok(());
        }
        let (done, fed) = oneshot::channel();
        let given = Gathered { relay: self.relay.clone(), at: Instant::now(), events, done };
        let fed = match self.to.send(given).await {
            Ok(()) => fed.await.unwrap_or(Err(ClientError::Closed)),
            Err(_) => Err(ClientError::Closed),
        };
        let mut all = lock(&self.fed);
        match (all.as_mut(), fed) {
            (Some(all), Ok(fed)) => all.join(&fed),
            (None, Ok(_)) => {}
            (_, Err(error)) => {
                *all = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives the rest. What came of all of it.
    pub(super) async fn end(&self) -> Result<Fed> {
        self.give().await?;
        lock(&self.fed).clone().ok_or(ClientError::Closed)
    }
}

/// Gives to the engine what relays have given, by time.
pub(crate) async fn pour(shared: Arc<Shared>, gathered: Vec<Gathered>) {
    let mut waiting = Vec::new();
    let mut relays = Vec::new();
    for one in gathered {
        let newest = one.events.iter().map(Event::created_at).max();
        waiting.push((one.done, newest.unwrap_or(0).min(now())));
        relays.push((Arc::<str>::from(one.relay), one.events));
    }
    let mut fed = feed(&shared, by_time(relays)).await;
    for (done, newest) in waiting {
        let own = fed.as_ref().map(|fed| Fed { newest: fed.newest.min(newest), ..fed.clone() });
        // Whoever waited may have been stopped.
        let _ = done.send(own.map_err(|_| ClientError::Closed));
        // What was new is counted once.
        if let Ok(fed) = &mut fed {
            fed.new = 0;
        }
    }
}

async fn feed(shared: &Arc<Shared>, mut events: Vec<Heard>) -> Result<Fed> {
    let mut fed = Fed::default();
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
fn by_time(relays: Vec<(Arc<str>, Vec<Event>)>) -> Vec<Heard> {
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
