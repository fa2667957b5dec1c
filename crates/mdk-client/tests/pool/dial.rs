//! Dialling: proxy, redirect, names, and addresses that somebody else named.

use std::net::SocketAddr;

use mdk_client::{ClientError, Origin, Pool, PoolOptions, normal_url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::kit::*;
use crate::kit::socks::proxy;

#[tokio::test]
async fn everything_goes_through_the_proxy_names_too() {
    let relay = Relay::start(r#"{"name":"x"}"#, |conn, _| conn.polite()).await;
    let (address, asked) = proxy(relay.address).await;
    let pool = Pool::new(PoolOptions { proxy: Some(address), ..options() });
    let user = User::new(16);
    let key = user.account.public_key;
    // A name that no resolver knows: the proxy alone resolves it.
    let url = "ws://relay.hidden-service.onion";
    pool.open(url, Origin::Peer, &user.account).await.unwrap();
    assert!(pool.query(url, &key, ALL, PATIENT).await.unwrap().complete);
    assert!(pool.info(url).await.is_some());
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, vec!["relay.hidden-service.onion"; 2], "relay and information");
    for bad in ["ws://localhost:8080", "ws://printer", "ws://a.local", "ws://10.0.0.1"] {
        let refused = pool.open(bad, Origin::Peer, &user.account).await;
        assert!(matches!(refused, Err(ClientError::AddressRefused(_))), "{bad}");
    }
}

#[tokio::test]
async fn what_others_name_is_dialled_with_tls_unless_it_is_allowed_without() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let strict = PoolOptions { proxy: Some(gone), allow_loopback: true, ..options() };
    let pool = Pool::new(strict.clone());
    let user = User::new(16);
    for plain in ["ws://relay.example.org", "ws://1.1.1.1", "ws://relay.example.org:8080/x"] {
        let refused = pool.open(plain, Origin::Peer, &user.account).await;
        assert!(matches!(refused, Err(ClientError::AddressRefused("not wss://"))), "{plain}");
        pool.open(plain, Origin::User, &user.account).await.unwrap();
    }
    for good in ["wss://relay.example.org", "ws://127.0.0.1:7000", "ws://localhost:7000"] {
        pool.open(good, Origin::Peer, &user.account).await.unwrap();
    }
    let pool = Pool::new(PoolOptions { allow_plaintext: true, ..strict });
    pool.open("ws://relay.example.org", Origin::Peer, &user.account).await.unwrap();
    // Without the proxy that knows it, a hidden service is a name like any other.
    let refused = Pool::new(options()).open("ws://a.onion", Origin::Peer, &user.account).await;
    assert!(matches!(refused, Err(ClientError::AddressRefused("not wss://"))));
}

/// The reason that is given for a relay that this pool cannot reach.
async fn said_of(pool: &Pool, url: &str) -> String {
    let user = User::new(16);
    pool.open(url, Origin::User, &user.account).await.unwrap();
    until(pool, |status| status.last_error.is_some()).await.last_error.unwrap()
}

/// A server that says the same to everybody who has asked, or without being asked.
async fn saying(text: String, asked: bool) -> (SocketAddr, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // (it ends when it is dropped)
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if asked {
                let _ = stream.read(&mut [0; 1_024]).await;
            }
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    (address, server)
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_connection_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (ssh, _server) = saying("SSH-2.0-something\r\n".to_owned(), false).await;
    let behind = PoolOptions { proxy: Some(gone), ..options() };
    for (options, url, said) in [
        (behind, "wss://relay.example.org".to_owned(), "the proxy did not connect"),
        (
            options(),
            "wss://relay.does-not-exist.invalid".to_owned(),
            "the name could not be resolved",
        ),
        (options(), format!("ws://{ssh}"), "the WebSocket handshake failed"),
        (options(), format!("wss://{ssh}"), "the TLS handshake failed"),
    ] {
        assert_eq!(said_of(&Pool::new(options), &url).await, said);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Relay::polite().await;
    let head = format!("HTTP/1.1 301 Moved\r\nlocation: {}\r\n", target.url);
    let (address, _server) = saying(format!("{head}content-length: 0\r\n\r\n"), true).await;
    let (pool, url) = (Pool::new(options()), format!("ws://{address}"));
    assert!(said_of(&pool, &url).await.contains("301"));
    assert_eq!(pool.info(&url).await, None);
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn loopback_is_the_users_alone() {
    let relay = Relay::polite().await;
    let pool = Pool::new(options());
    let (mut owner, stranger) = (User::new(16), User::new(16));
    owner.opens(&pool, &relay.url).await;
    // Neither on its own nor along with the owner's connection.
    let refused = pool.open(&relay.url, Origin::Peer, &stranger.account).await;
    assert!(matches!(refused, Err(ClientError::AddressRefused("loopback"))));
    // A relay of the account's owner stays his when somebody else names it, too.
    pool.open(&relay.url, Origin::Peer, &owner.account).await.unwrap();
    let key = owner.account.public_key;
    assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
    assert_eq!(pool.status().len(), 1);
}

#[test]
fn urls_have_one_form() {
    for (url, normal) in [
        ("wss://Relay.Example.org", "wss://relay.example.org"),
        ("wss://relay.example.org/", "wss://relay.example.org"),
        ("wss://relay.example.org:443/", "wss://relay.example.org"),
        (" wss://relay.example.org/a/#b ", "wss://relay.example.org/a/"),
        ("ws://relay.example.org:80?x=1", "ws://relay.example.org/?x=1"),
        ("ws://2130706433:7000", "ws://127.0.0.1:7000"),
    ] {
        assert_eq!(normal_url(url).unwrap(), normal);
    }
    assert!(normal_url(&format!("wss://a.example/{}", "x".repeat(600))).is_err());
}
