//! The messages that wait for the client, each until it is due.

use std::sync::{Arc, Mutex, PoisonError};

use mdk_wire::budget::client::UNREAD_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::rules::Rules;

pub(super) struct Item {
    pub(super) message: Message,
    pub(super) due: Option<Instant>,
    _room: Option<OwnedSemaphorePermit>,
}

pub(super) type Queued = mpsc::UnboundedReceiver<Item>;

/// Bounded by bytes.
pub(super) struct Queue {
    items: Mutex<Option<mpsc::UnboundedSender<Item>>>,
    room: Arc<Semaphore>,
    rules: watch::Receiver<Arc<Rules>>,
}

impl Queue {
    pub(super) fn new(rules: watch::Receiver<Arc<Rules>>) -> (Self, Queued) {
        let (items, queued) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(UNREAD_BYTES));
        (Self { items: Mutex::new(Some(items)), room, rules }, queued)
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        UNREAD_BYTES - self.room.available_permits()
    }

    pub(super) async fn say(&self, text: impl Into<Utf8Bytes>) {
        let message = Message::Text(text.into());
        let size = u32::try_from(message.len().clamp(64, UNREAD_BYTES)).unwrap_or(u32::MAX);
        // Never closed, so there is no error.
        let room = self.room.clone().acquire_many_owned(size).await.ok();
        let due = self.rules.borrow().faults.delay.map(|delay| Instant::now() + delay);
        if let Some(items) = &*self.items.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = items.send(Item { message, due, _room: room });
        }
    }

    pub(super) async fn say_all(&self, texts: Vec<String>) {
        for text in texts {
            self.say(text).await;
        }
    }

    pub(super) fn close(&self) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
