//! Waking phones: who says something asks the notification servers of the others' apps to wake them
//! (docs/internals/protocol/push.md). Nothing waits for it, and nothing fails by it.

mod publish;
mod quiet;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mdk_wire::{EventId, GroupId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::quiet::keep_quiet;
use crate::client::delivered::Delivered;
use crate::client::shared::Shared;
use crate::client::times::chance;

/// Messages of one group wake phones once in so long.
const PACE: Duration = Duration::from_secs(3);
/// A trigger waits for so long at most, by chance: a relay is not to tell by the time which group it belongs to.
const BLUR: Duration = Duration::from_secs(1);
/// Messages of a group that wait for its next trigger: one that counts is enough.
const MOST_WAITING: usize = 16;
/// The triggers that wait, by group.
#[derive(Default)]
struct Waiting {
    /// When each is due, and for which messages.
    due: BTreeMap<GroupId, (Instant, Vec<EventId>)>,
    /// When a group had its last one.
    last: HashMap<GroupId, Instant>,
}

impl Waiting {
    // rule: 2.11-15 a group has one trigger in three seconds, and the first one at once
    fn add(&mut self, new: Delivered, now: Instant, blur: Duration) {
        let earliest = self.last.get(&new.group).map_or(now, |last| now.max(*last + PACE));
        let (_, messages) =
            self.due.entry(new.group).or_insert_with(|| (earliest + blur, Vec::new()));
        if messages.len() < MOST_WAITING {
            messages.push(new.message);
        }
    }

    fn next(&self) -> Option<Instant> {
        self.due.values().map(|(at, _)| *at).min()
    }

    /// Takes out what is due.
    fn take(&mut self, now: Instant) -> Vec<(GroupId, Vec<EventId>)> {
        self.last.retain(|_, last| *last + PACE > now);
        let due: Vec<GroupId> = self
            .due
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(group, _)| group.clone())
            .collect();
        let mut taken = Vec::new();
        for group in due {
            if let Some((_, messages)) = self.due.remove(&group) {
                self.last.insert(group.clone(), now);
                taken.push((group, messages));
            }
        }
        taken
    }
}

/// Runs until the client stops.
pub(crate) async fn run(shared: Arc<Shared>, mut delivered: mpsc::Receiver<Delivered>) {
    // What a failure leaves is tried with the next start.
    let _ = shared.engine(quiet::forget_marks).await;
    let mut waiting = Waiting::default();
    let mut jobs = JoinSet::new();
    loop {
        let due = waiting.next();
        let alarm = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.until_stopped() => return,
            Some(one) = delivered.recv() => waiting.add(one, Instant::now(), BLUR.mul_f64(chance())),
            () = alarm => {
                for (group, messages) in waiting.take(Instant::now()) {
                    jobs.spawn(publish::wake(shared.clone(), group, messages));
                }
            }
            Some(_) = jobs.join_next() => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn delivered(group: u8, message: u8) -> Delivered {
        let group = GroupId::from_bytes(&[group; 16]).unwrap();
        Delivered { group, message: EventId::from_bytes([message; 32]) }
    }

    // shows: 2.11-15
    #[test]
    fn a_group_wakes_phones_once_in_three_seconds() {
        let (mut waiting, begin) = (Waiting::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        let add = |waiting: &mut Waiting, group, message, millis| {
            waiting.add(delivered(group, message), at(millis), Duration::from_millis(500));
        };
        add(&mut waiting, 1, 1, 0);
        add(&mut waiting, 1, 2, 100);
        add(&mut waiting, 2, 3, 200);
        assert_eq!(waiting.next(), Some(at(500)));
        assert_eq!(waiting.take(at(499)), []);
        let taken = waiting.take(at(700));
        assert_eq!(taken.iter().map(|(_, said)| said.len()).collect::<Vec<_>>(), [2, 1]);
        // What is said after it waits for the next one, however much it is.
        for message in 0..100 {
            add(&mut waiting, 1, message, 800);
        }
        assert_eq!(waiting.next(), Some(at(700 + 3_000 + 500)));
        let taken = waiting.take(at(5_000));
        assert_eq!(taken[0].1.len(), MOST_WAITING);
        // After a silence the first one goes at once.
        add(&mut waiting, 1, 1, 60_000);
        assert_eq!(waiting.next(), Some(at(60_500)));
        waiting.take(at(64_000));
        waiting.take(at(70_000));
        assert!(waiting.last.is_empty());
    }
}
