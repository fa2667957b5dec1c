//! Dialling: proxy, redirect, names, and addresses that somebody else named.

use mdk_client::{ClientError, Origin, Pool, PoolOptions, normal_url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::kit::*;
use crate::kit::socks::proxy;

const ALL: &str = r#"{"kinds":[1]}"#;

#[tokio::test]
async fn everything_goes_through_the_proxy_names_too() {
    bounded(async {
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
    })
    .await;
}

#[tokio::test]
async fn what_others_name_is_dialled_with_tls_unless_it_is_allowed_without() {
    bounded(async {
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
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_fails_is_said() {
    bounded(async {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let pool = Pool::new(PoolOptions { proxy: Some(gone), ..options() });
        let user = User::new(16);
        pool.open("wss://relay.example.org", Origin::Peer, &user.account).await.unwrap();
        let status = until(&pool, |status| status.last_error.is_some()).await;
        assert_eq!(status.last_error.as_deref(), Some("the proxy did not connect"));
    })
    .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    bounded(async {
        let target = Relay::start("", |conn, _| conn.polite()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let to = target.url.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let answer =
                    format!("HTTP/1.1 301 Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let pool = Pool::new(options());
        let user = User::new(16);
        pool.open(&url, Origin::User, &user.account).await.unwrap();
        let status = until(&pool, |status| status.last_error.is_some()).await;
        assert!(status.last_error.unwrap().contains("301"));
        assert_eq!(pool.info(&url).await, None);
        assert_eq!(target.connections(), 0);
        server.abort();
    })
    .await;
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_status() {
    bounded(async {
        let pool = Pool::new(options());
        let user = User::new(16);
        pool.open("wss://relay.does-not-exist.invalid", Origin::User, &user.account).await.unwrap();
        let status = until(&pool, |status| status.last_error.is_some()).await;
        assert_eq!(status.last_error.as_deref(), Some("the name could not be resolved"));
    })
    .await;
}

#[tokio::test]
async fn loopback_is_the_users_alone() {
    bounded(async {
        let relay = Relay::start("", |conn, _| conn.polite()).await;
        let pool = Pool::new(options());
        let (mut owner, stranger) = (User::new(16), User::new(16));
        pool.open(&relay.url, Origin::User, &owner.account).await.unwrap();
        owner.connected().await;
        // Neither on its own nor along with the owner's connection.
        let refused = pool.open(&relay.url, Origin::Peer, &stranger.account).await;
        assert!(matches!(refused, Err(ClientError::AddressRefused("loopback"))));
        // What the same account's owner named stays as it is when somebody else names it, too.
        pool.open(&relay.url, Origin::Peer, &owner.account).await.unwrap();
        let key = owner.account.public_key;
        assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
        assert_eq!(pool.status().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_websocket_is_said() {
    bounded(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"SSH-2.0-something\r\n").await;
            }
        });
        for (url, error) in [
            (format!("ws://{at}"), "the WebSocket handshake failed"),
            (format!("wss://{at}"), "the TLS handshake failed"),
        ] {
            let pool = Pool::new(options());
            let user = User::new(16);
            pool.open(&url, Origin::User, &user.account).await.unwrap();
            let status = until(&pool, |status| status.last_error.is_some()).await;
            assert_eq!(status.last_error.as_deref(), Some(error));
        }
        server.abort();
    })
    .await;
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
