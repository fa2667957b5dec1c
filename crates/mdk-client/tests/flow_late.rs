//! What could not be published for a long time.
#![allow(clippy::unwrap_used, missing_docs)]

mod flow_kit;

use std::time::Duration;

use flow_kit::{Person, options, relay, soon};
use mdk_wire::Keys;

/// Written without a network, published when the group is six epochs further. Those who write see where the group is
/// before they publish, and nobody can read what belongs to an epoch that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_epochs_ago_can_be_read() {
    let relay = relay().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.db");
    let keys = Keys::generate();
    let alice = Person::open(&path, keys.clone(), options(&[relay.url()])).await;
    let bob = Person::new(options(&[relay.url()])).await;
    alice.ready().await;
    bob.ready().await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    let epoch = bob.with(|engine| engine.group(&group)).unwrap().epoch;
    alice
        .until("the self-update", |engine| {
            (engine.group(&group).unwrap().epoch == epoch).then_some(())
        })
        .await;
    alice.sent().await;
    relay.pause().await;
    let said = ["late 0", "late 1", "late 2"];
    for text in said {
        alice.says(&group, text).await;
    }
    soon("closing", alice.client.close(Duration::ZERO)).await;
    drop(alice.engine.take());
    relay.resume().await.unwrap();
    for _ in 0..6 {
        let group = group.clone();
        soon("a commit", bob.commit(move |engine| engine.self_update(&group))).await.unwrap();
    }
    let alice = Person::open(&path, keys, options(&[relay.url()])).await;
    bob.reads(&group, &said).await;
    assert_eq!(bob.told(), said);
    alice.sent().await;
    assert_eq!(alice.texts(&group), said);
}
