//! NIP-42 by account, on one connection.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mdk_client::{Account, Arrived, Origin, Pool, PoolOptions, Published};
use mdk_wire::Event;
use serde_json::Value;

use super::kit::*;

/// What the pool waits for an authentication, almost.
const WAIT: Duration = Duration::from_secs(4);

/// Checks an `AUTH` event as NIP-42 wants it.
fn who(message: &Value, challenge: &str, url: &str) -> String {
    let event = Event::from_json(message[1].to_string().as_bytes()).expect("signed");
    assert_eq!(event.kind(), 22_242);
    let tag = |name: &str| event.tags().iter().find(|tag| tag[0] == name).unwrap()[1].clone();
    assert_eq!((tag("challenge").as_str(), tag("relay").as_str()), (challenge, url));
    event.pubkey().to_hex()
}

/// How a relay asks.
#[derive(Clone, Copy)]
struct Manner {
    /// The challenge comes with the handshake, not with the first refusal.
    early: bool,
    /// Only the last account of a connection counts.
    only_last: bool,
}

/// Serves only events and requests of authenticated authors; `#p` names who asks.
async fn strict(manner: Manner) -> Relay {
    let (sender, url) = tokio::sync::watch::channel(String::new());
    let (mut known, mut asked) = (HashSet::new(), false);
    let relay = Relay::answering("", move |label, id, message| {
        let asks = match label {
            "OPEN" => manner.early,
            "EVENT" | "REQ" => true,
            _ => false,
        };
        let mut said = match label {
            "AUTH" => {
                if manner.only_last {
                    known.clear();
                }
                known.insert(who(message, "riddle", &url.borrow()));
                vec![ok(id, true, "")]
            }
            "EVENT" if !known.contains(message[1]["pubkey"].as_str().unwrap()) => {
                vec![ok(id, false, "auth-required: you")]
            }
            "REQ" if !known.contains(message[2]["#p"][0].as_str().unwrap()) => {
                vec![closed(id, "restricted: you")]
            }
            label => politely(label, id),
        };
        if asks && !std::mem::replace(&mut asked, true) {
            said.push(challenge("riddle"));
        }
        said
    })
    .await;
    sender.send(relay.url.clone()).unwrap();
    relay
}

fn mine(user: &User) -> String {
    format!("{{\"#p\":[\"{}\"]}}", user.account.public_key.to_hex())
}

