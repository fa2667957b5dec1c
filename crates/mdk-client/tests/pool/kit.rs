//! A relay for tests that does whatever the test says, and accounts to look at it with.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mdk_client::{Account, Arrived, Origin, Pool, PoolOptions, RelayState, RelayStatus, Room};
use mdk_wire::{Event, Keys, PublicKey, UnsignedEvent};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::kit::by;

pub const ALL: &str = r#"{"kinds":[1]}"#;

/// Longest wait of a test for anything.
pub const LONG: Duration = Duration::from_secs(20);
/// A request timeout that a test does not expect to run out.
pub const PATIENT: Duration = Duration::from_secs(15);
/// Longer than any answer takes, shorter than the time after which an unanswered request is given up.
pub const SHORT: Duration = Duration::from_secs(3);
/// One that it expects to run out.
pub const BRIEF: Duration = Duration::from_millis(300);

/// One connection of a [`Relay`].
pub struct Conn(pub WebSocketStream<TcpStream>);

impl Conn {
    /// The next text message as JSON; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message with this label; others are passed over.
    pub async fn expect(&mut self, label: &str) -> Value {
        loop {
            let message = self.next().await.expect("the client stays");
            if message[0] == label {
                return message;
            }
        }
    }

    /// Id of the next subscription.
    pub async fn subscription(&mut self) -> String {
        self.expect("REQ").await[1].as_str().unwrap().to_owned()
    }

    pub async fn send(&mut self, text: impl Into<String>) -> bool {
        self.0.send(Message::text(text.into())).await.is_ok()
    }

    pub async fn event(&mut self, subscription: &str, json: &str) -> bool {
        self.send(event(subscription, json)).await
    }

    pub async fn eose(&mut self, subscription: &str) -> bool {
        self.send(eose(subscription)).await
    }

    pub async fn ok(&mut self, id: &str, accepted: bool, reason: &str) -> bool {
        self.send(ok(id, accepted, reason)).await
    }

    /// Answers whatever comes with nothing until the client goes.
    pub async fn idle(mut self) {
        while self.next().await.is_some() {}
    }

    /// Accepts every event, and has none, until the client goes.
    pub async fn polite(mut self) {
        while let Some(message) = self.next().await {
            for text in politely(message[0].as_str().unwrap(), id_of(&message)) {
                self.send(text).await;
            }
        }
    }
}

/// The id of the event or of the subscription that a message is about.
fn id_of(message: &Value) -> &str {
    message[1]["id"].as_str().or(message[1].as_str()).unwrap_or_default()
}

/// The answers of a relay that has nothing and takes everything.
pub fn politely(label: &str, id: &str) -> Vec<String> {
    match label {
        "REQ" => vec![eose(id)],
        "EVENT" | "AUTH" => vec![ok(id, true, "")],
        _ => vec![],
    }
}

pub fn ok(id: &str, accepted: bool, reason: &str) -> String {
    format!("[\"OK\",\"{id}\",{accepted},\"{reason}\"]")
}

pub fn event(subscription: &str, json: &str) -> String {
    format!("[\"EVENT\",\"{subscription}\",{json}]")
}

pub fn eose(id: &str) -> String {
    format!("[\"EOSE\",\"{id}\"]")
}

pub fn closed(id: &str, reason: &str) -> String {
    format!("[\"CLOSED\",\"{id}\",\"{reason}\"]")
}

pub fn challenge(riddle: &str) -> String {
    format!("[\"AUTH\",\"{riddle}\"]")
}

/// A relay on loopback. Ends when dropped, with its connections.
pub struct Relay {
    pub url: String,
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Calls `handler` with each connection and its number, from 1. `info` is the NIP-11 document; an empty one is a 404.
    pub async fn start<F, R>(info: &str, handler: F) -> Self
    where
        F: Fn(Conn, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), info, handler).await
    }

    /// Accepts every event, and has none.
    pub async fn polite() -> Self {
        Self::start("", |conn, _| conn.polite()).await
    }

    /// Answers with what `answers` makes of the label of a message ("OPEN" at the beginning of a connection), of the id of
    /// its event or subscription, and of the message. What `answers` remembers is remembered of one connection.
    pub async fn answering<F>(info: &str, answers: F) -> Self
    where
        F: FnMut(&str, &str, &Value) -> Vec<String> + Clone + Send + Sync + 'static,
    {
        Self::start(info, move |mut conn, _| {
            let mut answers = answers.clone();
            async move {
                let mut said = answers("OPEN", "", &Value::Null);
                loop {
                    for text in said {
                        conn.send(text).await;
                    }
                    let Some(message) = conn.next().await else { return };
                    said = answers(message[0].as_str().unwrap(), id_of(&message), &message);
                }
            }
        })
        .await
    }

    pub async fn start_at<F, R>(at: SocketAddr, info: &str, handler: F) -> Self
    where
        F: Fn(Conn, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(at).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, info) = (connections.clone(), info.to_owned());
        let task = tokio::spawn(accept(listener, count, info, Arc::new(handler)));
        Self { url: format!("ws://{address}"), address, connections, task }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<F, R>(listener: TcpListener, count: Arc<AtomicUsize>, info: String, handler: Arc<F>)
