//! One WebSocket, read and written by the same task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use mdk_wire::budget::relay::WIRE_FACTOR;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::meter::TOO_MUCH;
use crate::dial::Counted;

/// Bytes that may wait to be written.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// A WebSocket with a queue in front of it. Writing never waits, so that two full pipes cannot hold each other up.
pub(super) struct Socket {
    inner: WebSocketStream<Counted>,
    /// Bytes within which a message comes to its end.
    longest: usize,
    waiting: VecDeque<Message>,
    waiting_bytes: usize,
    unflushed: bool,
    /// Since when nothing could be written although something waits.
    pub(super) blocked_since: Option<Instant>,
}

impl Socket {
    pub(super) fn new(inner: WebSocketStream<Counted>) -> Self {
        let largest = inner.get_config().max_message_size.unwrap_or(usize::MAX);
        Self {
            inner,
            longest: largest.saturating_mul(WIRE_FACTOR),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unflushed: false,
            blocked_since: None,
        }
    }

    /// Whether another `bytes` may be queued.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.waiting_bytes + bytes <= MAX_WAITING
    }

    pub(super) fn send(&mut self, text: String) {
        self.queue(Message::text(text));
    }

    pub(super) fn ping(&mut self, nonce: [u8; 8]) {
        self.queue(Message::Ping(nonce.to_vec().into()));
    }

    fn queue(&mut self, message: Message) {
        self.waiting_bytes += message.len();
        self.waiting.push_back(message);
    }

    /// Writes what waits, and reads one message if `read`; without it, only writes, and the peer is held back by its own full
    /// pipe. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// In our words, why the connection is over.
    pub(super) async fn step(&mut self, read: bool) -> Result<Message, &'static str> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.write(cx) {
                return Poll::Ready(Err(reason(&error)));
            }
            if !read {
                return Poll::Pending;
            }
            let next = Pin::new(&mut self.inner).poll_next(cx);
            let read = &mut self.inner.get_mut().read;
            match next {
                // (pieces without a last one)
                Poll::Pending if *read > self.longest => return Poll::Ready(Err(TOO_MUCH)),
                Poll::Pending => {}
                Poll::Ready(_) => *read = 0,
            }
            next.map(|next| match next {
                Some(Ok(Message::Close(_))) | None => Err("closed by the relay"),
                Some(Ok(message)) => Ok(message),
                Some(Err(error)) => Err(reason(&error)),
            })
        })
        .await
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        let mut inner = Pin::new(&mut self.inner);
        while !self.waiting.is_empty() {
            match inner.as_mut().poll_ready(cx)? {
                Poll::Pending => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(()) => {
                    let Some(message) = self.waiting.pop_front() else { break };
                    self.waiting_bytes -= message.len();
                    self.blocked_since = None;
                    self.unflushed = true;
                    inner.as_mut().start_send(message)?;
                }
            }
        }
        if self.unflushed {
            match inner.poll_flush(cx)? {
                Poll::Pending => {
                    self.blocked_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(()) => self.unflushed = false,
            }
        }
        self.blocked_since = None;
        Poll::Ready(Ok(()))
    }

    /// Says goodbye as far as that goes without waiting.
    pub(super) fn finish(mut self) {
        let goodbye = tokio::time::Duration::from_secs(1);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(goodbye, async {
                while !self.waiting.is_empty() || self.unflushed {
                    if poll_fn(|cx| self.write(cx)).await.is_err() {
                        return;
                    }
                }
                let _ = self.inner.close(None).await;
            })
            .await;
        });
    }
}

fn reason(error: &WsError) -> &'static str {
    match error {
        WsError::Capacity(_) => "a message over the size limit",
        WsError::Protocol(_) | WsError::Utf8 | WsError::AttackAttempt => "a protocol error",
        WsError::Io(_) => "the connection broke",
        _ => "closed by the relay",
    }
}
