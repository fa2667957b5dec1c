//! Messages of ours that a relay has, on their way to those who wake phones, and what became of it.

use std::sync::atomic::AtomicU64;

use mdk_wire::{EventId, GroupId};
use tokio::sync::mpsc;

/// Messages that are still to be looked at; when there are more, no phone is woken for them.
const QUEUE: usize = 256;

/// A message of ours that a relay has.
pub(crate) struct Delivered {
    pub(crate) group: GroupId,
    pub(crate) message: EventId,
}

/// The way of these messages, and the counters at its end.
pub(crate) struct Deliveries {
    pub(crate) queue: mpsc::Sender<Delivered>,
    pub(crate) push_sent: AtomicU64,
    pub(crate) push_failed: AtomicU64,
    pub(crate) push_dropped: AtomicU64,
}

impl Deliveries {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Delivered>) {
        let (queue, delivered) = mpsc::channel(QUEUE);
        let (push_sent, push_failed, push_dropped) = Default::default();
        (Self { queue, push_sent, push_failed, push_dropped }, delivered)
    }
}
