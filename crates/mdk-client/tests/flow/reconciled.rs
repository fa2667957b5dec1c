//! A history of which some is here already, on relays that say what they have (NIP-77) and on those that do not.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mdk_relay::{Faults, LocalRelay, LocalRelayOptions};

use super::kit::*;

/// Messages before somebody goes away, and while they are away.
const BEFORE: usize = 60;
const AWAY: usize = 5;

/// How many events somebody fetches who comes back to a relay that has become like this.
async fn fetches(reconciles: bool, faults: Faults) -> u64 {
    let options_of = LocalRelayOptions { reconciles, ..LocalRelayOptions::default() };
    let relay = LocalRelay::start(options_of).await.unwrap();
    let account = Account::new();
    let clock = Arc::new(Paced::default());
    let bob = ready(account.opens_at(clock.clone(), options(&[relay.url()]))).await;
    let alice = ready(Person::at(clock.clone(), options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.follows(&bob, &group).await;
    let mut said = Vec::new();
    let mut bob = Some(bob);
    for n in 0..BEFORE + AWAY {
        if n == BEFORE {
            let bob = bob.take().unwrap();
            bob.reads(&group, &said).await;
            drop(bob.close().await);
        }
        said.push(n.to_string());
        alice.says(&group, &said[n]).await;
        clock.pass(Duration::from_secs(1));
    }
    alice.sent().await;
    relay.faults(faults);
    let opened = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let bob = ready(account.opens_at(clock.clone(), options(&[relay.url()]))).await;
    bob.reads(&group, &said).await;
    assert_eq!(bob.told(), said);
    let complete: Vec<_> = bob.client.status().iter().map(|one| one.complete_as_of).collect();
    assert!(matches!(complete[..], [Some(at)] if at >= opened), "{complete:?} from {opened}");
    let stats = bob.client.stats();
    assert_eq!((stats.possible_gaps, stats.backlog_processed), (0, stats.backlog_fetched));
    assert_eq!(soon("sync", bob.client.sync()).await.unwrap(), 0, "nothing is left");
    stats.backlog_fetched
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_says_what_it_has_gives_only_what_is_missing() {
    let fetched = fetches(true, Faults::default()).await;
    assert!((AWAY as u64..2 * AWAY as u64).contains(&fetched), "{fetched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_is_paged_through() {
    let fetched = fetches(false, Faults::default()).await;
    assert!(fetched >= (BEFORE + AWAY) as u64, "{fetched}");
}

/// It gives fewer at a time than it was asked for, and does not announce that.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_give_what_it_names_is_paged_through() {
    let fewer = Faults { page_limit: Some(AWAY - 1), ..Faults::default() };
    let fetched = fetches(true, fewer).await;
    assert!(fetched >= (BEFORE + AWAY) as u64, "{fetched}");
}
