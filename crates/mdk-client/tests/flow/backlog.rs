//! What waits on a relay for somebody who was away.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_core::{EventBody, NewMessage};
use mdk_relay::{LocalRelay, LocalRelayOptions};

use super::kit::*;
use crate::sampling;

/// What `parts` times `each` messages with a commit between two parts cost somebody who was away.
async fn waits(parts: usize, each: usize) -> u64 {
    let paging = LocalRelayOptions { page_limit: Some(100), ..LocalRelayOptions::default() };
    let relay = LocalRelay::start(paging).await.unwrap();
    let account = Account::new();
    let clock = Arc::new(Paced::default());
    let bob = ready(account.opens_at(clock.clone(), options(&[relay.url()]))).await;
    let alice = ready(Person::at(clock.clone(), options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.follows(&bob, &group).await;
    drop(bob.close().await);

    let mut said = Vec::new();
    for part in 0..parts {
        for n in 0..each {
            said.push(format!("{part}.{n}"));
            alice.says(&group, &said[said.len() - 1]).await;
            clock.pass(Duration::from_millis(500));
        }
        // What was said in an epoch goes out before its end.
        alice.sent().await;
        if part + 1 < parts {
            clock.pass(Duration::from_secs(2));
            alice.renames(&group, &format!("part {part}")).await.unwrap();
            clock.pass(Duration::from_secs(2));
        }
    }
    let slow = ClientOptions { page_limit: 500, ..options(&[relay.url()]) };
    let bob = ready(account.opens_at(clock.clone(), slow)).await;
    let took = bob.steps();
    let stats = bob.client.stats();
    bob.reads(&group, &said).await;
    assert_eq!(bob.told().len(), said.len(), "each once");
    // As they were said, although a relay sorts what is of one second by chance.
    assert_eq!(bob.told(), said);
    assert_eq!(bob.texts(&group), said);
    assert_eq!(bob.group(&group).profile.name, format!("part {}", parts - 2));
    // The second with the oldest event of each page is asked for twice, and no more.
    let events = (parts * each + parts - 1) as u64;
    assert!((events..events * 4 / 3).contains(&stats.backlog_fetched), "{stats:?}");
    assert_eq!(stats.possible_gaps, 0);
    assert_eq!(stats.backlog_processed, stats.backlog_fetched, "{stats:?}");
    assert_eq!(soon("sync", bob.client.sync()).await.unwrap(), 0, "nothing is left");
    took
}

/// A relay that gives a hundred at a time, the newest first. The cost is linear in the number of events: eight times as
/// many take less than sixteen times as much.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_messages_and_twenty_commits_in_pages_of_a_hundred() {
    // Messages between two commits; 239 of them are five thousand in all.
    let each = usize::try_from(sampling::count("backlog_between_commits")).unwrap();
    let (few, many) = (waits(6, 100).await, waits(21, each).await);
    let most = if each > 100 { 16 } else { 6 };
    assert!(few > 0 && many < few * most, "{few} steps, then {many}");
}

/// Sixty at once, on a relay that gives twenty at a time: what it does not give is nothing that can be asked for. Said
/// once for good, to who was away; who was there has all of them, and starts anew without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_that_does_not_fit_a_page_is_told_for_good() {
    let mut paging = LocalRelayOptions { page_limit: Some(20), ..LocalRelayOptions::default() };
    // (by their ids it would give them all)
    paging.reconciles = false;
    let relay = LocalRelay::start(paging).await.unwrap();
    let clock = Arc::new(Paced::default());
    let (of_bob, of_carol) = (Account::new(), Account::new());
    let open =
        async |account: &Account| account.opens_at(clock.clone(), options(&[relay.url()])).await;
    let alice = ready(Person::at(clock.clone(), options(&[relay.url()]))).await;
    let (bob, carol) = (open(&of_bob).await, open(&of_carol).await);
    bob.ready().await;
    carol.ready().await;
    let group = alice.founds(&[relay.url()], &[&bob, &carol]).await;
    alice.settles_with(&group, &[&bob, &carol]).await;
    alice.says(&group, "first").await;
    bob.reads(&group, &["first"]).await;
    drop(bob.close().await);
    // Carol hears all of it live: nothing that she still fetches meets the second half-way.
    carol.reads(&group, &["first"]).await;
    carol.ready().await;
    // Something is older: what comes with it shows that the second was cut.
    clock.pass(Duration::from_secs(5));
    alice.with(|engine| {
        for n in 0..60 {
            let new = NewMessage { text: n.to_string(), kind: 9, ..NewMessage::default() };
            engine.create_message(&group, new).unwrap();
        }
    });
    alice.client.nudge();
    alice.sent().await;
    carol
        .until("all", |engine| {
            (engine.messages(&group, 100, None, None).unwrap().len() == 61).then_some(())
        })
        .await;
    drop(carol.close().await);
    let mut told = Vec::new();
    for _ in 0..2 {
        let bob = open(&of_bob).await;
        bob.ready().await;
        assert!(bob.texts(&group).len() < 61);
        told.push(gaps(&bob));
        assert!(bob.client.stats().possible_gaps > 0);
        drop(bob.close().await);
    }
    assert!(told[0].iter().all(|(count, first, last)| *count == 0 && first <= last), "{told:?}");
    assert!((1..=2).contains(&told[0].len()), "one in an hour: {told:?}");
    assert_eq!(told[0], told[1]);
    let carol = open(&of_carol).await;
    carol.ready().await;
    assert_eq!(gaps(&carol), []);
}

fn gaps(person: &Person) -> Vec<(u64, u64, u64)> {
    let told = person.with(|engine| engine.events(0, 1_000_000)).unwrap();
    let gaps = told.into_iter().filter_map(|event| match event.body {
        EventBody::HistoryGap { count, first, last } => Some((count, first, last)),
        _ => None,
    });
    gaps.collect()
}
