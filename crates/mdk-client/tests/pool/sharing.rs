//! Which accounts share a connection, and when one moves.

use mdk_client::{Arrived, ClientError, Origin, Pool, Published};

use super::kit::*;

#[tokio::test]
async fn accounts_share_connections_by_tens() {
    let relay = Relay::polite().await;
    let pool = Pool::new(options());
    let mut users: Vec<_> = (0..25).map(|_| User::new(16)).collect();
    for user in &mut users {
        user.opens(&pool, &relay.url).await;
        let key = user.account.public_key;
        assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
    }
    assert_eq!((relay.connections(), pool.connections()), (3, 3));
    // Room that became free is used again.
    for user in &mut users {
        pool.release(&relay.url, &user.account.public_key).await;
        user.opens(&pool, &relay.url).await;
    }
    assert_eq!((pool.connections(), pool.status().len()), (3, 1));
    for user in &users {
        pool.release(&relay.url, &user.account.public_key).await;
    }
    assert!(pool.status().is_empty());
}

#[tokio::test]
async fn a_relay_that_announces_much_room_is_shared_by_more() {
    let info = r#"{"limitation":{"max_subscriptions":60}}"#;
    let relay = Relay::start(info, |conn, _| conn.polite()).await;
    let pool = Pool::new(options());
    let mut users: Vec<_> = (0..21).map(|_| User::new(16)).collect();
    for user in &mut users {
        user.opens(&pool, &relay.url).await;
        pool.info(&relay.url).await.unwrap();
    }
    assert_eq!(pool.connections(), 2);
}

#[tokio::test]
async fn an_account_moves_when_there_is_no_room_for_its_subscriptions() {
    let relay = Relay::polite().await;
    let pool = Pool::new(options());
    let (mut many, mut few) = (User::new(64), User::new(64));
    let (of_many, of_few) = (many.account.public_key, few.account.public_key);
    for user in [&mut many, &mut few] {
        user.opens(&pool, &relay.url).await;
    }
    assert_eq!(relay.connections(), 1);
    let subscribe = async |of, id| pool.subscribe(&relay.url, of, id, vec![ALL.into()]).await;
    for id in 0..29 {
        subscribe(&of_many, id).await.unwrap();
        assert!(matches!(many.next().await, Arrived::EndOfStored { .. }));
    }
    assert!(matches!(subscribe(&of_few, 0).await, Err(ClientError::NotConnected)));
    assert!(few.disconnected().await.unwrap().contains("subscriptions"));
    few.connected().await;
    subscribe(&of_few, 0).await.unwrap();
    assert!(matches!(few.next().await, Arrived::EndOfStored { subscription: 0, .. }));
    // Alone, it may have as many as the relay does not forbid.
    for id in 29..60 {
        subscribe(&of_many, id).await.unwrap();
        assert!(matches!(many.next().await, Arrived::EndOfStored { .. }));
    }
    assert_eq!((relay.connections(), pool.connections()), (2, 2));
    for key in [of_few, of_many] {
        let status = pool.status_of(&key);
        assert_eq!(status.len(), 1);
        assert_eq!(status[0].state, mdk_client::RelayState::Connected);
    }
    for (user, key) in [(&few, of_few), (&many, of_many)] {
        let event = user.event("x").to_json();
        let answer = pool.publish(&relay.url, &key, &event, PATIENT).await;
        assert_eq!(answer, Published::Accepted);
    }
}

#[tokio::test]
async fn opened_and_released_in_a_hurry() {
    let relay = Relay::polite().await;
    let pool = Pool::new(options());
    let mut user = User::new(1_024);
    let key = user.account.public_key;
    for _ in 0..200 {
        pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
        pool.release(&relay.url, &key).await;
        tokio::task::yield_now().await;
    }
    assert!(pool.status().is_empty());
    user.opens(&pool, &relay.url).await;
    assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
}

#[tokio::test]
async fn a_pause_can_be_cut_short() {
    let relay = Relay::polite().await;
    let (address, url) = (relay.address, relay.url.clone());
    drop(relay);
    let mut options = options();
    options.reconnect_min = std::time::Duration::from_secs(500);
    options.reconnect_max = std::time::Duration::from_secs(500);
    let pool = Pool::new(options);
    let mut user = User::new(16);
    pool.open(&url, Origin::User, &user.account).await.unwrap();
    until_state(&pool, mdk_client::RelayState::BackingOff).await;
    let _relay = Relay::start_at(address, "", |conn, _| conn.polite()).await;
    pool.reconnect().await;
    user.connected().await;
}
