//! Routing ids that an admin of ours rotates: whoever is there goes along, and so does who was away.

use std::collections::BTreeSet;

use mdk_client::local_relay::LocalRelay;
use mdk_core::GroupUpdate;
use mdk_wire::{Event, GroupId, Keys, NostrGroupId};

use crate::kit::{Person, options, relay, soon};

/// Rotates, and waits until the others know the new id.
async fn rotates(admin: &Person, group: &GroupId, others: &[&Person]) -> NostrGroupId {
    let before = id(admin, group);
    let update = GroupUpdate { rotate_routing: true, ..GroupUpdate::default() };
    let of = group.clone();
    let rotation = admin.commit(move |engine| engine.update_group(&of, update.clone()));
    let new = soon("a rotation", rotation).await.unwrap().nostr_group_id;
    assert_ne!(new, before);
    for other in others {
        let there = |engine: &mut mdk_core::Engine| {
            (engine.group(group).unwrap().nostr_group_id == new).then_some(())
        };
        other.until("the new id", there).await;
    }
    new
}

fn id(person: &Person, group: &GroupId) -> NostrGroupId {
    person.with(|engine| engine.group(group)).unwrap().nostr_group_id
}

/// The ids that the relay has seen on events of groups.
fn seen(relay: &LocalRelay) -> BTreeSet<String> {
    let events = relay.events(445).into_iter();
    let events = events.map(|json| Event::from_json(json.as_bytes()).unwrap());
    events.map(|event| event.tags().iter().find(|t| t[0] == "h").unwrap()[1].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_ours_is_followed_by_all() {
    let relay = relay().await;
    let urls = [relay.url()];
    let dir = tempfile::tempdir().unwrap();
    let paths = ["alice.db", "carol.db"].map(|name| dir.path().join(name));
    let keys = [Keys::generate(), Keys::generate()];
    let alice = Person::open(&paths[0], keys[0].clone(), options(&urls)).await;
    let bob = Person::new(options(&urls)).await;
    let carol = Person::open(&paths[1], keys[1].clone(), options(&urls)).await;
    for person in [&alice, &bob, &carol] {
        person.ready().await;
    }
    let group = alice.founds(&urls, &[&bob, &carol]).await;
    bob.renewed(&group).await;
    carol.renewed(&group).await;
    let mut ids = BTreeSet::from([id(&alice, &group).to_hex()]);
    let mut texts = vec!["before".to_owned()];
    bob.says(&group, "before").await;
    carol.reads(&group, &["before"]).await;
    drop(carol.close().await);

    // More often than the epochs that are retained, with something said by both in each.
    for round in 0..7 {
        ids.insert(rotates(&alice, &group, &[&bob]).await.to_hex());
        for (person, name) in [(&alice, "alice"), (&bob, "bob")] {
            let text = format!("{round}, of {name}");
            person.says(&group, &text).await;
            texts.push(text);
        }
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        alice.reads(&group, &all).await;
        bob.reads(&group, &all).await;
    }
    assert_eq!(ids.len(), 8);
    assert_eq!(seen(&relay), ids);

    // Who was away is led from each id to the next.
    let carol = Person::open(&paths[1], keys[1].clone(), options(&urls)).await;
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    carol.reads(&group, &all).await;
    assert_eq!(id(&carol, &group), id(&alice, &group));
    // Also the one who rotated, opened again.
    rotates(&alice, &group, &[&bob, &carol]).await;
    drop(alice.close().await);
    for (person, text) in [(&bob, "while alice is away"), (&carol, "and I")] {
        person.says(&group, text).await;
        texts.push(text.to_owned());
        person.sent().await;
    }
    let alice = Person::open(&paths[0], keys[0].clone(), options(&urls)).await;
    rotates(&alice, &group, &[&bob, &carol]).await;
    alice.says(&group, "all here").await;
    texts.push("all here".to_owned());
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    for person in [&alice, &bob, &carol] {
        person.reads(&group, &all).await;
    }
}
