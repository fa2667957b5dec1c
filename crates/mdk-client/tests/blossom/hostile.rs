//! Servers that lie, stall, flood, redirect, or stand where nobody is to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mdk_client::{
    Blossom, BlossomOptions, ClientError, LOCATOR_KIND, Origin, Pool, PoolOptions, Server,
};

use super::kit::*;

const MAX: u64 = 1 << 20;
const BLOB: &[u8] = b"the file";

/// What the only place said.
async fn said_by(host: &Host, blossom: Blossom) -> String {
    let got = blossom.download(&[host.locator(BLOB)], &[], &hash(BLOB), MAX).await;
    let mut said = reasons(got.unwrap_err());
    assert_eq!(said.len(), 1);
    said.remove(0).1
}

#[tokio::test]
async fn wrong_bytes_are_not_taken() {
    let host = Host::of(b"not the file").await;
    let got = patient().download(&[host.locator(BLOB)], &[], &hash(BLOB), MAX).await;
    assert!(matches!(got, Err(ClientError::MediaCorrupt)), "{got:?}");
}

#[tokio::test]
async fn an_endless_body_is_read_to_the_bound_and_no_further() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let host = Host::start(move |mut conn| {
        let count = count.clone();
        async move {
            conn.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let chunk = [b"10000\r\n".as_slice(), &[0; 0x10000], b"\r\n"].concat();
            while conn.write(&chunk).await {
                count.fetch_add(0x10000, Ordering::SeqCst);
            }
        }
    })
    .await;
    let got = patient().download(&[host.locator(BLOB)], &[], &hash(BLOB), MAX).await;
    assert!(matches!(got, Err(ClientError::MediaTooLarge { limit: MAX })), "{got:?}");
    // The sockets between hold some bytes more.
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < MAX as usize + (16 << 20), "{sent} bytes were taken");
}

#[tokio::test]
async fn an_announced_size_over_the_bound_is_not_read() {
    let host = Host::start(|mut conn| async move {
        conn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999999\r\n\r\n").await;
        conn.gone().await;
    })
    .await;
    let got = patient().download(&[host.locator(BLOB)], &[], &hash(BLOB), MAX).await;
    assert!(matches!(got, Err(ClientError::MediaTooLarge { .. })), "{got:?}");
}

