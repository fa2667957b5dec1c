//! What waits on a relay for somebody who was away.
#![allow(clippy::unwrap_used, missing_docs)]

mod flow_kit;

use std::sync::Arc;
use std::time::Duration;

use flow_kit::{Paced, Person, database, options, pool, soon};
use mdk_client::ClientOptions;
use mdk_client::local_relay::{LocalRelay, LocalRelayOptions};
use mdk_core::GroupUpdate;
use mdk_wire::Keys;

#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_messages_and_five_commits_in_pages_of_a_hundred() {
    let paging = LocalRelayOptions { page_limit: Some(100), ..LocalRelayOptions::default() };
    let relay = LocalRelay::start(paging).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bob.db");
    let keys = Keys::generate();
    let clock = Arc::new(Paced::default());
    let engine = database(&path, &keys, clock.clone());
    let bob = Person::start(engine, keys.clone(), options(&[relay.url()]), pool()).await;
    let alice = Person::at(clock.clone(), options(&[relay.url()])).await;
    bob.ready().await;
    alice.ready().await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    let epoch = bob.with(|engine| engine.group(&group)).unwrap().epoch;
    alice
        .until("the self-update", |engine| {
            (engine.group(&group).unwrap().epoch == epoch).then_some(())
        })
        .await;
    drop(bob.close().await);

    let mut said = Vec::new();
    for part in 0..6 {
        for n in 0..100 {
            said.push(format!("{part}.{n}"));
            alice.says(&group, &said[said.len() - 1]).await;
            clock.pass(Duration::from_millis(500));
        }
        // What was said in an epoch goes out before its end.
        alice.sent().await;
        if part < 5 {
            let (name, group) = (format!("part {part}"), group.clone());
            let rename = move |engine: &mut mdk_core::Engine| {
                let update = GroupUpdate { name: Some(name.clone()), ..GroupUpdate::default() };
                engine.update_group(&group, update)
            };
            clock.pass(Duration::from_secs(2));
            soon("a commit", alice.commit(rename)).await.unwrap();
            clock.pass(Duration::from_secs(2));
        }
    }
    let slow = ClientOptions { page_limit: 500, ..options(&[relay.url()]) };
    let engine = database(&path, &keys, clock.clone());
    let bob = Person::start(engine, keys, slow, pool()).await;
    bob.ready().await;
    let stats = bob.client.stats();
    bob.reads(&group, &said.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(bob.told().len(), said.len(), "each once");
    // Times of events are whole seconds: an order is known between these.
    let times: Vec<u64> = bob.history(&group).iter().map(|message| message.created_at).collect();
    let order: Vec<_> = bob.texts(&group).into_iter().zip(&times).collect();
    assert!(times.is_sorted(), "{order:?}");
    assert_eq!(bob.with(|engine| engine.group(&group)).unwrap().name, "part 4");
    // The second with the oldest event of each page is asked for twice, and no more.
    assert!(stats.backlog_fetched >= 605 && stats.backlog_fetched < 800, "{stats:?}");
    assert_eq!(stats.possible_gaps, 0);
    assert_eq!(stats.backlog_processed, stats.backlog_fetched, "{stats:?}");
    assert_eq!(soon("sync", bob.client.sync()).await.unwrap(), 0, "nothing is left");
}
