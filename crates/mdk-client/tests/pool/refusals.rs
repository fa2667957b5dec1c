//! What relays refuse for the lack of an authentication, and when that is their last word.

use std::sync::atomic::Ordering;

use mdk_client::{ClientError, Origin, Pool, Published, RelayState};

use super::kit::*;

const ALL: &str = r#"{"kinds":[1]}"#;

/// Waits until the status of a relay that is connected has its words.
async fn says(pool: &Pool, words: &str) {
    let status = until(pool, |status| status.last_error.as_deref() == Some(words)).await;
    assert_eq!(status.state, RelayState::Connected);
}

#[tokio::test]
async fn refusals_are_told_and_bounded() {
    bounded(async {
        // Never content: refuses each authentication with a new challenge.
        let relay = Relay::start("", |mut conn, _| async move {
            let mut n = 0;
            while let Some(message) = conn.next().await {
                match message[0].as_str().unwrap() {
                    "AUTH" => {
                        let id = message[1]["id"].as_str().unwrap().to_owned();
                        conn.ok(&id, false, "error: no").await;
                    }
                    "EVENT" => {
                        let id = message[1]["id"].as_str().unwrap().to_owned();
                        conn.ok(&id, false, "auth-required: more").await;
                    }
                    "REQ" => {
                        let id = message[1].as_str().unwrap().to_owned();
                        conn.send(format!("[\"CLOSED\",\"{id}\",\"auth-required: more\"]")).await;
                    }
                    _ => continue,
                }
                n += 1;
                conn.send(format!("[\"AUTH\",\"{n}\"]")).await;
            }
        })
        .await;
        let pool = Pool::new(options());
        let mut user = User::new(16);
        let key = user.account.public_key;
        pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
        user.connected().await;
        let refused = Published::Refused { reason: "auth-required: more".into(), forever: false };
        for _ in 0..5 {
            let event = user.event("x").to_json();
            assert_eq!(pool.publish(&relay.url, &key, &event, PATIENT).await, refused);
            let page = pool.query(&relay.url, &key, ALL, PATIENT).await;
            assert!(matches!(page, Err(ClientError::Refused { .. })), "{page:?}");
        }
        assert!(user.signed.load(Ordering::SeqCst) <= 3, "an account tries three times");
        assert_eq!(relay.connections(), 1);
        says(&pool, "auth-required: more").await;
    })
    .await;
}

#[tokio::test]
async fn what_an_authentication_does_not_mend_is_refused_for_good() {
    bounded(async {
        for words in ["restricted: members only", "auth-required: members only"] {
            for welcome in [true, false] {
                let relay = Relay::start("", move |mut conn, _| async move {
                    conn.send("[\"AUTH\",\"c\"]").await;
                    while let Some(message) = conn.next().await {
                        let id = message[1]["id"].as_str().unwrap_or_default().to_owned();
                        match message[0].as_str().unwrap() {
                            "AUTH" => conn.ok(&id, welcome, "restricted: who are you").await,
                            "EVENT" => conn.ok(&id, false, words).await,
                            _ => true,
                        };
                    }
                })
                .await;
                let pool = Pool::new(options());
                let mut user = User::new(16);
                let key = user.account.public_key;
                pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
                user.connected().await;
                let event = user.event("x").to_json();
                let answer = pool.publish(&relay.url, &key, &event, PATIENT).await;
                let reason = words.to_owned();
                assert_eq!(answer, Published::Refused { reason, forever: true });
                says(&pool, words).await;
            }
        }
    })
    .await;
}

