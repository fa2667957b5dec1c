//! Routing ids that an admin of ours rotates: whoever is there goes along, and so does who was away.

use std::collections::BTreeSet;

use mdk_core::{Engine, GroupUpdate, NewMessage};
use mdk_relay::LocalRelay;
use mdk_wire::{Event, GroupId, Keys, NostrGroupId};

use super::kit::*;

/// Rotates, and waits until the others know the new id.
async fn rotates(admin: &Person, group: &GroupId, others: &[&Person]) -> NostrGroupId {
    let before = id(admin, group);
    let update = GroupUpdate { rotate_routing: true, ..GroupUpdate::default() };
    let of = group.clone();
    let rotation = admin.commit(move |engine| engine.update_group(&of, update.clone()));
    let new = soon("a rotation", rotation).await.unwrap().nostr_group_id;
    assert_ne!(new, before);
    for other in others {
        other.sees("the new id", group, |group| group.nostr_group_id == new).await;
    }
    new
}

fn id(person: &Person, group: &GroupId) -> NostrGroupId {
    person.group(group).nostr_group_id
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
    let (of_alice, of_carol) = (Account::new(), Account::new());
    let alice = ready(of_alice.opens(options(&urls))).await;
    let bob = ready(Person::new(options(&urls))).await;
    let carol = ready(of_carol.opens(options(&urls))).await;
    let group = alice.founds(&urls, &[&bob, &carol]).await;
    alice.settles_with(&group, &[&bob, &carol]).await;
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
        alice.reads(&group, &texts).await;
        bob.reads(&group, &texts).await;
    }
    assert_eq!(ids.len(), 8);
    assert_eq!(seen(&relay), ids);

    // Who was away is led from each id to the next.
    let carol = of_carol.opens(options(&urls)).await;
    carol.reads(&group, &texts).await;
    assert_eq!(id(&carol, &group), id(&alice, &group));
    // Also the one who rotated, opened again.
    rotates(&alice, &group, &[&bob, &carol]).await;
    drop(alice.close().await);
    for (person, text) in [(&bob, "while alice is away"), (&carol, "and I")] {
        person.says(&group, text).await;
        texts.push(text.to_owned());
        person.sent().await;
    }
    let alice = of_alice.opens(options(&urls)).await;
    rotates(&alice, &group, &[&bob, &carol]).await;
    alice.says(&group, "all here").await;
    texts.push("all here".to_owned());
    for person in [&alice, &bob, &carol] {
        person.reads(&group, &texts).await;
    }
}

/// breaks: another branch under ids of its own, of which nothing tells but a commit that waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_competes_is_heard_under_its_own_ids() {
    let relay = relay().await;
    let urls = [relay.url()];
    let alice = Person::new(options(&urls)).await;
    // Of two commits beside each other alice's wins, so that what is behind bob's decides.
    let keys = std::iter::repeat_with(Keys::generate).find(|keys| alice.key() < keys.public_key());
    let account = Account::of(keys.unwrap());
    let bob = account.opens(options(&urls)).await;
    let carol = Person::new(options(&urls)).await;
    for person in [&alice, &bob, &carol] {
        person.ready().await;
    }
    let group = alice.founds(&urls, &[&bob, &carol]).await;
    alice.settles_with(&group, &[&bob, &carol]).await;
    let (of, bobs) = (group.clone(), account.keys.public_key());
    let promotion = alice.commit(move |engine| engine.promote(&of, &[bobs]));
    soon("a promotion", promotion).await.unwrap();
    for other in [&bob, &carol] {
        other.sees("the admin", &group, |group| group.admins.contains(&bobs)).await;
    }

    // Where nobody hears it bob makes three commits, each with another id.
    let mut away = bob.close().await;
    let mut said = Vec::new();
    for n in 0..3 {
        away.settle().unwrap();
        let rotation = GroupUpdate { rotate_routing: true, ..GroupUpdate::default() };
        let pending = away.update_group(&group, rotation).unwrap();
        away.confirm(pending.id).unwrap();
        said.push(format!("{n}, of bob"));
        let new = NewMessage { text: said[n].clone(), kind: 9, ..NewMessage::default() };
        away.create_message(&group, new).unwrap();
    }
    rotates(&alice, &group, &[&carol]).await;
    // Both listen to alice's id by now, and have asked for no other.
    for (one, other, text) in [(&alice, &carol, "here"), (&carol, &alice, "yes")] {
        one.says(&group, text).await;
        other.until("an answer", |engine| hears(engine, &group, text)).await;
    }
    let bob = Person::start(away, account.keys.clone(), options(&urls), pool()).await;
    let longest = id(&bob, &group);
    for other in [&alice, &carol] {
        other.sees("the longer branch", &group, |group| group.nostr_group_id == longest).await;
        for text in &said {
            other.until("what bob said", |engine| hears(engine, &group, text)).await;
        }
    }
}

fn hears(engine: &mut Engine, group: &GroupId, text: &str) -> Option<()> {
    let messages = engine.messages(group, 100, None, None).unwrap();
    messages.iter().any(|message| message.text == text).then_some(())
}
