//! Blobs on servers that do what they should, and on several of which some do.

use mdk_client::{
    Blossom, BlossomOptions, ClientError, LOCATOR_KIND, Origin, Pool, PoolOptions, Server,
};
use mdk_wire::{Event, Keys};

use super::kit::*;

const MAX: u64 = 1 << 20;

/// The event of an upload.
fn authorization(request: &Request) -> Event {
    use base64::Engine as _;
    let text = request.headers["authorization"].strip_prefix("Nostr ").unwrap();
    let json = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    Event::from_json(&json).unwrap()
}

#[tokio::test]
async fn what_was_uploaded_comes_back() {
    let (host, blossom) = (Host::good().await, patient());
    let blob = vec![7; 300_000];
    let urls = blossom.upload(&[host.user()], blob.clone(), None).await.unwrap();
    assert_eq!(urls, [host.locator(&blob).1]);
    let locators = [(LOCATOR_KIND.to_owned(), urls[0].clone())];
    assert_eq!(blossom.download(&locators, &[], &hash(&blob), MAX).await.unwrap(), blob);
    // Without a locator, by its hash.
    assert_eq!(blossom.download(&[], &[host.user()], &hash(&blob), MAX).await.unwrap(), blob);
    let asked = host.asked.lock().unwrap().clone();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("PUT", "/upload"));
    assert_eq!(asked[0].length(), blob.len());
    assert_eq!(asked[0].headers["x-sha-256"], hex(&hash(&blob)));
    assert_eq!(asked[0].headers["content-type"], "application/octet-stream");
    assert_eq!(asked[1].path, format!("/{}", hex(&hash(&blob))));
    assert!(!asked[1].headers.contains_key("authorization"), "reading tells nobody who reads");
}

#[tokio::test]
async fn every_upload_has_a_key_of_its_own() {
    let (one, two, blossom) = (Host::good().await, Host::good().await, patient());
    let servers = [one.user(), two.user()];
    blossom.upload(&servers, vec![1], None).await.unwrap();
    blossom.upload(&servers, vec![2], None).await.unwrap();
    let key = Keys::generate();
    blossom.upload(&servers[..1], vec![3], Some(&key)).await.unwrap();
    let asked = [one.asked.lock().unwrap().clone(), two.asked.lock().unwrap().clone()].concat();
    let events: Vec<Event> = asked.iter().map(authorization).collect();
    let mut authors: Vec<_> = events.iter().map(|event| event.pubkey()).collect();
    assert!(authors.contains(&key.public_key()), "a key that was given is used");
    authors.sort_unstable();
    authors.dedup();
    assert_eq!(authors.len(), 5);
    for event in &events {
        assert_eq!(event.kind(), 24_242);
    }
}

