//! What relays refuse for the lack of an authentication, and when that is their last word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mdk_client::{ClientError, Pool, Published, RelayState};

use super::kit::*;

/// Waits until the status of a relay that is connected has its words.
async fn says(pool: &Pool, words: &str) {
    let status = until(pool, |status| status.last_error.as_deref() == Some(words)).await;
    assert_eq!(status.state, RelayState::Connected);
}

fn refused(words: &str, forever: bool) -> Published {
    Published::Refused { reason: words.to_owned(), forever }
}

async fn published(relay: &Relay, pool: &Pool, user: &User, time: Duration) -> Published {
    let event = user.event("x").to_json();
    pool.publish(&relay.url, &user.account.public_key, &event, time).await
}

#[tokio::test]
async fn refusals_are_told_and_bounded() {
    const WORDS: &str = "auth-required: more";
    // Never content: refuses each authentication with a new challenge.
    let mut n = 0;
    let relay = Relay::answering("", move |label, id, _| {
        let said = match label {
            "AUTH" => ok(id, false, "error: no"),
            "EVENT" => ok(id, false, WORDS),
            "REQ" => closed(id, WORDS),
            _ => return vec![],
        };
        n += 1;
        vec![said, challenge(&n.to_string())]
    })
    .await;
    let (pool, user, key) = connected(&relay, options()).await;
    for _ in 0..5 {
        assert_eq!(published(&relay, &pool, &user, PATIENT).await, refused(WORDS, false));
        let page = pool.query(&relay.url, &key, ALL, PATIENT).await;
        assert!(matches!(page, Err(ClientError::Refused { .. })), "{page:?}");
    }
    assert!(user.signed.load(Ordering::SeqCst) <= 3, "an account tries three times");
    assert_eq!(relay.connections(), 1);
    says(&pool, WORDS).await;
}

/// It is mended by no authentication that was answered. One that is not answered decides nothing, nor does one that comes
/// from a clock that is wrong.
#[tokio::test]
async fn what_an_authentication_does_not_mend_is_refused_for_good() {
    let no = Some((false, "restricted: who are you"));
    let clock = Some((false, "invalid: created_at is too far off"));
    for words in ["restricted: members only", "auth-required: members only"] {
        for (answer, forever) in
            [(Some((true, "")), true), (no, true), (None, false), (clock, false)]
        {
            let relay = Relay::answering("", move |label, id, _| match label {
                "OPEN" => vec![challenge("c")],
                "AUTH" => answer.iter().map(|(welcome, said)| ok(id, *welcome, said)).collect(),
                "EVENT" => vec![ok(id, false, words)],
                _ => vec![],
            })
            .await;
            let (pool, user, _) = connected(&relay, options()).await;
            let answer = published(&relay, &pool, &user, PATIENT).await;
            assert_eq!(answer, refused(words, forever));
            if forever {
                says(&pool, words).await;
            }
        }
    }
}

/// It is given a moment for a challenge, once. `auth-required:` leaves open that one comes yet.
#[tokio::test]
async fn a_relay_that_never_sends_a_challenge_has_the_last_word_on_whom_it_lets_in() {
    for (words, forever, times) in [
        ("restricted: members only", true, vec![PATIENT, SHORT, SHORT]),
        ("auth-required: members only", false, vec![PATIENT, SHORT, SHORT]),
        // A request that ends before that moment does is refused as well.
        ("auth-required: guess", false, vec![SHORT]),
    ] {
        let relay = Relay::answering("", move |label, id, _| match label {
            "EVENT" => vec![ok(id, false, words)],
            _ => vec![],
        })
        .await;
        let (pool, user, _) = connected(&relay, options()).await;
        for time in times {
            let answer = published(&relay, &pool, &user, time).await;
            assert_eq!(answer, refused(words, forever));
        }
    }
}

/// An old way to say that it wants an authentication.
#[tokio::test]
async fn restricted_together_with_a_challenge_is_no_refusal_yet() {
    let mut known = false;
    let relay = Relay::answering("", move |label, id, _| {
        known |= label == "AUTH";
        match label {
            "EVENT" if !known => vec![ok(id, false, "restricted: who are you"), challenge("c")],
            label => politely(label, id),
        }
    })
    .await;
    let (pool, user, _) = connected(&relay, options()).await;
    assert_eq!(published(&relay, &pool, &user, PATIENT).await, Published::Accepted);
}