where
    F: Fn(Conn, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    // The set ends its tasks when this one is aborted.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (count, info, handler) = (count.clone(), info.clone(), handler.clone());
        tasks.spawn(async move {
            if is_info(&stream).await {
                return give_info(stream, &info).await;
            }
            let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            handler(Conn(socket), number).await;
        });
    }
}

async fn is_info(stream: &TcpStream) -> bool {
    let mut head = vec![0; 2_048];
    loop {
        let Ok(length) = stream.peek(&mut head).await else { return false };
        let text = String::from_utf8_lossy(&head[..length]).to_lowercase();
        if length == 0 || text.contains("\r\n\r\n") {
            return text.contains("application/nostr+json");
        }
        tokio::task::yield_now().await;
    }
}

async fn give_info(mut stream: TcpStream, info: &str) {
    let status = if info.is_empty() { "404 Not Found" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", info.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(info.as_bytes()).await;
    // Read the request away, so that closing is not a reset.
    let mut rest = vec![0; 2_048];
    let _ = stream.try_read(&mut rest);
}

/// Options in which nothing takes long.
pub fn options() -> PoolOptions {
    PoolOptions {
        reconnect_min: Duration::from_millis(20),
        reconnect_max: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(5),
        ..PoolOptions::default()
    }
}

/// An account of its own keys.
pub struct User {
    pub keys: Arc<Keys>,
    pub account: Account,
    pub arrived: mpsc::Receiver<Arrived>,
    /// How often it was asked to sign.
    pub signed: Arc<AtomicUsize>,
}

impl User {
    pub fn new(sink: usize) -> Self {
        let keys = Arc::new(Keys::generate());
        let signed = Arc::new(AtomicUsize::new(0));
        let (sink, arrived) = mpsc::channel(sink);
        let (signer, count) = (keys.clone(), signed.clone());
        let sign = move |event: UnsignedEvent| {
            count.fetch_add(1, Ordering::SeqCst);
            assert_eq!(event.kind, 22_242, "only NIP-42 is signed");
            Some(event.sign(&signer))
        };
        let account = Account {
            public_key: keys.public_key(),
            sink,
            room: Room::default(),
            sign: Arc::new(sign),
            false_events: Arc::default(),
        };
        Self { keys, account, arrived, signed }
    }

    /// Names a relay, and waits for the connection.
    pub async fn opens(&mut self, pool: &Pool, url: &str) {
        pool.open(url, Origin::User, &self.account).await.unwrap();
        self.connected().await;
    }

    pub async fn next(&mut self) -> Arrived {
        timeout(LONG, self.arrived.recv()).await.expect("something arrives").expect("sink is open")
    }

    pub async fn connected(&mut self) {
        while !matches!(self.next().await, Arrived::Connected { .. }) {}
    }

    pub async fn disconnected(&mut self) -> Option<String> {
        loop {
            if let Arrived::Disconnected { reason, .. } = self.next().await {
                return reason;
            }
        }
    }

    /// Whether nothing waits in the sink.
    pub fn is_quiet(&mut self) -> bool {
        self.arrived.try_recv().is_err()
    }

    pub fn event(&self, content: &str) -> Event {
        self.event_at(content, 1_700_000_000)
    }

    pub fn event_at(&self, content: &str, created_at: u64) -> Event {
        note(&self.keys, content, created_at)
    }
}

/// A user of a pool of their own, who is connected.
pub async fn connected(relay: &Relay, options: PoolOptions) -> (Pool, User, PublicKey) {
    connected_with(relay, User::new(256), options).await
}

pub async fn connected_with(
    relay: &Relay,
    mut user: User,
    options: PoolOptions,
) -> (Pool, User, PublicKey) {
    let (pool, key) = (Pool::new(options), user.account.public_key);
    user.opens(&pool, &relay.url).await;
    (pool, user, key)
}

/// A signed note (kind 1).
pub fn note(keys: &Keys, content: &str, created_at: u64) -> Event {
    by(keys, 1, created_at, &[&["t", "x"]], content)
}

/// The content of an event that arrived.
pub fn content(arrived: &Arrived) -> String {
    let Arrived::Event { event, .. } = arrived else { panic!("an event, not {arrived:?}") };
    event.content().to_owned()
}

/// Waits until the only relay of the pool is as `is` says.
pub async fn until(pool: &Pool, is: impl Fn(&RelayStatus) -> bool) -> RelayStatus {
    timeout(LONG, async {
        loop {
            if let Some(status) = pool.status().into_iter().find(|status| is(status)) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the relay gets there")
}

pub async fn until_state(pool: &Pool, state: RelayState) -> RelayStatus {
    until(pool, |status| status.state == state).await
}
