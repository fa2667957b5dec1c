//! A bug of ours that panics in the task of a connection costs a reconnect, and not the relay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mdk_client::{Account, Origin, Pool, PoolOptions, Published, RelayState};
use mdk_wire::{Event, UnsignedEvent};
use serde_json::json;

use super::kit::*;

/// The account with a signer, which is called in the task of the connection, that panics once.
fn panics_once(user: &User) -> Account {
    let (done, sign) = (AtomicBool::new(false), user.account.sign.clone());
    let sign = move |event: UnsignedEvent| {
        assert!(done.swap(true, Ordering::SeqCst), "a panic that the test asked for");
        sign(event)
    };
    Account { sign: Arc::new(sign), ..user.account.clone() }
}

/// Serves nothing before an authentication, which it asks for once somebody wants something.
async fn demanding() -> Relay {
    let mut known = false;
    Relay::answering("", move |label, id, _| {
        known |= label == "AUTH";
        let refusal = match label {
            "EVENT" if !known => ok(id, false, "auth-required: you"),
            "REQ" if !known => closed(id, "auth-required: you"),
            label => return politely(label, id),
        };
        vec![challenge("riddle"), refusal]
    })
    .await
}

#[tokio::test]
async fn a_panic_costs_a_reconnect_and_every_account_hears_of_it() {
    let relay = demanding().await;
    let pool = Pool::new(options());
    let (mut faulty, mut other) = (User::new(16), User::new(16));
    let account = panics_once(&faulty);
    pool.open(&relay.url, Origin::User, &account).await.unwrap();
    pool.open(&relay.url, Origin::User, &other.account).await.unwrap();
    faulty.connected().await;
    other.connected().await;
    assert_eq!(relay.connections(), 1);
    // A call that is under way is answered at once, and not at its deadline.
    let (key, event) = (other.account.public_key, other.event("x").to_json());
    let published = pool.publish(&relay.url, &key, &event, LONG * 6).await;
    assert!(matches!(published, Published::Unreachable { .. }), "{published:?}");
    for user in [&mut faulty, &mut other] {
        assert_eq!(user.disconnected().await.as_deref(), Some("internal error"));
        user.connected().await;
    }
    assert_eq!((pool.panics(), relay.connections()), (1, 2));
    // It works as if nothing had been, for both.
    assert_eq!(pool.publish(&relay.url, &key, &event, PATIENT).await, Published::Accepted);
    for user in [&faulty, &other] {
        let key = user.account.public_key;
        assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
    }
    // And it ends as it should.
    pool.release(&relay.url, &faulty.account.public_key).await;
    pool.release(&relay.url, &other.account.public_key).await;
    assert_eq!(pool.connections(), 0);
}

#[tokio::test]
async fn one_panic_after_the_other_waits_longer_each_time_and_can_be_given_up() {
    let relay = Relay::start("", |mut conn, _| async move {
        conn.send("[\"AUTH\",\"riddle\"]").await;
        conn.polite().await;
    })
    .await;
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(1));
    let pool = Pool::new(PoolOptions { reconnect_min: least, reconnect_max: most, ..options() });
    let user = User::new(16);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let sign = move |_: UnsignedEvent| -> Option<Event> {
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        panic!("a panic that the test asked for")
    };
    let account = Account { sign: Arc::new(sign), ..user.account.clone() };
    pool.open(&relay.url, Origin::User, &account).await.unwrap();
    let status =
        until(&pool, |status| pool.panics() >= 4 && status.state == RelayState::BackingOff);
    assert_eq!(status.await.last_error.as_deref(), Some("internal error"));
    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // At least half of four times the first pause; without growth it would be at most the first.
    assert!(calls[3] - calls[2] >= least * 2, "{calls:?}");
    pool.release(&relay.url, &user.account.public_key).await;
    assert_eq!(pool.connections(), 0);
    pool.close().await;
}

/// What waits behind a full sink is dropped with the connection, and the sink hears of that before anything else.
#[tokio::test]
async fn an_account_that_is_behind_is_told_when_it_listens_again() {
    let relay = Relay::start("", |mut conn, number| async move {
        let id = conn.subscription().await;
        if number == 1 {
            let keys = mdk_wire::Keys::generate();
            for n in 0..3 {
                conn.event(&id, &note(&keys, &n.to_string(), 1).to_json()).await;
            }
            conn.send("[\"AUTH\",\"riddle\"]").await;
        }
        conn.polite().await;
    })
    .await;
    let pool = Pool::new(options());
    let mut user = User::new(1);
    let account = panics_once(&user);
    pool.open(&relay.url, Origin::User, &account).await.unwrap();
    user.connected().await;
    let key = user.account.public_key;
    pool.subscribe(&relay.url, &key, 1, vec![json!({"kinds": [1]}).to_string()]).await.unwrap();
    // Not a word is taken until the other connection is there.
    until(&pool, |status| relay.connections() == 2 && status.state == RelayState::Connected).await;
    assert_eq!(pool.panics(), 1);
    assert_eq!(content(&user.next().await), "0");
    assert_eq!(user.disconnected().await.as_deref(), Some("internal error"));
    user.connected().await;
}
