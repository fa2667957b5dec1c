//! One connection with faults in between: client, faults, relay.
//!
//! All directions run in one task and are polled in the order in which a message passes them: an EVENT and its OK are
//! done in one go, without waking another thread.

use std::sync::Arc;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::queue::{Queue, Queued};
use super::reorder::Window;
use super::requests::{Fate, Requests, verb};
use super::rules::Rules;
use super::throttle::Throttled;
use super::{Layer, forgery, noise};
use crate::connection::AFTER_CLOSE;
use crate::hub::Hub;
use crate::information;
use crate::session::Session;
use crate::signals::Counted;
use crate::voice::Ear;

type Socket = WebSocketStream<Throttled>;

/// Serves a connection until one side ends it.
pub(crate) async fn serve(stream: TcpStream, hub: Arc<Hub>, layer: Arc<Layer>) {
    let stream = Throttled::new(stream, layer.rules.clone());
    let Some((socket, host)) = information::accept(stream, &hub.options).await else { return };
    let _counted = Counted::new(hub.signals.clone());
    let (to_client, from_client) = socket.split();
    let (session, ear) = Session::new(&hub, host);
    let requests = Requests::new();
    let (queue, queued) = Queue::new(layer.rules.clone());
    tokio::select! {
        biased;
        () = up(from_client, session, &requests, &queue, (&hub, &layer)) => {}
        () = down(ear, &requests, &queue, &layer) => {}
        () = write(queued, to_client) => {}
        () = noise::make(&requests, &queue, &layer, &hub.signals) => {}
    }
}

/// Client to relay.
async fn up(
    mut client: SplitStream<Socket>,
    mut session: Session,
    requests: &Requests,
    queue: &Queue,
    (hub, layer): (&Hub, &Layer),
) {
    while let Some(Ok(message)) = client.next().await {
        let taken = match message {
            Message::Text(text) => {
                let mut said = Vec::new();
                let fate =
                    requests.take(&text, (&hub.options, &layer.now(), &layer.bucket), &mut said);
                queue.say_all(said).await;
                match fate {
                    Fate::Pass => session.take(&text),
                    Fate::Instead(other) => session.take(&other),
                    Fate::Stop => continue,
                }
            }
            Message::Binary(_) => {
                session.take_bytes();
                Ok(())
            }
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if taken.is_err() {
            break;
        }
        session.voice().room().await;
    }
    session.voice().end();
    tokio::time::sleep(AFTER_CLOSE).await;
}

/// Relay to queue, through the faults that change what it says.
async fn down(mut ear: Ear, requests: &Requests, queue: &Queue, layer: &Layer) {
    let mut window = Window::default();
    loop {
        let deadline = window.deadline();
        let said = tokio::select! {
            said = ear.hear() => said,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                queue.say_all(window.take(layer.now().faults.reorder)).await;
                continue;
            }
        };
        let Some(text) = said.into_text() else { break };
        let rules = layer.now();
        if deadline.is_none() && !rules.watches_relay() {
            queue.say(text).await;
            continue;
        }
        match verb(&text) {
            "EVENT" => {
                for event in events(text, &rules) {
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
        if !(verb(&text) == "EOSE" && endless && requests.is_endless(&second(&text))) {
            queue.say(text).await;
        }
    }
    queue.say_all(window.take(None)).await;
    // The connection ends when the queue is empty.
    queue.close();
    std::future::pending().await
}

/// Returns the messages that one event becomes.
fn events(text: String, rules: &Rules) -> Vec<String> {
    let mut events = if rules.faults.false_events { forgery::copies(&text) } else { Vec::new() };
    if rules.faults.duplicate {
        events.push(text.clone());
    }
    events.push(text);
    events
}

fn second(text: &str) -> String {
    let parts = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    parts[1].as_str().unwrap_or_default().to_owned()
}

/// Queue to client, each message when it is due.
async fn write(mut queued: Queued, mut client: SplitSink<Socket, Message>) {
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
