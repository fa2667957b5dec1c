//! A line to a local relay on which a test sees each message, and does with it what it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mdk_relay::LocalRelay;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

/// What becomes of a message: what goes on to the relay, and what to the client.
#[derive(Default)]
pub struct Fate {
    pub up: Vec<Value>,
    pub down: Vec<Value>,
    /// From here on, what is stored is held back ([`Line::holds_pages`]).
    pub holds_pages: bool,
}

pub fn up(message: Value) -> Fate {
    Fate { up: vec![message], ..Fate::default() }
}

pub fn down(messages: impl Into<Vec<Value>>) -> Fate {
    Fate { down: messages.into(), ..Fate::default() }
}

/// As it comes, without what only this line knows of.
pub fn plain(message: Value, of_relay: bool) -> Fate {
    match of_relay {
        _ if message[0] == "CONNECTED" => Fate::default(),
        true => down([message]),
        false => up(message),
    }
}

/// Is given each message, and whether it is the relay's.
type Rule = Box<dyn FnMut(Value, bool) -> Fate + Send>;

type Queue = UnboundedSender<(Instant, Message)>;

#[derive(Default)]
struct State {
    delay: Duration,
    /// For what comes of subscriptions: relays have threads of their own for that.
    live_delay: Duration,
    rule: Option<Rule>,
    /// Ends of the connections to which the rule applies: for what is live, and for the rest.
    clients: Vec<[Queue; 2]>,
    /// What it says of itself (NIP-11).
    info: Option<Value>,
    /// Answers to requests for stored events, which are held back.
    held: Option<Vec<(Queue, Value)>>,
    /// Clients' answers to pings.
    pongs: Count,
}

impl State {
    fn say(&mut self, [live, other]: &[Queue; 2], message: Value) {
        let of = |prefix: char| message[1].as_str().is_some_and(|id| id.starts_with(prefix));
        if let (true, Some(held)) = (of('q'), &mut self.held) {
            return held.push((other.clone(), message));
        }
        let (to, delay) = if of('s') { (live, self.live_delay) } else { (other, self.delay) };
        let _ = to.send((Instant::now() + delay, Message::text(message.to_string())));
    }
}

