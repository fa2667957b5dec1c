//! The queue of a connection: from all who tell it something, in one order, to the one that writes.

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

/// The weight of a message until it is heard, in bytes.
enum Weight {
    Answer(usize),
    Live(usize),
}

#[derive(Default)]
struct Unread {
    answers: AtomicUsize,
    live: AtomicUsize,
    less: Notify,
}

/// Speaks to a connection and never waits.
#[derive(Clone)]
pub(crate) struct Voice {
    messages: mpsc::UnboundedSender<(Said, Weight)>,
    unread: Arc<Unread>,
}

/// Hears what is said to a connection.
pub(crate) struct Ear {
    messages: mpsc::UnboundedReceiver<(Said, Weight)>,
    unread: Arc<Unread>,
}

pub(crate) fn line() -> (Voice, Ear) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let unread = Arc::new(Unread::default());
    (Voice { messages: sender, unread: unread.clone() }, Ear { messages: receiver, unread })
}

impl Voice {
    /// Something that was asked for.
    fn put(&self, said: Said, bytes: usize) {
        self.unread.answers.fetch_add(bytes, Ordering::SeqCst);
        // Without anybody who hears it the connection is over.
        let _ = self.messages.send((said, Weight::Answer(bytes)));
    }

    pub(crate) fn say(&self, message: &Value) {
        let text = message.to_string();
        let bytes = text.len();
        self.put(Said::Text(text), bytes);
    }

    /// An event that was asked for.
    pub(crate) fn answer(&self, subscription: &Arc<str>, event: &Arc<Stored>) {
        self.put(Said::Event(subscription.clone(), event.clone()), event.json.len());
    }

    /// An event that has just come; false when the client is too far behind to get it.
    #[must_use]
    pub(crate) fn tell(&self, subscription: &Arc<str>, event: &Arc<Stored>) -> bool {
        let bytes = event.json.len();
        if self.unread.live.load(Ordering::SeqCst) + bytes > UNREAD_BYTES {
            return false;
        }
        self.unread.live.fetch_add(bytes, Ordering::SeqCst);
        let said = Said::Event(subscription.clone(), event.clone());
        let _ = self.messages.send((said, Weight::Live(bytes)));
        true
    }

    pub(crate) fn end(&self) {
        self.put(Said::End, 0);
    }

    /// Waits until most answers are read: a question before that is not taken.
    pub(crate) async fn room(&self) {
        loop {
            let less = self.unread.less.notified();
            if self.unread.answers.load(Ordering::SeqCst) <= UNREAD_BYTES {
                return;
            }
            less.await;
        }
    }
}

impl Ear {
    fn heard(&self, (said, weight): (Said, Weight)) -> Said {
        match weight {
            Weight::Answer(bytes) => {
                self.unread.answers.fetch_sub(bytes, Ordering::SeqCst);
                self.unread.less.notify_one();
            }
            Weight::Live(bytes) => {
                self.unread.live.fetch_sub(bytes, Ordering::SeqCst);
            }
        }
        said
    }

    pub(crate) async fn hear(&mut self) -> Said {
        self.messages.recv().await.map_or(Said::End, |message| self.heard(message))
    }

    /// Returns the message that is there already.
    pub(crate) fn hear_now(&mut self) -> Option<Said> {
        self.messages.try_recv().ok().map(|message| self.heard(message))
    }
}