/// It is given a moment for a challenge, once. `auth-required:` leaves open that one comes yet.
#[tokio::test]
async fn a_relay_that_never_sends_a_challenge_has_the_last_word_on_whom_it_lets_in() {
    bounded(async {
        for (words, forever) in
            [("restricted: members only", true), ("auth-required: members only", false)]
        {
            let relay = Relay::start("", move |mut conn, _| async move {
                while let Some(message) = conn.next().await {
                    if message[0] == "EVENT" {
                        conn.ok(message[1]["id"].as_str().unwrap(), false, words).await;
                    }
                }
            })
            .await;
            let pool = Pool::new(options());
            let mut user = User::new(16);
            let key = user.account.public_key;
            pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
            user.connected().await;
            for time in [PATIENT, SHORT, SHORT] {
                let event = user.event("x").to_json();
                let answer = pool.publish(&relay.url, &key, &event, time).await;
                let reason = words.to_owned();
                assert_eq!(answer, Published::Refused { reason, forever });
            }
        }
    })
    .await;
}

/// Neither is anything decided by an authentication that is not answered, nor by one that comes from a clock that is wrong.
#[tokio::test]
async fn what_an_authentication_may_still_mend_is_not_refused_for_good() {
    bounded(async {
        for words in ["restricted: who are you", "auth-required: who are you"] {
            for said in [None, Some("invalid: created_at is too far off")] {
                let relay = Relay::start("", move |mut conn, _| async move {
                    conn.send("[\"AUTH\",\"c\"]").await;
                    while let Some(message) = conn.next().await {
                        let id = message[1]["id"].as_str().unwrap_or_default().to_owned();
                        match (message[0].as_str().unwrap(), said) {
                            ("AUTH", Some(said)) => conn.ok(&id, false, said).await,
                            ("EVENT", _) => conn.ok(&id, false, words).await,
                            _ => true,
                        };
                    }
                })
                .await;
                let pool = Pool::new(options());
                let mut user = User::new(16);
                let key = user.account.public_key;
                pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
                user.connected().await;
                let event = user.event("x").to_json();
                let answer = pool.publish(&relay.url, &key, &event, PATIENT).await;
                let reason = words.to_owned();
                assert_eq!(answer, Published::Refused { reason, forever: false });
            }
        }
    })
    .await;
}

/// An old way to say that it wants an authentication.
#[tokio::test]
async fn restricted_together_with_a_challenge_is_no_refusal_yet() {
    bounded(async {
        let relay = Relay::start("", |mut conn, _| async move {
            let mut known = false;
            while let Some(message) = conn.next().await {
                let id = message[1]["id"].as_str().unwrap_or_default().to_owned();
                match message[0].as_str().unwrap() {
                    "AUTH" => {
                        known = true;
                        conn.ok(&id, true, "").await;
                    }
                    "EVENT" if known => {
                        conn.ok(&id, true, "").await;
                    }
                    "EVENT" => {
                        conn.ok(&id, false, "restricted: who are you").await;
                        conn.send("[\"AUTH\",\"c\"]").await;
                    }
                    _ => {}
                }
            }
        })
        .await;
        let pool = Pool::new(options());
        let mut user = User::new(16);
        pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
        user.connected().await;
        let event = user.event("x").to_json();
        let answer = pool.publish(&relay.url, &user.account.public_key, &event, PATIENT).await;
        assert_eq!(answer, Published::Accepted);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_without_a_challenge_ends_with_the_request() {
    bounded(async {
        let relay = Relay::start("", |mut conn, _| async move {
            while let Some(message) = conn.next().await {
                if message[0] == "EVENT" {
                    let id = message[1]["id"].as_str().unwrap().to_owned();
                    conn.ok(&id, false, "auth-required: guess").await;
                }
            }
        })
        .await;
        let pool = Pool::new(options());
        let mut user = User::new(16);
        pool.open(&relay.url, Origin::User, &user.account).await.unwrap();
        user.connected().await;
        let event = user.event("x").to_json();
        let answer = pool.publish(&relay.url, &user.account.public_key, &event, SHORT).await;
        let reason = "auth-required: guess".to_owned();
        assert_eq!(answer, Published::Refused { reason, forever: false });
    })
    .await;
}
