//! What a connection is told: from all who tell it something, in one order, to the one that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mdk_wire::budget::client::UNREAD_BYTES;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use crate::store::Stored;

/// One message.
pub(crate) enum Said {
    /// An event for a subscription, whose name is JSON already.
    Event(Arc<str>, Arc<Stored>),
    Text(String),
    /// Nothing follows; the connection is closed.
    End,
}

impl Said {
    /// The message as it is sent; `None` at the end.
    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Event(subscription, stored) => {
                Some(format!("[\"EVENT\",{subscription},{}]", stored.json))
            }
            Self::Text(text) => Some(text),
            Self::End => None,
        }
    }
}

/// What an event weighs that is stored anyway.
const SHARED: usize = 64;

#[derive(Default)]
struct Unread {
    bytes: AtomicUsize,
    less: Notify,
}

/// Speaks to a connection and never waits.
#[derive(Clone)]
pub(crate) struct Voice {
    messages: mpsc::UnboundedSender<(Said, usize)>,
    unread: Arc<Unread>,
}

/// Hears what is said to a connection.
pub(crate) struct Ear {
    messages: mpsc::UnboundedReceiver<(Said, usize)>,
    unread: Arc<Unread>,
}

pub(crate) fn line() -> (Voice, Ear) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let unread = Arc::new(Unread::default());
    (Voice { messages: sender, unread: unread.clone() }, Ear { messages: receiver, unread })
}

impl Voice {
    fn put(&self, said: Said, weight: usize) {
        self.unread.bytes.fetch_add(weight, Ordering::SeqCst);
        // Without anybody who hears it the connection is over.
        let _ = self.messages.send((said, weight));
    }

    pub(crate) fn say(&self, message: &Value) {
        let text = message.to_string();
        let weight = text.len();
        self.put(Said::Text(text), weight);
    }

    /// An event that was asked for.
    pub(crate) fn answer(&self, subscription: &Arc<str>, event: &Arc<Stored>) {
        self.put(Said::Event(subscription.clone(), event.clone()), SHARED);
    }

    /// An event that has just come; false when the client is too far behind to get it.
    #[must_use]
    pub(crate) fn tell(&self, subscription: &Arc<str>, event: &Arc<Stored>) -> bool {
        let weight = event.json.len() + SHARED;
        if self.unread.bytes.load(Ordering::SeqCst) + weight > UNREAD_BYTES {
            return false;
        }
        self.put(Said::Event(subscription.clone(), event.clone()), weight);
        true
    }

    pub(crate) fn end(&self) {
        self.put(Said::End, 0);
    }

    /// Waits until the client has read most of what was said: a question before that is not read.
    pub(crate) async fn room(&self) {
        loop {
            let less = self.unread.less.notified();
            if self.unread.bytes.load(Ordering::SeqCst) <= UNREAD_BYTES / 2 {
                return;
            }
            less.await;
        }
    }
}

impl Ear {
    fn heard(&self, (said, weight): (Said, usize)) -> Said {
        self.unread.bytes.fetch_sub(weight, Ordering::SeqCst);
        self.unread.less.notify_one();
        said
    }

    pub(crate) async fn hear(&mut self) -> Said {
        self.messages.recv().await.map_or(Said::End, |message| self.heard(message))
    }

    /// What is there already.
    pub(crate) fn hear_now(&mut self) -> Option<Said> {
        self.messages.try_recv().ok().map(|message| self.heard(message))
    }
}
