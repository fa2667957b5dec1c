//! Invites that no relay takes.

use mdk_core::{Delivery, Engine, EventBody, GroupState};
use mdk_wire::PublicKey;

use super::kit::*;

/// What the log says of invites: who, how far, and the words of relays.
fn told(engine: &mut Engine) -> Vec<(PublicKey, Delivery, Vec<String>)> {
    let events = engine.events(0, 10_000).unwrap().into_iter();
    let invites = events.filter_map(|event| match event.body {
        EventBody::InviteDeliveryChanged { account, delivery, errors } => {
            Some((account, delivery, errors.into_iter().map(|(_, words)| words).collect()))
        }
        _ => None,
    });
    invites.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_every_relay_refuses_is_told_and_goes_out_later() {
    for words in ["blocked: no gift wraps", "restricted: members only"] {
        is_told_and_goes_out_later(words).await;
    }
}

async fn is_told_and_goes_out_later(words: &str) {
    let relay = relay().await;
    let account = Account::new();
    let alice = ready(account.opens(options(&[relay.url()]))).await;
    let bob = ready(Person::new(options(&[relay.url()]))).await;
    relay.refuse(Some([1059].into()), words);
    let package = alice.key_package_of(&bob).await;
    let group = alice.creates(&[relay.url()], [package]).await;
    let refused = (bob.key(), Delivery::Queued, vec![words.to_owned()]);
    alice.until("the words", |engine| (!told(engine).is_empty()).then_some(())).await;
    assert_eq!(alice.with(told), std::slice::from_ref(&refused));
    alice.until("the count", |_| (alice.client.stats().outbox_queued == 1).then_some(())).await;
    // It is not waited for at the end, and is there at the next beginning.
    drop(alice.close().await);
    let alice = account.opens(options(&[relay.url()])).await;
    let tried = |engine: &mut Engine| {
        let [item] = engine.outbox(10).unwrap().try_into().ok()?;
        (item.attempts > 3).then_some(())
    };
    alice.until("more attempts", tried).await;
    relay.refuse(Some([].into()), "");
    assert_eq!(bob.joins().await, group);
    assert_eq!(bob.group(&group).state, GroupState::Active);
    alice.sent().await;
    assert_eq!(alice.with(told), [refused, (bob.key(), Delivery::Accepted, vec![])]);
}
