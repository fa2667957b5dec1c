//! Publishing: answers are taken by event id, and judged.

use mdk_client::{Origin, Pool, Published};

use super::kit::*;

/// A relay that answers each event as `answer` says, with the event's id.
async fn with_answer(answer: &'static str, info: &str) -> Relay {
    Relay::answering(info, move |label, id, _| match label {
        "EVENT" => vec![answer.replace("ID", id)],
        _ => vec![],
    })
    .await
}

async fn publish_to(relay: &Relay, content: &str) -> Published {
    let (pool, user, key) = connected(relay, options()).await;
    pool.publish(&relay.url, &key, &user.event(content).to_json(), PATIENT).await
}

#[tokio::test]
async fn answers_are_judged() {
    let refused = |reason: &str, forever| Published::Refused { reason: reason.into(), forever };
    for (answer, expected) in [
        (r#"["OK","ID",true,""]"#, Published::Accepted),
        (r#"["OK","ID",true]"#, Published::Accepted),
        (r#"["OK","ID",false,"duplicate: have it"]"#, Published::Accepted),
        (r#"["OK","ID",false,"blocked: no"]"#, refused("blocked: no", true)),
        (r#"["OK","ID",false,"invalid: id"]"#, refused("invalid: id", true)),
        (r#"["OK","ID",false,"pow: 20 bits"]"#, refused("pow: 20 bits", true)),
        (r#"["OK","ID",false,"rate-limited: slow"]"#, refused("rate-limited: slow", false)),
        (r#"["OK","ID",false,"error: disk"]"#, refused("error: disk", false)),
        (r#"["OK","ID",false,""]"#, refused("", false)),
    ] {
        let relay = with_answer(answer, "").await;
        assert_eq!(publish_to(&relay, "x").await, expected);
    }
}

#[tokio::test]
async fn what_a_relay_leaves_without_an_answer_is_counted() {
    // Pages come to an end; nothing else does.
    let relay = Relay::answering("", |label, id, _| match label {
        "REQ" if id.starts_with('q') => vec![eose(id)],
        _ => vec![],
    })
    .await;
    let (pool, user, key) = connected(&relay, options()).await;
    assert!(pool.query(&relay.url, &key, ALL, PATIENT).await.unwrap().complete);
    let event = user.event("x").to_json();
    assert_eq!(pool.publish(&relay.url, &key, &event, BRIEF).await, Published::NoAnswer);
    until(&pool, |status| status.unanswered == 1).await;
    pool.subscribe(&relay.url, &key, 1, vec![ALL.to_owned()]).await.unwrap();
    let status = until(&pool, |status| status.unanswered > 1).await;
    assert_eq!((status.unanswered, status.lost), (2, 0));
}

#[tokio::test]
async fn what_is_said_of_no_event_of_ours_is_no_answer() {
    // For another id, and a success without one.
    let other = ok(&"0".repeat(64), true, "");
    for answer in [other, ok("", true, "")] {
        let relay = Relay::answering("", move |label, _, _| {
            (label == "EVENT").then(|| answer.clone()).into_iter().collect()
        })
        .await;
        let (pool, user, key) = connected(&relay, options()).await;
        let event = user.event("x").to_json();
        let answer = pool.publish(&relay.url, &key, &event, BRIEF).await;
        assert_eq!(answer, Published::NoAnswer);
    }
}

#[tokio::test]
async fn a_refusal_without_an_id_means_the_only_event() {
    let relay = with_answer(r#"["OK","",false,"invalid: old"]"#, "").await;
    let reason = "invalid: old".to_owned();
    assert_eq!(publish_to(&relay, "x").await, Published::Refused { reason, forever: true });
    // It never means one of several events.
    let relay = Relay::start("", |mut conn, _| async move {
        for _ in 0..2 {
            conn.expect("EVENT").await;
        }
        conn.send(r#"["OK","",false,"invalid: one of them"]"#).await;
        conn.idle().await;
    })
    .await;
    let (pool, user, key) = connected(&relay, options()).await;
    let (a, b) = (user.event("a").to_json(), user.event("b").to_json());
    let (a, b) = tokio::join!(
        pool.publish(&relay.url, &key, &a, BRIEF),
        pool.publish(&relay.url, &key, &b, BRIEF)
    );
    assert_eq!((a, b), (Published::NoAnswer, Published::NoAnswer));
}

#[tokio::test]
async fn the_bytes_are_sent_as_they_are() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let relay = Relay::start("", move |mut conn, _| {
        let sender = sender.clone();
        async move {
            use futures_util::StreamExt;
            while let Some(Ok(message)) = conn.0.next().await {
                if let Ok(text) = message.into_text() {
                    sender.send(text.to_string()).unwrap();
                }
            }
        }
    })
    .await;
    let (pool, user, _) = connected(&relay, options()).await;
    let event = user.event("é\\n\"").to_json().replace(",\"kind\"", " ,\n\"kind\"");
    let key = user.account.public_key;
    let (answer, frame) = tokio::join!(pool.publish(&relay.url, &key, &event, SHORT), async {
        loop {
            let text = seen.recv().await.unwrap();
            if text.starts_with("[\"EVENT\"") {
                return text;
            }
        }
    });
    assert_eq!(answer, Published::NoAnswer);
    assert_eq!(frame, format!("[\"EVENT\",{event}]"));
}

#[tokio::test]
async fn announced_sizes_refuse_before_sending() {
    let info = r#"{"limitation":{"max_message_length":32768,"max_content_length":30000}}"#;
    let relay = with_answer(r#"["OK","ID",true,""]"#, info).await;
    let Published::Refused { reason, forever: true } =
        publish_to(&relay, &"x".repeat(40_000)).await
    else {
        panic!("refused for its length")
    };
    assert!(reason.contains("32768") && reason.contains("40"), "{reason}");
    let Published::Refused { reason, forever: true } =
        publish_to(&relay, &"x".repeat(31_000)).await
    else {
        panic!("refused for its content")
    };
    assert!(reason.contains("31000") && reason.contains("30000"), "{reason}");
    assert_eq!(publish_to(&relay, &"x".repeat(29_000)).await, Published::Accepted);
}

#[tokio::test]
async fn what_is_no_event_or_no_relay_is_said_at_once() {
    let relay = with_answer(r#"["OK","ID",true,""]"#, "").await;
    let pool = Pool::new(options());
    let user = User::new(16);
    let key = user.account.public_key;
    let event = user.event("x").to_json();
    assert!(matches!(
        pool.publish(&relay.url, &key, &event, PATIENT).await,
        Published::Unreachable { .. }
    ));
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    assert!(matches!(
        pool.publish(&relay.url, &key, "{}", PATIENT).await,
        Published::Refused { forever: true, .. }
    ));
    assert_eq!(pool.publish(&relay.url, &key, &event, PATIENT).await, Published::Accepted);
    pool.close().await;
    assert!(matches!(
        pool.publish(&relay.url, &key, &event, PATIENT).await,
        Published::Unreachable { .. }
    ));
    let again = pool.open(&relay.url, Origin::User, &user.account).await;
    assert!(matches!(again, Err(mdk_client::ClientError::Closed)));
}

#[tokio::test]
async fn nobody_listens() {
    let relay = with_answer("", "").await;
    let url = relay.url.clone();
    drop(relay);
    let pool = Pool::new(options());
    let user = User::new(16);
    pool.open(&url, Origin::User, &user.account).await.unwrap();
    let status = until(&pool, |status| status.last_error.is_some()).await;
    assert!(!status.last_error.unwrap().contains("127.0.0.1"), "no address in an error");
    let event = user.event("x").to_json();
    let answer = pool.publish(&url, &user.account.public_key, &event, PATIENT).await;
    assert!(matches!(answer, Published::Unreachable { .. }));
}

#[tokio::test]
async fn an_answer_is_found_in_a_flood_of_notices() {
    let relay = Relay::answering("", |label, id, _| {
        let mut said = vec!["[\"NOTICE\",\"look at me\"]".to_owned(); 5_000];
        said.push(ok(id, true, ""));
        if label == "EVENT" { said } else { vec![] }
    })
    .await;
    assert_eq!(publish_to(&relay, "x").await, Published::Accepted);
}

#[tokio::test]
async fn many_at_once_are_each_answered_out_of_order() {
    let relay = Relay::start("", |mut conn, _| async move {
        let mut ids = Vec::new();
        while ids.len() < 100 {
            let message = conn.expect("EVENT").await;
            ids.push(message[1]["id"].as_str().unwrap().to_owned());
        }
        for (n, id) in ids.iter().enumerate().rev() {
            conn.ok(id, n % 2 == 0, &format!("error: {id}")).await;
        }
        conn.idle().await;
    })
    .await;
    let pool = Pool::new(options());
    let user = User::new(16);
    let key = user.account.public_key;
    pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (pool, url, event) = (pool.clone(), relay.url.clone(), user.event(&n.to_string()));
        tasks.spawn(async move {
            let answer = pool.publish(&url, &key, &event.to_json(), PATIENT).await;
            (event.id().to_hex(), answer)
        });
    }
    let mut accepted = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (_, Published::Accepted) => accepted += 1,
            (id, Published::Refused { reason, forever: false }) => {
                assert_eq!(reason, format!("error: {id}"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 50);
}