#[tokio::test]
async fn one_server_that_takes_it_is_enough() {
    let good = Host::good().await;
    let paid = Host::start(|mut conn| async move {
        conn.body().await;
        conn.answer("402 Payment Required", "x-reason: ten sats, please\r\n", b"").await;
    })
    .await;
    let down = Host::good().await.user();
    let blossom = patient();
    let servers = [paid.user(), down.clone(), good.user()];
    let urls = blossom.upload(&servers, vec![5; 10], None).await.unwrap();
    assert_eq!(urls, [good.locator(&[5; 10]).1]);
    let said = reasons(blossom.upload(&servers[..2], vec![5; 10], None).await.unwrap_err());
    let of = |root: &str| &said.iter().find(|(who, _)| who == root).unwrap().1;
    assert_eq!(of(&paid.url), "HTTP 402: ten sats, please");
    assert_eq!(of(&down.root), "the connection was refused or failed");
    assert!(reasons(blossom.upload(&[], vec![5], None).await.unwrap_err()).is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_one_that_has_it() {
    let good = Host::good().await;
    let hung = Host::start(Conn::gone).await;
    // The patience of `first_byte` alone would be 30 seconds.
    let (blossom, servers) = (patient(), [hung.user(), good.user()]);
    let upload = blossom.upload(&servers, vec![5; 10], None);
    let urls = tokio::time::timeout(SOON, upload).await.expect("it is not waited for").unwrap();
    assert_eq!(urls.len(), 1);
}

#[tokio::test]
async fn a_server_that_stores_something_else_has_not_taken_it() {
    for said in [descriptor(&"0".repeat(64), 3), "{}".to_owned(), "[1]".to_owned()] {
        let host = Host::start(move |mut conn| {
            let said = said.clone();
            async move {
                conn.body().await;
                conn.answer("200 OK", "", said.as_bytes()).await;
            }
        })
        .await;
        let said = reasons(patient().upload(&[host.user()], vec![1], None).await.unwrap_err());
        assert_eq!(said[0].1, "it stored something else");
    }
}

#[tokio::test]
async fn each_place_is_tried_in_turn() {
    let blob = b"the file".as_slice();
    let (good, empty) = (Host::good().await, Host::good().await);
    let wrong = Host::of(b"not the file").await;
    let blossom = patient();
    blossom.upload(&[good.user()], blob.to_vec(), None).await.unwrap();
    let locators = [
        ("mirror-v9".to_owned(), "https://mirror.example/blob".to_owned()),
        wrong.locator(blob),
        empty.locator(blob),
    ];
    let got = blossom.download(&locators, &[good.user()], &hash(blob), MAX).await.unwrap();
    assert_eq!(got, blob);
    assert_eq!((wrong.count(), empty.count(), good.count()), (1, 1, 2));
    let said = blossom.download(&locators, &[], &hash(blob), MAX).await.unwrap_err();
    let said = reasons(said);
    assert_eq!(said.len(), 3);
    assert_eq!(said[1], (wrong.url.clone(), "what it sends is not the file".to_owned()));
    assert_eq!(said[2], (empty.url.clone(), "HTTP 404: no such blob".to_owned()));
}

#[tokio::test]
async fn the_largest_blob_is_read_and_one_byte_more_is_not() {
    let blob = vec![9; 5000];
    let (host, blossom) = (Host::good().await, patient());
    blossom.upload(&[host.user()], blob.clone(), None).await.unwrap();
    let servers = [host.user()];
    assert!(blossom.download(&[], &servers, &hash(&blob), 5000).await.is_ok());
    let refused = blossom.download(&[], &servers, &hash(&blob), 4999).await;
    assert!(matches!(refused, Err(ClientError::MediaTooLarge { limit: 4999 })), "{refused:?}");
}

#[tokio::test]
async fn a_root_below_a_path_is_served_too() {
    let (host, blossom) = (Host::good().await, patient());
    let server = Server { root: format!("{}/files", host.url), origin: Origin::User };
    let urls = blossom.upload(&[server], vec![1, 2, 3], None).await.unwrap();
    assert_eq!(urls, [format!("{}/files/{}", host.url, hex(&hash(&[1, 2, 3])))]);
    assert_eq!(host.asked.lock().unwrap()[0].path, "/files/upload");
}

#[tokio::test]
async fn files_go_through_the_proxy_names_too() {
    let host = Host::good().await;
    let address = host.url.strip_prefix("http://").unwrap().parse().unwrap();
    let (proxy, asked) = crate::kit::socks::proxy(address).await;
    let options = PoolOptions { proxy: Some(proxy), ..PoolOptions::default() };
    let blossom = Blossom::new(&Pool::new(options), BlossomOptions::default());
    // A name that only the proxy resolves.
    let server = Server { root: "http://blobs.localhost".to_owned(), origin: Origin::User };
    let servers = [server];
    blossom.upload(&servers, vec![4, 2], None).await.unwrap();
    let got = blossom.download(&[], &servers, &hash(&[4, 2]), MAX).await.unwrap();
    assert_eq!(got, [4, 2]);
    assert_eq!(*asked.lock().unwrap(), ["blobs.localhost"; 2]);
}
