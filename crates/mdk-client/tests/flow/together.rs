//! Histories of several relays, each with what the others have not.

use std::collections::BTreeSet;
use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_relay::Faults;

use super::kit::*;

const USUAL: Duration = Duration::from_secs(10);

/// Commits are on both relays, and lead away from the epochs of messages that are on the second one only.
async fn comes_back(rounds: usize, faults: Faults, together_for: Duration) {
    let (first, second) = (relay().await, relay().await);
    let urls = [first.url(), second.url()];
    let account = Account::new();
    let alice = ready(Person::new(options(&urls))).await;
    let dave = ready(Person::new(options(&urls))).await;
    let bob = ready(account.opens(options(&urls))).await;
    let group = alice.founds(&urls, &[&dave, &bob]).await;
    alice.settles_with(&group, &[&dave, &bob]).await;
    // On both relays.
    dave.sent().await;
    bob.sent().await;
    drop(bob.close().await);

    let mut texts = Vec::new();
    for round in 0..rounds {
        dave.follows(&alice, &group).await;
        first.refuse(Some(BTreeSet::from([445])), "blocked: not here");
        let text = format!("round {round}");
        dave.says(&group, &text).await;
        dave.sent().await;
        texts.push(text);
        first.refuse(Some(BTreeSet::new()), "");
        let before = first.events(445).len();
        alice.self_updates(&group).await;
        until(&first, "the commit", || first.events(445).len() > before).await;
    }
    alice.sent().await;
    assert!(second.events(445).len() >= first.events(445).len() + rounds);

    second.faults(faults);
    let options = ClientOptions { together_for, ..options(&urls) };
    let bob = ready(account.opens(options)).await;
    bob.reads(&group, &texts).await;
    let mut told = bob.told();
    if together_for == USUAL {
        assert_eq!(told, texts);
    } else {
        // (in the order in which they could be read)
        told.sort();
        assert_eq!(told, BTreeSet::from_iter(texts).into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_relay_has_is_read_before_the_commits_of_all_lead_away_from_it() {
    comes_back(40, Faults::default(), USUAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_answers_a_little_later_is_waited_for() {
    let delay = Some(Duration::from_millis(300));
    comes_back(12, Faults { delay, ..Faults::default() }, USUAL).await;
}

/// Where it takes too long the others' commits are read meanwhile, and what was said before them comes after them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_relay_gives_is_read_after_the_commits_as_well() {
    let delay = Some(Duration::from_millis(1_700));
    comes_back(12, Faults { delay, ..Faults::default() }, Duration::from_millis(100)).await;
}
