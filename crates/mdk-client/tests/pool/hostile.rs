//! Relays that lie, flood, dribble or hang: each ends as a status or a typed result, and an honest one goes on next to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::SinkExt;
use mdk_client::{Arrived, ClientError, Origin, Pool, PoolOptions, RelayState};
use mdk_wire::Keys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::kit::*;

/// Opens `bad` and an honest relay with one account, and runs `test` while the honest one keeps answering.
async fn next_to_an_honest_one(
    bad: &Relay,
    options: PoolOptions,
    test: impl AsyncFn(&Pool, &mut User),
) {
    let good = Relay::polite().await;
    let pool = Pool::new(options);
    let mut user = User::new(256);
    let mut other = User::new(16);
    pool.open(&good.url, Origin::User, &other.account).await.unwrap();
    pool.open(&bad.url, Origin::User, &user.account).await.unwrap();
    other.connected().await;
    let key = other.account.public_key;
    let honest = async {
        loop {
            let page = pool.query(&good.url, &key, ALL, PATIENT).await.unwrap();
            assert!(page.complete);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = test(&pool, &mut user) => {},
        () = honest => {},
    }
    let page = pool.query(&good.url, &key, ALL, PATIENT).await.unwrap();
    assert!(page.complete);
    assert_eq!(good.connections(), 1);
}

#[tokio::test]
async fn unasked_and_forged_events_do_not_arrive() {
    let relay = Relay::start("", |mut conn, _| async move {
        let keys = Keys::generate();
        let good = note(&keys, "good", 100).to_json();
        let unasked = note(&keys, "unasked", 5).to_json();
        let tampered = good.replace("\"good\"", "\"evil\"");
        let other = note(&keys, "other", 100);
        let signature = |json: &str| json.split("\"sig\":\"").nth(1).unwrap()[..128].to_owned();
        let forged = good.replace(&signature(&good), &signature(&other.to_json()));
        let uppercase = good.replace(&keys.public_key().to_hex(), &"Z".repeat(64));
        while let Some(message) = conn.next().await {
            if message[0] != "REQ" {
                continue;
            }
            let id = message[1].as_str().unwrap().to_owned();
            for bad in [&unasked, &tampered, &forged, &uppercase] {
                conn.event(&id, bad).await;
            }
            conn.event("nobody", &good).await;
            conn.eose("nobody").await;
            conn.send("[\"CLOSED\",\"nobody\",\"\"]").await;
            conn.event(&id, &good).await;
            conn.eose(&id).await;
        }
    })
    .await;
    next_to_an_honest_one(&relay, options(), async |pool, user| {
        let key = user.account.public_key;
        user.connected().await;
        let filter = r#"{"kinds":[1],"since":50,"until":150}"#;
        let page = pool.query(&relay.url, &key, filter, PATIENT).await.unwrap();
        assert!(page.complete);
        assert_eq!(page.events.iter().map(|e| e.content()).collect::<Vec<_>>(), ["good"]);
        pool.subscribe(&relay.url, &key, 1, vec![filter.into()]).await.unwrap();
        assert_eq!(content(&user.next().await), "good");
        assert!(matches!(user.next().await, Arrived::EndOfStored { .. }));
        assert!(user.is_quiet());
    })
    .await;
}

/// Whether `junk`, sent without end, gets the relay banned.
async fn is_banned_for(junk: impl Fn(&str) -> Message + Send + Sync + 'static) {
    let junk = Arc::new(junk);
    let relay = Relay::start("", move |mut conn, _| {
        let junk = junk.clone();
        async move {
            let id = conn.subscription().await;
            while conn.0.send(junk(&id)).await.is_ok() {}
        }
    })
    .await;
    // (so that a message without an end needs few pieces)
    let small = PoolOptions { max_message_bytes: 64 * 1024, ..options() };
    next_to_an_honest_one(&relay, small, async |pool, user| {
        let key = user.account.public_key;
        user.connected().await;
        pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
        let reason = user.disconnected().await.unwrap();
        assert!(reason.contains("nobody asked"), "{reason}");
        // It is tried again after the longest pause.
        user.connected().await;
    })
    .await;
}

#[tokio::test]
async fn floods_end_in_a_ban() {
    is_banned_for(|_| Message::text("[\"NOTICE\",\"hello\"]")).await;
    is_banned_for(|_| Message::text("this is not JSON")).await;
    is_banned_for(|_| Message::binary(vec![0; 100])).await;
    is_banned_for(|_| Message::text("[".repeat(10_000))).await;
    is_banned_for(|_| Message::Ping(vec![1].into())).await;
    is_banned_for(|_| Message::Pong(vec![1].into())).await;
    is_banned_for(|id| Message::text(format!("[\"EOSE\",\"{id}\"]"))).await;
    // A message that has no end.
    let begun = AtomicUsize::new(0);
    is_banned_for(move |_| {
        let first = begun.fetch_add(1, Ordering::SeqCst) == 0;
        let code = if first { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(Vec::<u8>::new(), OpCode::Data(code), false))
    })
    .await;
    let stray = format!("[\"EVENT\",\"gone\",{}]", note(&Keys::generate(), "x", 1).to_json());
    is_banned_for(move |_| Message::text(stray.clone())).await;
    is_banned_for(|_| Message::text("[\"AUTH\",\"again\"]")).await;
}

/// What is large is banned for its bytes, long before it is as often as what is small.
#[tokio::test]
async fn a_relay_is_banned_for_few_messages_if_they_are_large() {
    let tags = vec!["[\"p\"]"; 300_000].join(",");
    let junk = [
        format!("{{\"kind\":1,\"tags\":[{tags}]}}"),
        note(&Keys::generate(), &"x".repeat(900_000), 1).to_json(),
    ];
    for event in [0, 1] {
        let (said, junk) = (Arc::new(AtomicUsize::new(0)), junk[event].clone());
        let count = said.clone();
        let relay = Relay::start("", move |mut conn, _| {
            let (junk, count) = (junk.clone(), count.clone());
            async move {
                let id = conn.subscription().await;
                while conn.event(&id, &junk).await {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .await;
        next_to_an_honest_one(&relay, options(), async |pool, user| {
            user.connected().await;
            let key = user.account.public_key;
            pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
            let mut reason = None;
            while reason.is_none() {
                if let Arrived::Disconnected { reason: why, .. } =
                    user.arrived.recv().await.unwrap()
                {
                    reason = why;
                }
            }
            assert!(reason.unwrap().contains("nobody asked"));
            let lies = user.account.false_events.load(Ordering::SeqCst);
            assert_eq!(lies > 0, event == 0, "a repetition is no lie");
        })
        .await;
        assert!(said.load(Ordering::SeqCst) < 300);
    }
}

#[tokio::test]
async fn hanging_up_does_not_clear_the_account() {
    let relay = Relay::start("", |mut conn, _| async move {
        // A quarter of what is borne.
        for _ in 0..2_500 {
            conn.send("[\"NOTICE\",\"\"]").await;
        }
        let _ = conn.0.close(None).await;
        conn.idle().await;
    })
    .await;
    let pool = Pool::new(PoolOptions { reconnect_max: Duration::from_secs(500), ..options() });
    let user = User::new(1_000);
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    until_state(&pool, RelayState::Banned).await;
    assert_eq!(relay.connections(), 5);
}

#[tokio::test]
async fn an_event_that_is_repeated_to_a_live_subscription_arrives_once() {
    let relay = Relay::start("", |mut conn, _| async move {
        let keys = Keys::generate();
        let id = conn.subscription().await;
        let one = note(&keys, "one", 7).to_json();
        for n in 0..200 {
            conn.event(&id, &one).await;
            conn.event(&id, &note(&keys, &n.to_string(), 7).to_json()).await;
        }
        conn.eose(&id).await;
        conn.idle().await;
    })
    .await;
    next_to_an_honest_one(&relay, options(), async |pool, user| {
        let key = user.account.public_key;
        user.connected().await;
        pool.subscribe(&relay.url, &key, 1, vec![ALL.into()]).await.unwrap();
        let mut texts = Vec::new();
        loop {
            match user.next().await {
                Arrived::EndOfStored { .. } => break,
                event => texts.push(content(&event)),
            }
        }
        assert_eq!(texts.len(), 201);
        assert_eq!(texts[..2], ["one", "0"]);
        assert_eq!(texts.iter().filter(|text| *text == "one").count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_banned_relay_is_left_alone_for_the_longest_pause() {
    let relay =
        Relay::start(
            "",
            |mut conn, _| async move { while conn.send("[\"NOTICE\",\"\"]").await {} },
        )
        .await;
    let pool = Pool::new(PoolOptions { reconnect_max: Duration::from_secs(500), ..options() });
    let user = User::new(16);
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    let status = until_state(&pool, RelayState::Banned).await;
    let wait = status.next_attempt.unwrap().duration_since(std::time::SystemTime::now());
    assert!(wait.unwrap() > Duration::from_secs(400));
}

#[tokio::test]
async fn an_endless_page_is_cut() {
    let relay = Relay::start("", |mut conn, _| async move {
        let keys = Keys::generate();
        let id = conn.subscription().await;
        let mut n = 0;
        while conn.event(&id, &note(&keys, &format!("{n}"), 7).to_json()).await {
            n += 1;
        }
    })
    .await;
    let options = PoolOptions { max_page_events: 50, ..options() };
    next_to_an_honest_one(&relay, options, async |pool, user| {
        let key = user.account.public_key;
        let page = pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap();
        assert!(!page.complete);
        assert_eq!(page.events.len(), 50);
    })
    .await;
}

#[tokio::test]
async fn a_page_is_cut_at_its_bytes_and_the_same_event_counts_once() {
    let relay = Relay::start("", |mut conn, _| async move {
        let keys = Keys::generate();
        let id = conn.subscription().await;
        for n in 0..10 {
            let event = note(&keys, &format!("{n}{}", "x".repeat(9_000)), 7).to_json();
            for _ in 0..3 {
                conn.event(&id, &event).await;
            }
        }
        conn.idle().await;
    })
    .await;
    let options = PoolOptions { max_page_bytes: 50_000, ..options() };
    next_to_an_honest_one(&relay, options, async |pool, user| {
        let key = user.account.public_key;
        let page = pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap();
        assert!(!page.complete);
        let first = page.events.iter().map(|event| event.content()[..1].to_owned());
        assert_eq!(first.collect::<String>(), "01234");
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_never_ends_a_page_gives_what_it_gave() {
    let relay = Relay::start("", |mut conn, _| async move {
        let id = conn.subscription().await;
        conn.event(&id, &note(&Keys::generate(), "only", 7).to_json()).await;
        conn.idle().await;
    })
    .await;
    next_to_an_honest_one(&relay, options(), async |pool, user| {
        let key = user.account.public_key;
        user.connected().await;
        let page = pool.query(&relay.url, &key, ALL, SHORT).await.unwrap();
        assert!(!page.complete);
        assert_eq!(page.events.len(), 1);
        let page = pool.query(&relay.url, &key, ALL, BRIEF).await;
        assert!(matches!(page, Err(ClientError::NoAnswer)));
    })
    .await;
}

/// Whether a connection ends, next to an honest one, and this is said of it.
async fn ends(relay: &Relay, options: PoolOptions, said: &str) {
    next_to_an_honest_one(relay, options, async |_, user| {
        user.connected().await;
        let reason = user.disconnected().await.unwrap();
        assert!(reason.contains(said), "{reason}");
    })
    .await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection_also_by_its_header_alone() {
    let relay = Relay::start("", |mut conn, number| async move {
        if number == 1 {
            conn.send(format!("[\"NOTICE\",\"{}\"]", "x".repeat(3 << 20))).await;
        } else {
            // A text frame of 2^62 bytes costs nothing.
            let mut header = vec![0x81, 127];
            header.extend((1_u64 << 62).to_be_bytes());
            conn.0.get_mut().write_all(&header).await.unwrap();
        }
        conn.idle().await;
    })
    .await;
    ends(&relay, options(), "size limit").await;
    ends(&relay, options(), "size limit").await;
}

#[tokio::test]
async fn dribbled_bytes_are_silence() {
    let relay = Relay::start("", |mut conn, _| async move {
        let mut frame = vec![0x81, 126, 0xff, 0xff];
        frame.resize(70_000, b'x');
        for byte in frame {
            if conn.0.get_mut().write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let options = PoolOptions { keepalive: Duration::from_secs(2), ..options() };
    ends(&relay, options, "silent").await;
}

#[tokio::test]
async fn a_quiet_relay_that_answers_pings_stays() {
    let relay = Relay::start("", |conn, _| conn.idle()).await;
    let (pool, mut user, _) =
        connected(&relay, PoolOptions { keepalive: Duration::from_secs(1), ..options() }).await;
    let first = until(&pool, |status| status.latency.is_some()).await.latency;
    for _ in 0..3 {
        // Three keepalives of silence.
        let answer = pool.query(&relay.url, &user.account.public_key, ALL, SHORT).await;
        assert!(matches!(answer, Err(ClientError::NoAnswer)));
    }
    assert_ne!(pool.status()[0].latency, first, "it was pinged again");
    assert!(user.is_quiet() && relay.connections() == 1);
}

#[tokio::test]
async fn a_relay_that_does_not_read_is_left() {
    let relay = Relay::start("", |conn, _| async move {
        let _held = conn;
        std::future::pending::<()>().await;
    })
    .await;
    let options = PoolOptions {
        connect_timeout: Duration::from_millis(300),
        keepalive: Duration::from_secs(30),
        ..options()
    };
    next_to_an_honest_one(&relay, options, async |pool, user| {
        user.connected().await;
        let key = user.account.public_key;
        let event = user.event(&"x".repeat(400_000)).to_json();
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let (pool, url, event) = (pool.clone(), relay.url.clone(), event.clone());
            many.spawn(async move { pool.publish(&url, &key, &event, PATIENT).await });
        }
        let reason = user.disconnected().await.unwrap();
        assert!(reason.contains("does not read"), "{reason}");
        while let Some(answer) = many.join_next().await {
            assert_ne!(answer.unwrap(), mdk_client::Published::Accepted);
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_hangs_up_at_once_is_not_dialled_at_once() {
    let relay = Relay::start("", |_, _| async {}).await;
    let pool = Pool::new(PoolOptions {
        reconnect_min: Duration::from_millis(50),
        reconnect_max: Duration::from_secs(500),
        ..options()
    });
    let user = User::new(1_000);
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    let far = |status: &mdk_client::RelayStatus| {
        status.next_attempt.is_some_and(|at| {
            at.duration_since(std::time::SystemTime::now())
                .is_ok_and(|left| left > Duration::from_millis(400))
        })
    };
    until(&pool, far).await;
    assert!(relay.connections() <= 8, "{} connections", relay.connections());
}

#[tokio::test]
async fn a_handshake_that_never_ends_ends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            held.push(tokio::spawn(async move {
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                for byte in b"HTTP/1.1 101 Switching Protocols\r\n".iter().cycle() {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }));
        }
    });
    let options = PoolOptions { connect_timeout: Duration::from_millis(200), ..options() };
    let pool = Pool::new(options);
    let user = User::new(16);
    pool.open(&url, Origin::User, &user.account).await.unwrap();
    let status = until(&pool, |status| status.last_error.is_some()).await;
    assert_eq!(status.last_error.as_deref(), Some("no connection in time"));
    server.abort();
}

#[tokio::test]
async fn information_that_is_none_is_none() {
    for info in ["", "not json", "[]", "null", &format!("{{\"name\":\"{}\"}}", "x".repeat(300_000))]
    {
        let relay = Relay::start(info, |conn, _| conn.polite()).await;
        let pool = Pool::new(options());
        let user = User::new(16);
        pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
        assert_eq!(pool.info(&relay.url).await, None);
    }
    let odd = r#"{"limitation":{"max_limit":"many","max_subscriptions":-1,"auth_required":1},"supported_nips":[1,"x",99999999]}"#;
    let relay = Relay::start(odd, |conn, _| conn.polite()).await;
    let pool = Pool::new(options());
    let user = User::new(16);
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    let info = pool.info(&relay.url).await.unwrap();
    assert_eq!((info.max_limit, info.max_subscriptions, info.auth_required), (None, None, None));
    assert_eq!(info.supported_nips, [1]);
    assert_eq!(pool.info("wss://nobody.example.org").await, None);
}
