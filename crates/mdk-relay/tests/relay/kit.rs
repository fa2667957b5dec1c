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

    /// The next message, which must begin like this.
    pub async fn expect(&mut self, verb: &str) -> Value {
        let message = self
            .next()
            .await
            .unwrap_or_else(|| panic!("{verb} expected, but the connection ended"));
        assert_eq!(message[0], verb, "{message}");
        message
    }

    /// Everything up to the first message of this sort, and that.
    pub async fn until(&mut self, verb: &str) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            let message = self
                .next()
                .await
                .unwrap_or_else(|| panic!("{verb} expected, but the connection ended"));
            let last = message[0] == verb;
            messages.push(message);
            if last {
                return messages;
            }
        }
    }

    /// Publishes and returns what OK says.
    pub async fn publish(&mut self, event: &Event) -> (bool, String) {
        self.text(format!("[\"EVENT\",{}]", event.to_json())).await;
        let ok = self.expect("OK").await;
        assert_eq!(ok[1], event.id().to_hex());
        (ok[2].as_bool().unwrap(), ok[3].as_str().unwrap().to_owned())
    }

    /// Answers the relay's challenge with this event's tags and time; returns what OK says.
    pub async fn prove(&mut self, keys: &Keys, time: u64, tags: &[&[&str]]) -> (bool, String) {
        let event = by(keys, 22_242, time, tags, "");
        self.text(format!("[\"AUTH\",{}]", event.to_json())).await;
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
        self.send(json!(["REQ", "fetch", filter])).await;
        let mut messages = self.until("EOSE").await;
        messages.pop();
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
