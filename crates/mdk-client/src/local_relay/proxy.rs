//! One connection: client, faults, relay.
//!
//! Both directions and the relay's own session run in one task and are polled in the order in which a message passes
//! them: an EVENT and its OK are done in one go, without waking another thread.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::faults::{Fate, Session, verb};
use super::reorder::Window;
use super::rules::Rules;
use super::server::{Counted, Shared};
use super::slow::Dribble;
use super::{forgery, handshake, noise};

const PIPE: usize = 64 * 1024;
/// Most bytes that wait for a slow client. So much, because the library's relay forgets live events for a session that
/// is held up for more than 1,024 of them.
const WAITING: usize = 64 * 1024 * 1024;

/// For what is still under way when one side has ended.
const AFTER_CLOSE: Duration = Duration::from_secs(10);

/// Serves a connection until one side ends it.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let stream = Dribble::new(stream, shared.rules.clone());
    let Some(client) = handshake::accept(stream, &shared.options).await else { return };
    let _counted = Counted::new(shared.clone());
    let (near, far) = tokio::io::duplex(PIPE);
    let config = WebSocketConfig::default()
        .read_buffer_size(32 * 1024)
        .max_message_size(None)
        .max_frame_size(None);
    let relay = WebSocketStream::from_raw_socket(near, Role::Client, Some(config)).await;
    let (to_client, from_client) = client.split();
    let (to_relay, from_relay) = relay.split();
    let session = Session::new();
    let (queue, queued) = Queue::new(shared.rules.clone());
    tokio::select! {
        biased;
        () = up(from_client, to_relay, &session, &queue, &shared) => {}
        () = relay_session(far, address, &shared) => {}
        () = down(from_relay, &session, &queue) => {}
        () = write(queued, to_client) => {}
        () = noise::make(&session, &queue, &shared) => {}
    }
}

/// The library's part. When it ends, `down` hears of it, and what was said before still goes out.
async fn relay_session(far: DuplexStream, address: SocketAddr, shared: &Shared) {
    let _ = shared.relay.take_connection(far, address).await;
    tokio::time::sleep(AFTER_CLOSE).await;
}

/// Client to relay. When the client goes, the relay is told, and its session ends by itself.
async fn up(
    mut client: SplitStream<WebSocketStream<Dribble>>,
    mut relay: SplitSink<WebSocketStream<DuplexStream>, Message>,
    session: &Session,
    queue: &Queue,
    shared: &Shared,
) {
    while let Some(Ok(message)) = client.next().await {
        let message = match message {
            Message::Text(text) => {
                let rules = queue.rules();
                let mut said = Vec::new();
                let fate =
                    session.client(&text, (&shared.options, &rules, &shared.bucket), &mut said);
                for answer in said {
                    queue.say(answer).await;
                }
                match fate {
                    Fate::Pass => Message::Text(text),
                    Fate::Instead(other) => Message::text(other),
                    Fate::Stop => continue,
                }
            }
            Message::Binary(_) => message,
            Message::Close(_) => break,
            // Ours to answer, which the library does.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if relay.send(message).await.is_err() {
            return;
        }
    }
    let _ = relay.close().await;
    tokio::time::sleep(AFTER_CLOSE).await;
}

/// Relay to queue, through the faults that change what it says.
async fn down(
    mut relay: SplitStream<WebSocketStream<DuplexStream>>,
    session: &Session,
    queue: &Queue,
) {
    let mut window = Window::default();
    loop {
        let deadline = window.deadline();
        let message = tokio::select! {
            message = relay.next() => message,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                queue.say_all(window.take(queue.rules().faults.reorder)).await;
                continue;
            }
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => break,
        };
        let rules = queue.rules();
        if deadline.is_none() && !rules.watches_relay() {
            queue.put(Message::Text(text)).await;
            continue;
        }
        match verb(&text) {
            "EVENT" => {
                for event in events(&text, &rules) {
                    if rules.faults.reorder.is_none() {
                        queue.say(event).await;
                    } else if window.hold(event) {
                        queue.say_all(window.take(rules.faults.reorder)).await;
                    }
                }
                continue;
            }
            "OK" if rules.faults.lose_ok => continue,
            "EOSE" | "CLOSED" => queue.say_all(window.take(rules.faults.reorder)).await,
            _ => {}
        }
        let endless = rules.faults.endless || rules.faults.huge_tags;
        if !(verb(&text) == "EOSE" && endless && session.is_endless(&second(&text))) {
            queue.put(Message::Text(text)).await;
        }
    }
    queue.say_all(window.take(None)).await;
    // The connection ends when the queue is empty.
    queue.close();
    std::future::pending().await
}

/// What is sent for one event.
fn events(text: &str, rules: &Rules) -> Vec<String> {
    let mut events = if rules.faults.false_events { forgery::copies(text) } else { Vec::new() };
    events.push(text.to_owned());
    if rules.faults.duplicate {
        events.push(text.to_owned());
    }
    events
}

fn second(text: &str) -> String {
    let parts = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    parts[1].as_str().unwrap_or_default().to_owned()
}

/// Queue to client, each message when it is due.
async fn write(mut queued: Queued, mut client: SplitSink<WebSocketStream<Dribble>, Message>) {
    let mut gone = false;
    let mut next = queued.recv().await;
    while let Some(item) = next {
        if let Some(due) = item.due {
            sleep_until(due).await;
        }
        if gone {
            // Still read, or the relay would wait for a client that is no longer there.
            next = queued.recv().await;
            continue;
        }
        gone = client.feed(item.message).await.is_err();
        next = match queued.try_recv() {
            Ok(item) if item.due.is_none_or(|due| due <= Instant::now()) => Some(item),
            other => {
                gone = gone || client.flush().await.is_err();
                match other {
                    Ok(item) => Some(item),
                    Err(_) => queued.recv().await,
                }
            }
        };
    }
    let _ = client.close().await;
}

pub(super) struct Item {
    message: Message,
    due: Option<Instant>,
    _room: Option<OwnedSemaphorePermit>,
}

type Queued = mpsc::UnboundedReceiver<Item>;

/// What waits for the client, bounded by bytes.
pub(super) struct Queue {
    items: Mutex<Option<mpsc::UnboundedSender<Item>>>,
    room: Arc<Semaphore>,
    rules: watch::Receiver<Arc<Rules>>,
}

impl Queue {
    fn new(rules: watch::Receiver<Arc<Rules>>) -> (Self, Queued) {
        let (items, queued) = mpsc::unbounded_channel();
        (
            Self { items: Mutex::new(Some(items)), room: Arc::new(Semaphore::new(WAITING)), rules },
            queued,
        )
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        WAITING - self.room.available_permits()
    }

    async fn put(&self, message: Message) {
        let size = u32::try_from(message.len().clamp(64, WAITING)).unwrap_or(u32::MAX);
        // Never closed, so there is no error.
        let room = self.room.clone().acquire_many_owned(size).await.ok();
        let due = self.rules.borrow().faults.delay.map(|delay| Instant::now() + delay);
        if let Some(items) = &*self.items.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = items.send(Item { message, due, _room: room });
        }
    }

    pub(super) async fn say(&self, text: impl Into<Utf8Bytes>) {
        self.put(Message::Text(text.into())).await;
    }

    async fn say_all(&self, texts: Vec<String>) {
        for text in texts {
            self.say(text).await;
        }
    }

    fn close(&self) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