#[tokio::test]
async fn two_accounts_authenticate_on_one_connection() {
    for early in [true, false] {
        for only_last in [true, false] {
            let relay = strict(Manner { early, only_last }).await;
            let pool = Pool::new(options());
            let mut users = [User::new(16), User::new(16)];
            for user in &mut users {
                user.opens(&pool, &relay.url).await;
            }
            for user in &mut users {
                let key = user.account.public_key;
                let page = pool.query(&relay.url, &key, &mine(user), PATIENT).await.unwrap();
                assert!(page.complete);
                let event = user.event("x").to_json();
                let published = pool.publish(&relay.url, &key, &event, PATIENT).await;
                assert_eq!(published, Published::Accepted);
                pool.subscribe(&relay.url, &key, 1, vec![mine(user)]).await.unwrap();
                loop {
                    match user.next().await {
                        Arrived::EndOfStored { subscription: 1, .. } => break,
                        Arrived::Connected { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(relay.connections(), 1);
        }
    }
}

/// A relay for which a connection is one account: the first that authenticates, and no other.
#[tokio::test]
async fn an_account_that_may_not_share_gets_a_connection_of_its_own() {
    let mut known: Option<String> = None;
    let relay = Relay::answering("", move |label, id, message| {
        let asking = message[1]["pubkey"].as_str().or(message[2]["#p"][0].as_str());
        let is_known = known.as_deref() == asking;
        match label {
            "OPEN" => vec![challenge("riddle")],
            "AUTH" => {
                let asking = asking.unwrap().to_owned();
                vec![ok(id, *known.get_or_insert(asking.clone()) == asking, "")]
            }
            "EVENT" if !is_known => vec![ok(id, false, "auth-required: not you")],
            "REQ" if !is_known => vec![closed(id, "auth-required: not you")],
            label => politely(label, id),
        }
    })
    .await;
    let pool = Pool::new(options());
    let mut users = [User::new(16), User::new(16), User::new(16)];
    for (n, user) in users.iter_mut().enumerate() {
        let key = user.account.public_key;
        user.opens(&pool, &relay.url).await;
        let event = user.event("x").to_json();
        let published = pool.publish(&relay.url, &key, &event, PATIENT).await;
        assert_eq!(published, Published::Accepted);
        let page = pool.query(&relay.url, &key, &mine(user), PATIENT).await.unwrap();
        assert!(page.complete);
        assert_eq!(relay.connections(), n + 1);
        if n == 1 {
            // It had been told Connected for the shared one.
            assert!(user.disconnected().await.is_some());
            user.connected().await;
        }
    }
    assert_eq!(pool.connections(), 3);
    for user in &users {
        pool.release(&relay.url, &user.account.public_key).await;
    }
    assert!(pool.status().is_empty());
}

#[tokio::test]
async fn a_relay_that_somebody_else_named_learns_no_name_without_need() {
    let relay = Relay::answering("", |label, id, _| match label {
        "OPEN" => vec![challenge("who are you")],
        label => politely(label, id),
    })
    .await;
    let pool = Pool::new(PoolOptions { allow_loopback: true, ..options() });
    let (mut peer, mut own) = (User::new(16), User::new(16));
    pool.open(&relay.url, Origin::Peer, &peer.account).await.unwrap();
    pool.open(&relay.url, Origin::User, &own.account).await.unwrap();
    peer.connected().await;
    own.connected().await;
    for user in [&peer, &own] {
        let key = user.account.public_key;
        pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap();
    }
    assert_eq!(peer.signed.load(Ordering::SeqCst), 0);
    assert_eq!(own.signed.load(Ordering::SeqCst), 1);
    assert_eq!(relay.connections(), 2, "the two origins share nothing");
}

/// Who a relay was told that we are, with the origin of its name.
async fn seen_at(origin: Origin) -> (Vec<String>, User) {
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let relay = Relay::start("", move |mut conn, number| {
        let say = say.clone();
        async move {
            let mut known = false;
            while let Some(message) = conn.next().await {
                match message[0].as_str().unwrap() {
                    "AUTH" => {
                        known = true;
                        say.send(message[1]["pubkey"].as_str().unwrap().to_owned()).unwrap();
                        conn.ok(message[1]["id"].as_str().unwrap(), true, "").await;
                    }
                    "REQ" if known => {
                        conn.eose(message[1].as_str().unwrap()).await;
                        if number == 1 {
                            return;
                        }
                    }
                    "REQ" => {
                        conn.send(challenge("riddle")).await;
                        let id = message[1].as_str().unwrap();
                        conn.send(closed(id, "auth-required: who")).await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    let pool = Pool::new(PoolOptions { allow_loopback: true, ..options() });
    let mut user = User::new(16);
    let key = user.account.public_key;
    pool.open(&relay.url, origin, &user.account).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        user.connected().await;
        assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
        seen.push(said.recv().await.unwrap());
    }
    (seen, user)
}

#[tokio::test]
async fn a_relay_that_somebody_else_named_learns_a_key_of_its_own() {
    let (first, user) = seen_at(Origin::Peer).await;
    let (second, _) = seen_at(Origin::Peer).await;
    assert_eq!(first[0], first[1], "the same as long as it is open");
    assert_ne!(first[0], second[0]);
    assert_ne!(first[0], user.account.public_key.to_hex());
    assert_eq!(user.signed.load(Ordering::SeqCst), 0);
    let (own, user) = seen_at(Origin::User).await;
    assert_eq!(own, vec![user.account.public_key.to_hex(); 2]);
}

#[tokio::test]
async fn a_stranger_is_told_to_fetch_again_once_it_is_known() {
    let relay = Relay::start("", |mut conn, number| async move {
        if number > 1 {
            // A relay that takes a moment.
            tokio::time::sleep(Duration::from_millis(20)).await;
            conn.send(challenge("c")).await;
            return conn.polite().await;
        }
        // Says nothing of authentication until it has answered, and hid something.
        let id = conn.subscription().await;
        conn.eose(&id).await;
        conn.send(challenge("c")).await;
        let auth = conn.expect("AUTH").await;
        conn.ok(auth[1]["id"].as_str().unwrap(), true, "").await;
        conn.subscription().await;
    })
    .await;
    let (pool, mut user, key) = connected(&relay, options()).await;
    assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
    assert!(matches!(user.next().await, Arrived::Connected { .. }));
    // On the next connection the authentication comes first.
    let _ = pool.query(&relay.url, &key, ALL, PATIENT).await;
    assert!(matches!(user.next().await, Arrived::Disconnected { .. }));
    assert!(matches!(user.next().await, Arrived::Connected { .. }));
    assert_eq!(user.signed.load(Ordering::SeqCst), 2, "before Connected, not after");
    pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap();
    assert!(user.is_quiet());
}

/// At once, and not when the wait for an authentication ends. A busy machine may hold up one of the answers.
#[tokio::test]
async fn an_account_that_declines_is_refused_at_once() {
    let mut took = Vec::new();
    while took.iter().all(|&took| took >= WAIT) {
        assert!(took.len() < 5, "{took:?}");
        let relay = strict(Manner { early: true, only_last: false }).await;
        let pool = Pool::new(options());
        let user = User::new(16);
        let account = Account { sign: Arc::new(|_| None), ..user.account.clone() };
        let key = account.public_key;
        pool.open(&relay.url, Origin::User, &account).await.unwrap();
        let event = user.event("x").to_json();
        let began = tokio::time::Instant::now();
        let answer = pool.publish(&relay.url, &key, &event, PATIENT).await;
        let reason = "auth-required: you".to_owned();
        assert_eq!(answer, Published::Refused { reason, forever: false });
        took.push(began.elapsed());
    }
}