/// One that says something at first, and then the same again and again, with a pause.
async fn saying(first: &'static [u8], again: &'static [u8], pause: Duration) -> Host {
    Host::start(move |mut conn| async move {
        conn.write(first).await;
        while !again.is_empty() && conn.write(again).await {
            tokio::time::sleep(pause).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_comes_to_no_end_or_is_nonsense_is_given_up() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nx: ";
    const NO_ANSWER: &str = "the connection ended without an answer";
    let (at_once, slowly) = (Duration::ZERO, Duration::from_millis(5));
    let drip = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nthe";
    let nonsense = b"SSH-2.0-OpenSSH_9.9\r\n\r\n";
    for (host, blossom, said) in [
        (saying(drip, b"x", slowly).await, hasty(), "too slow: given up"),
        (saying(HEAD, b"x", slowly).await, hasty(), "no answer in time"),
        (saying(HEAD, &[b'x'; 4096], at_once).await, patient(), NO_ANSWER),
        (Host::start(Conn::gone).await, hasty(), "no answer in time"),
        (saying(nonsense, b"", at_once).await, patient(), NO_ANSWER),
        (saying(cut, b"", at_once).await, patient(), "the connection ended early"),
        (
            Host::start(|conn| conn.answer("206 Partial Content", "", BLOB)).await,
            patient(),
            "HTTP 206: Partial Content",
        ),
    ] {
        assert_eq!(said_by(&host, blossom).await, said);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let behind = Host::of(BLOB).await;
    let target = behind.locator(BLOB).1;
    let host = Host::start(move |conn| {
        let headers = format!("location: {target}\r\n");
        async move { conn.answer("302 Found", &headers, b"").await }
    })
    .await;
    assert_eq!(said_by(&host, patient()).await, "HTTP 302: redirects are not followed");
    assert_eq!(behind.count(), 0);
    let upload = patient().upload(&[host.user()], vec![1], None).await;
    assert_eq!(reasons(upload.unwrap_err())[0].1, "HTTP 302: redirects are not followed");
    assert_eq!(behind.count(), 0);
}

#[tokio::test]
async fn words_of_a_server_cannot_command_a_terminal() {
    let host = Host::start(|conn| async move {
        let text = format!(r#"{{"message":"no\u001b[2J\n{}"}}"#, "x".repeat(5000));
        conn.answer("403 Forbidden", "", text.as_bytes()).await;
    })
    .await;
    let said = said_by(&host, patient()).await;
    assert!(said.starts_with("HTTP 403: no[2Jxxx"), "{said}");
    assert!(said.len() < 250);
}

#[tokio::test]
async fn places_of_others_on_private_networks_are_not_dialled() {
    let host = Host::of(BLOB).await;
    let name = hex(&hash(BLOB));
    let port = host.url.rsplit(':').next().unwrap().to_owned();
    let at = |root: String| (LOCATOR_KIND.to_owned(), format!("{root}/{name}"));
    let blossom = Blossom::new(&Pool::new(PoolOptions::default()), BlossomOptions::default());
    for root in [
        host.url.clone(),
        format!("http://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
        format!("https://[::1]:{port}"),
        "https://169.254.169.254".to_owned(),
        "https://10.0.0.1".to_owned(),
        "https://192.168.1.1".to_owned(),
        "https://[fd00::1]".to_owned(),
        "https://printer.local".to_owned(),
        "https://one.one.one.one:25".to_owned(),
    ] {
        let got = blossom.download(&[at(root.clone())], &[], &hash(BLOB), MAX).await;
        let said = reasons(got.unwrap_err());
        assert!(said[0].1.starts_with("this address is not dialled: "), "{root}: {said:?}");
        let server = Server { root, origin: Origin::Peer };
        let got = blossom.upload(&[server], vec![1], None).await;
        let said = reasons(got.unwrap_err());
        assert!(said[0].1.starts_with("this address is not dialled: "), "{said:?}");
    }
    assert_eq!(host.count(), 0);
    // A server that the user named is dialled, also where a message names it first.
    let got = blossom.download(&[host.locator(BLOB)], &[host.user()], &hash(BLOB), MAX).await;
    assert_eq!(got.unwrap(), BLOB);
    // And over TLS where TLS was named, or not at all.
    let tls = Server { root: format!("https://127.0.0.1:{port}"), origin: Origin::User };
    let got = blossom.download(&[], &[tls], &hash(BLOB), MAX).await;
    assert_eq!(reasons(got.unwrap_err())[0].1, "the TLS handshake failed");
}

#[tokio::test]
async fn a_refusal_counts_before_all_is_sent() {
    let host = Host::start(|conn| async move {
        conn.answer("413 Payload Too Large", "x-reason: at most 1 MB\r\n", b"").await;
    })
    .await;
    let got = patient().upload(&[host.user()], vec![0; 32 << 20], None).await;
    assert_eq!(reasons(got.unwrap_err())[0].1, "HTTP 413: at most 1 MB");
}

#[tokio::test]
async fn an_upload_that_is_not_read_or_not_answered_is_given_up() {
    let deaf = Host::start(|conn| async move {
        let _open = conn;
        std::future::pending::<()>().await;
    })
    .await;
    let got = hasty().upload(&[deaf.user()], vec![0; 32 << 20], None).await;
    assert_eq!(reasons(got.unwrap_err())[0].1, "too slow: given up");
    let mute = Host::start(Conn::gone).await;
    let got = hasty().upload(&[mute.user()], vec![0; 1000], None).await;
    assert_eq!(reasons(got.unwrap_err())[0].1, "no answer in time");
}
