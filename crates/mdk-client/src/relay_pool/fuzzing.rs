//! A session without a relay, for the fuzzer: what one message after the other does to it.

use std::sync::Arc;
use std::time::Duration;

use mdk_wire::{Event, Keys, Secret};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::accounts::Accounts;
use super::command::{Publish, Query};
use super::filters::Filter;
use super::meter::Meter;
use super::session::{Incoming, Session};
use super::socket::Socket;
use super::trouble_log::Troubles;
use super::{Account, Arrived, Origin, Page, Published, Room};
use crate::dial::Counted;
use crate::error::Result;
use crate::options::PoolOptions;

/// The outcome of some messages.
#[derive(Debug)]
pub struct Taken {
    /// Events that were given to the account, those of its live subscription.
    pub live: Vec<Event>,
    /// The page that it had asked for, if that ended.
    pub page: Option<Result<Page>>,
    /// The relay's word on the event that it had published, if there was one.
    pub published: Option<Published>,
    /// Whether the relay went too far.
    pub banned: bool,
}

/// The kinds that the account asks for.
pub const KINDS: [u16; 4] = [1, 445, 1059, 30443];
/// Most events of the page.
pub const PAGE: usize = 4;

/// Gives text messages to a session whose account has a live subscription `s1`, has asked for a page as `q2`, and has published an
/// event whose id is 64 times `0`.
///
/// # Panics
/// For a fault of ours.
pub fn take<'m>(messages: impl Iterator<Item = &'m str>) -> Taken {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("it needs no thread").block_on(taken(messages))
}

async fn taken<'m>(messages: impl Iterator<Item = &'m str>) -> Taken {
    const NEVER: Duration = Duration::from_secs(3600);
    let (near, _far) = tokio::io::duplex(64);
    let stream = Counted::new(Box::new(near));
    let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let url = url::Url::parse("wss://relay.example").expect("it is one");
    let troubles = Arc::new(Troubles::new(&url, Origin::User, watch::Sender::new(0)));
    let options = PoolOptions { max_connections: 1, ..PoolOptions::default() };
    let (socket, meter) = (Socket::new(stream), Meter::default());
    let mut session = Session::new(socket, Origin::User, troubles, meter, &options);
    let keys = Keys::from_secret(Secret::new([7; 32])).expect("it is on the curve");
    let (public_key, (sink, mut arrived)) = (keys.public_key(), mpsc::channel(4096));
    let sign = Arc::new(move |event: mdk_wire::UnsignedEvent| Some(event.sign(&keys)));
    let mut accounts = Accounts::new("wss://relay.example".into());
    accounts.insert(Account {
        public_key,
        sink,
        room: Room::default(),
        sign,
        false_events: Arc::default(),
    });
    let filter = || {
        let filter = format!("{{\"kinds\":{KINDS:?}}}");
        Filter::from_json(&filter).expect("it is one")
    };
    let done = session.subscribe((public_key, 1), vec![filter()], None, true);
    done.expect("there is room");
    let (reply, page) = oneshot::channel();
    let now = Instant::now();
    let query = Query {
        account: public_key,
        filter: filter().with_limit(PAGE),
        deadline: now + NEVER,
        idle: NEVER,
        latest: now + NEVER,
        again: false,
        page: Page::default(),
        bytes: 0,
        seen: std::collections::HashSet::new(),
        reply,
    };
    session.query(query, None);
    let (reply, published) = oneshot::channel();
    session.publish(Publish {
        account: public_key,
        event_id: "0".repeat(64),
        kind: 1,
        frame: "[\"EVENT\",{}]".to_owned(),
        deadline: now + NEVER,
        again: false,
        reply,
    });
    let mut banned = false;
    for message in messages {
        let incoming = Incoming::read(Message::text(message)).await;
        banned = session.take(incoming, &mut accounts, None).is_err();
        if banned {
            break;
        }
    }
    let mut live = Vec::new();
    while let Ok(one) = arrived.try_recv() {
        if let Arrived::Event { event, .. } = one {
            live.push(event);
        }
    }
    let (mut page, mut published) = (page, published);
    Taken { live, page: page.try_recv().ok(), published: published.try_recv().ok(), banned }
}
