//! The messages of a bad relay that nobody asked for.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Layer;
use super::queue::Queue;
use super::requests::Requests;
use crate::signals::Signals;

const EVERY: Duration = Duration::from_millis(1);
const AT_ONCE: usize = 8;
/// A client that reads slowly gets its answers behind at most this much noise.
const MOST_WAITING: usize = 1024 * 1024;

/// Some thousand messages a second while a fault asks for them; ends with the relay.
pub(super) async fn make(requests: &Requests, queue: &Queue, layer: &Layer, signals: &Signals) {
    let mut rules = layer.rules.clone();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while rules.wait_for(|rules| rules.is_noisy()).await.is_ok() {
        ticks.tick().await;
        let faults = rules.borrow().faults.clone();
        for _ in 0..AT_ONCE {
            if queue.waiting() > MOST_WAITING {
                break;
            }
            if faults.notice_flood {
                queue.say(format!("[\"NOTICE\",\"notice {}\"]", requests.number())).await;
            }
            if faults.huge_tags {
                for event in requests.too_many_tags() {
                    queue.say(event).await;
                    signals.has_said();
                }
            }
            if faults.endless {
                for event in requests.more() {
                    queue.say(event).await;
                }
            }
        }
    }
}
