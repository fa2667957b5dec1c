//! Accounts whose KeyPackage no relay takes.

use mdk_client::ClientError;

use crate::kit::{Person, options, relay, soon, until};

const KEY_PACKAGE: u16 = 30_443;

#[tokio::test(flavor = "multi_thread")]
async fn what_relays_have_is_there_although_they_take_no_key_package() {
    for (words, lasting) in [
        ("blocked: kind not allowed", true),
        ("restricted: pay first", true),
        ("auth-required: not you", true),
        ("rate-limited: slow down", false),
    ] {
        let relay = relay().await;
        relay.refuse(Some([KEY_PACKAGE].into()), words);
        let alice = Person::new(options(&[relay.url()])).await;
        soon("the history", alice.client.caught_up()).await.unwrap();
        if lasting {
            assert!(!soon("the words", alice.client.reachable()).await.unwrap(), "{words}");
            assert_eq!(alice.client.refusals(), [(relay.url().to_owned(), words.to_owned())]);
            // Nor is its end waited for.
            alice.sent().await;
        }
        // It is tried again, and then the account can be invited.
        relay.refuse(Some([].into()), "");
        alice.ready().await;
        assert!(soon("being reachable", alice.client.reachable()).await.unwrap());
        assert!(alice.client.refusals().is_empty());
    }
}

/// It has the lists then, too, and few KeyPackages are made meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_later_can_be_found() {
    let relay = relay().await;
    relay.refuse(None, "restricted: pay first");
    let alice = Person::new(options(&[relay.url()])).await;
    assert!(!soon("the words", alice.client.reachable()).await.unwrap());
    alice.sent().await;
    relay.refuse(Some([].into()), "");
    alice.ready().await;
    until(&relay, "the lists", || {
        [10_002, 10_050].iter().all(|kind| !relay.events(*kind).is_empty())
    })
    .await;
    let made = alice.with(|engine| engine.key_packages()).unwrap().len();
    assert!(made <= 4, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_that_takes_it_is_enough() {
    let (first, second) = (relay().await, relay().await);
    first.refuse(Some([KEY_PACKAGE].into()), "blocked: kind not allowed");
    let alice = Person::new(options(&[first.url(), second.url()])).await;
    assert!(soon("being reachable", alice.client.reachable()).await.unwrap());
    alice.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_of_the_end() {
    let relay = relay().await;
    relay.refuse(Some([KEY_PACKAGE].into()), "error: not now");
    let alice = Person::new(options(&[relay.url()])).await;
    soon("the history", alice.client.caught_up()).await.unwrap();
    let waiting = tokio::spawn({
        let client = alice.client.clone();
        async move { client.reachable().await }
    });
    drop(alice.close().await);
    assert!(matches!(soon("the end", waiting).await.unwrap(), Err(ClientError::Closed)));
}