pub struct Line {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Line {
    pub async fn to(relay: &LocalRelay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (state, port) = (Arc::<Mutex<State>>::default(), relay.port());
        let of = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, port, of.clone()));
            }
        });
        Self { url, state, task }
    }

    /// From now on, for connections that are made from now on: so much later comes what the relay says, and `rule` decides.
    pub fn rule(&self, delay: Duration, rule: impl FnMut(Value, bool) -> Fate + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        (state.delay, state.live_delay) = (delay, delay);
        state.rule = Some(Box::new(rule));
    }

    /// Says this of the relay.
    pub fn announces(&self, info: Value) {
        self.state.lock().unwrap().info = Some(info);
    }

    /// What comes of subscriptions comes so much later.
    pub fn live_delay(&self, delay: Duration) {
        self.state.lock().unwrap().live_delay = delay;
    }

    /// Says something to the clients of these connections as if the relay had.
    pub fn say(&self, message: &Value) {
        let mut state = self.state.lock().unwrap();
        for client in state.clients.clone() {
            state.say(&client, message.clone());
        }
    }

    /// Holds back what is stored, or does not any more.
    pub fn holds_pages(&self, holds: bool) {
        let mut state = self.state.lock().unwrap();
        let held = std::mem::replace(&mut state.held, holds.then(Vec::new));
        for (to, message) in held.unwrap_or_default() {
            let _ = to.send((Instant::now() + state.delay, Message::text(message.to_string())));
        }
    }

    /// Waits until the client of the only connection has all that came of subscriptions before: it answers a ping behind it.
    pub async fn has_what_is_live(&self) {
        let (pongs, count) = {
            let state = self.state.lock().unwrap();
            let [[live, _]] = state.clients.as_slice() else { panic!("another connection") };
            let ping = Message::Ping(b"live".as_slice().into());
            live.send((Instant::now() + state.live_delay, ping)).unwrap();
            (state.pongs.clone(), state.pongs.count() + 1)
        };
        pongs.reaches(count).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, port: u16, state: Arc<Mutex<State>>) {
    let mut begin = [0; 1024];
    let read = stream.peek(&mut begin).await.unwrap_or_default();
    if String::from_utf8_lossy(&begin[..read]).to_lowercase().contains("application/nostr+json") {
        let info = state.lock().unwrap().info.clone().unwrap_or(json!({})).to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/nostr+json\r\nconnection: close";
        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{info}", info.len());
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
    let Ok(client) = tokio_tungstenite::accept_async(stream).await else { return };
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let url = format!("ws://127.0.0.1:{port}");
    let Ok((relay, _)) = tokio_tungstenite::client_async(url, stream).await else { return };
    let (to_client, mut from_client) = client.split();
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let (mut to_relay, mut from_relay) = relay.split();
    let (live, said_live) = unbounded_channel();
    let (other, said) = unbounded_channel();
    let queues = [live, other];
    let ruled = {
        let mut state = state.lock().unwrap();
        state.rule.is_some().then(|| state.clients.push(queues.clone())).is_some()
    };
    for said in [said_live, said] {
        let (to_client, mut said): (_, UnboundedReceiver<(Instant, Message)>) =
            (to_client.clone(), said);
        tokio::spawn(async move {
            while let Some((at, message)) = said.recv().await {
                sleep_until(at).await;
                if to_client.lock().await.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut first = Some(json!(["CONNECTED"]));
    loop {
        let (message, of_relay) = match first.take() {
            Some(first) if ruled => (first, true),
            _ => tokio::select! {
                Some(Ok(message)) = from_client.next() => {
                    if message.is_pong() {
                        state.lock().unwrap().pongs.add();
                    }
                    (message_of(&message), false)
                }
                message = from_relay.next() => match message {
                    Some(Ok(message)) => (message_of(&message), true),
                    // The client sees it go.
                    _ => {
                        let _ = queues[1].send((Instant::now(), Message::Close(None)));
                        return;
                    }
                },
            },
        };
        if message.is_null() {
            continue;
        }
        let fate = {
            let mut state = state.lock().unwrap();
            let rule = state.rule.take();
            let fate = match (rule, ruled) {
                (Some(mut rule), true) => {
                    let fate = rule(message, of_relay);
                    state.rule = Some(rule);
                    fate
                }
                (rule, _) => {
                    state.rule = rule;
                    if of_relay { down([message]) } else { up(message) }
                }
            };
            if fate.holds_pages {
                state.held.get_or_insert_default();
            }
            for message in fate.down {
                if ruled {
                    state.say(&queues, message);
                } else {
                    let message = Message::text(message.to_string());
                    let _ = queues[1].send((Instant::now(), message));
                }
            }
            fate.up
        };
        for message in fate {
            if to_relay.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
        }
    }
}

fn message_of(message: &Message) -> Value {
    match message {
        Message::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}

/// A request for a part of the history of groups, or of the inbox.
pub fn is_page(message: &Value) -> bool {
    message[0] == "REQ" && message[1].as_str().unwrap().starts_with('q')
}

/// What a subscription brings.
pub fn is_live(message: &Value) -> bool {
    message[0] == "EVENT" && message[1].as_str().is_some_and(|id| id.starts_with('s'))
}

/// The end of what a subscription found stored: what is said from then on is live.
pub fn is_listening(message: &Value) -> bool {
    message[0] == "EOSE" && message[1].as_str().is_some_and(|id| id.starts_with('s'))
}

pub fn is_of_groups(message: &Value) -> bool {
    message[2]["kinds"] == json!([445])
}

/// Counts, and tells when it has become so many.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub async fn reaches(&self, count: u64) {
        super::kit::soon("so many", async {
            while self.count() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}
