//! A WebSocket client that knows nothing of Nostr but its frames. Every wait has an end.

use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use mdk_relay::LocalRelay;
use mdk_wire::{Event, Keys, UnsignedEvent};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The beginning of a WebSocket.
pub const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Ends a wait that would not end.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: took too long"))
}

pub struct Raw(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    pub async fn to(relay: &LocalRelay) -> Self {
        Self(within("connect", connect_async(relay.url())).await.unwrap().0)
    }

    pub async fn text(&mut self, text: String) {
        within("send", self.0.send(Message::text(text))).await.unwrap();
    }

    pub async fn send(&mut self, message: Value) {
        self.text(message.to_string()).await;
    }

    /// The next message; `None` when the relay ended the connection.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match within("receive", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn some(&mut self, verb: &str) -> Value {
        let next = self.next().await;
        next.unwrap_or_else(|| panic!("{verb} expected, but the connection ended"))
    }

    /// The next message, which must begin like this.
    pub async fn expect(&mut self, verb: &str) -> Value {
        let message = self.some(verb).await;
        assert_eq!(message[0], verb, "{message}");
        message
    }

    /// Everything up to the first message of this sort, and that.
    pub async fn until(&mut self, verb: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.last().is_none_or(|last: &Value| last[0] != verb) {
            messages.push(self.some(verb).await);
        }
        messages
    }

    /// Sends an event in a message of this sort.
    pub async fn offer(&mut self, verb: &str, event: &Event) {
        self.text(format!("[\"{verb}\",{}]", event.to_json())).await;
    }

    /// Subscribes to what a filter names, of which nothing is stored.
    pub async fn subscribe(&mut self, name: &str, filter: Value) {
        self.send(json!(["REQ", name, filter])).await;
        self.expect("EOSE").await;
    }

    /// What comes of a request before its end.
    pub async fn stored(&mut self, request: Value) -> Vec<Value> {
        self.send(request).await;
        let mut messages = self.until("EOSE").await;
        messages.pop();
        messages
    }

    /// Publishes and returns what OK says.
    pub async fn publish(&mut self, event: &Event) -> (bool, String) {
        self.answered("EVENT", event).await
    }

    /// Answers the relay's challenge with this event's tags and time; returns what OK says.
    pub async fn prove(&mut self, keys: &Keys, time: u64, tags: &[&[&str]]) -> (bool, String) {
        self.answered("AUTH", &by(keys, 22_242, time, tags, "")).await
    }

    async fn answered(&mut self, verb: &str, event: &Event) -> (bool, String) {
        self.offer(verb, event).await;
        let ok = self.expect("OK").await;
        assert_eq!(ok[1], event.id().to_hex());
        (ok[2].as_bool().unwrap(), ok[3].as_str().unwrap().to_owned())
    }

    /// Publishes an event that must be taken.
    pub async fn store(&mut self, event: &Event) {
        assert_eq!(self.publish(event).await, (true, String::new()));
    }

    /// Contents of the stored events that match, in the order in which they come.
    pub async fn fetch(&mut self, filter: Value) -> Vec<String> {
        let messages = self.stored(json!(["REQ", "fetch", filter])).await;
        self.send(json!(["CLOSE", "fetch"])).await;
        messages.iter().filter(|m| m[0] == "EVENT").map(content).collect()
    }
}

pub fn content(message: &Value) -> String {
    message[2]["content"].as_str().unwrap().to_owned()
}

pub fn by(keys: &Keys, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags.iter().map(|tag| tag.iter().map(ToString::to_string).collect()).collect();
    UnsignedEvent { pubkey: keys.public_key(), created_at, kind, tags, content: content.into() }
        .sign(keys)
}

/// An event of a new author.
pub fn event(kind: u16, created_at: u64, content: &str) -> Event {
    by(&Keys::generate(), kind, created_at, &[], content)
}

/// A plain HTTP request and the whole answer.
pub async fn http(relay: &LocalRelay, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A request that was not read to its end is reset.
    let _ = within("answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}
