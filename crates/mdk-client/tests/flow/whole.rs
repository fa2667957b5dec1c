//! Nothing that is younger is read before what is older: after it that may not be readable any more.

use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_core::GroupState;
use mdk_relay::Faults;

use super::away::Away;
use super::kit::*;
use super::line::{Count, is_page, plain};

/// Waits for the first pages of a catch-up, which the engine does not have yet.
async fn fetches(bob: &Person, count: u64) {
    soon("a page", async {
        while bob.client.stats().backlog_fetched < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// breaks: a relay is silent in the middle of a catch-up, for longer than it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_relay_fell_silent_is_not_read_before_the_rest() {
    let away = Away::new().await;
    let texts = away.says("old", 250).await;
    let paging = Faults { page_limit: Some(50), ..Faults::default() };
    let delayed = |millis| Faults { delay: Some(Duration::from_millis(millis)), ..paging.clone() };
    away.relay.faults(delayed(50));
    let short =
        ClientOptions { request_timeout: Duration::from_millis(400), ..options(&[&away.line.url]) };
    let asked = Count::default();
    let asks = asked.clone();
    away.line.rule(Duration::ZERO, move |message, of_relay| {
        if !of_relay && is_page(&message) {
            asks.add();
        }
        plain(message, of_relay)
    });
    let bob = away.comes_back(short).await;
    fetches(&bob, 50).await;
    away.relay.faults(delayed(60_000));
    // What was on its way, what is asked twice and given up once; and that it is tried again.
    asked.reaches(asked.count() + 4).await;
    away.relay.faults(paging);
    // (what it holds back would come a minute later)
    away.relay.cut().await;
    bob.reads(&away.group, &texts).await;
    assert_eq!(bob.told(), texts);
}

/// breaks: a few at a time, each a little later, while the other relay has given everything.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_giving_does_not_hold_up_what_is_said() {
    let (good, slow) = (relay().await, relay().await);
    let urls = [good.url(), slow.url()];
    let account = Account::new();
    let alice = ready(Person::new(options(&urls))).await;
    let bob = ready(account.opens(options(&urls))).await;
    let group = alice.founds(&urls, &[&bob]).await;
    alice.settles_with(&group, &[&bob]).await;
    drop(bob.close().await);
    for n in 0..120 {
        alice.says(&group, &n.to_string()).await;
    }
    alice.sent().await;
    let delay = Some(Duration::from_millis(1_500));
    slow.faults(Faults { delay, page_limit: Some(10), ..Faults::default() });
    let waited_for = Duration::from_millis(300);
    let bob = account.opens(ClientOptions { waited_for, ..options(&urls) }).await;
    bob.until("all of the good one", |engine| {
        (engine.messages(&group, 200, None, None).unwrap().len() >= 120).then_some(())
    })
    .await;
    let before = good.events(445).len();
    bob.says(&group, "here").await;
    until(&good, "what he says", || good.events(445).len() > before).await;
    assert!(bob.client.stats().backlog_fetched < 240, "the other one is still giving");
}

/// breaks: removed while away, and invited again after two starts.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_again_hears_the_group() {
    let away = Away::new().await;
    away.alice.removes(&away.group, away.account.keys.public_key()).await;
    for _ in 0..2 {
        let bob = ready(away.comes_back(options(&[&away.line.url]))).await;
        bob.sees("the removal", &away.group, |group| group.state == GroupState::Removed).await;
        drop(bob.close().await);
    }
    let bob = ready(away.comes_back(options(&[&away.line.url]))).await;
    let package = away.alice.key_package_of(&bob).await;
    away.alice.adds(&away.group, &package).await.unwrap();
    assert_eq!(bob.joins().await, away.group);
    bob.renewed(&away.group).await;
    away.alice.says(&away.group, "back").await;
    bob.reads(&away.group, &["back"]).await;
}
