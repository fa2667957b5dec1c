//! What could not be published for a long time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_core::{Clock, NewMessage, SystemClock};

use super::kit::*;

/// Written without a network, published when the group is six epochs further. Those who write see where the group is
/// before they publish, and nobody can read what belongs to an epoch that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_epochs_ago_can_be_read() {
    let relay = relay().await;
    let account = Account::new();
    let alice = ready(account.opens(options(&[relay.url()]))).await;
    let bob = ready(Person::new(options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.follows(&bob, &group).await;
    alice.sent().await;
    relay.pause().await;
    let said = ["late 0", "late 1", "late 2"];
    for text in said {
        alice.says(&group, text).await;
    }
    drop(alice.breaks_off().await);
    relay.resume().await.unwrap();
    for _ in 0..6 {
        let group = group.clone();
        bob.self_updates(&group).await;
    }
    let alice = account.opens(options(&[relay.url()])).await;
    bob.reads(&group, &said).await;
    assert_eq!(bob.told(), said);
    alice.sent().await;
    assert_eq!(alice.texts(&group), said);
}

/// What it takes to close with so many messages to publish: steps of the database, and rows of the outbox that were looked
/// at. With `refusing`, the relay puts off what it gets until all that is in the outbox was looked through for something else.
async fn drains(count: usize, refusing: bool) -> (u64, u64) {
    let relay = relay().await;
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    alice.sent().await;
    drop(bob.close().await);
    relay.pause().await;
    alice
        .until("the group", |engine| {
            for n in 0..count {
                let text = n.to_string();
                let new = NewMessage { text, kind: 9, ..NewMessage::default() };
                if engine.create_message(&group, new).is_err() {
                    assert_eq!(n, 0);
                    return None;
                }
            }
            Some(())
        })
        .await;
    let looks = || alice.client.stats().outbox_looks;
    if refusing {
        relay.refuse(Some([445].into()), "rate-limited: slow down");
    }
    alice.client.nudge();
    relay.resume().await.unwrap();
    if refusing {
        let mut refused = None;
        let all_read = |engine: &mut mdk_core::Engine| {
            let first = engine.outbox(1).unwrap();
            if first[0].results[0].attempts == 0 {
                return None;
            }
            // Nothing leaves the outbox, so that all of it is looked through.
            let from = *refused.get_or_insert_with(looks);
            (looks() >= from + 3 * count as u64).then_some(())
        };
        alice.until("looking for something else", all_read).await;
        relay.refuse(Some([].into()), "");
    }
    let (before, started) = (looks(), alice.steps());
    soon("closing", alice.client.close(LONG)).await;
    let looked = looks() - before;
    let mut engine = alice.engine.take().unwrap();
    let took = mdk_core::testing::store_steps(&mut engine).unwrap() - started;
    assert!(engine.outbox(1).unwrap().is_empty());
    assert!(relay.events(445).len() >= count);
    (took, looked)
}

const FEW: usize = 100;
const MANY: usize = 800;
/// Between eight times the work and its square.
const BETWEEN: u64 = 22;

#[tokio::test(flavor = "multi_thread")]
async fn closing_with_many_messages_costs_what_is_linear_in_their_number() {
    let (few, many) = (drains(FEW, false).await.0, drains(MANY, false).await.0);
    assert!(few > 0 && many < few * BETWEEN, "{few} steps, then {many}");
}

/// However much of the outbox was read while all of it had to wait.
#[tokio::test(flavor = "multi_thread")]
async fn sending_after_a_wait_looks_at_as_many_rows_for_each_message() {
    let (few, many) = (drains(FEW, true).await.1, drains(MANY, true).await.1);
    assert!(many < few * BETWEEN, "{few} rows, then {many}");
}

/// What it takes to send ten messages when so many are owed to a relay that is away: rows of the outbox that were looked
/// at. Then the relay comes back.
async fn sends_behind(owed: usize) -> u64 {
    let (relay, away) = (relay().await, relay().await);
    let urls = [relay.url(), away.url()];
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&urls, &[&bob]).await;
    bob.renewed(&group).await;
    alice.settles_with(&group, &[&bob]).await;
    drop(bob.close().await);
    away.pause().await;
    let had = (relay.events(445).len(), away.events(445).len());
    let says = async |count: usize| {
        let there = relay.events(445).len() + count;
        for n in 0..count {
            alice.says(&group, &n.to_string()).await;
        }
        until(&relay, "what was said", || relay.events(445).len() == there).await;
    };
    says(owed).await;
    let before = alice.client.stats().outbox_looks;
    for _ in 0..10 {
        says(1).await;
    }
    let looked = alice.client.stats().outbox_looks - before;
    assert_eq!(away.events(445).len(), had.1);
    away.resume().await.unwrap();
    until(&away, "what was owed", || away.events(445).len() == had.1 + owed + 10).await;
    assert_eq!(away.events(445)[had.1..], relay.events(445)[had.0..], "in order");
    looked
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_costs_the_same_however_much_is_owed_to_a_relay_that_is_away() {
    let (few, many) = (sends_behind(FEW).await, sends_behind(MANY).await);
    assert!(many < 2 * few, "{few} rows, then {many}");
}

/// What bob's list of inbox relays says is out of date: those are dead for good, or do not want him any more.
async fn invites_past(refuses: bool) {
    let (home, old) = (relay().await, relay().await);
    let hasty = ClientOptions {
        welcome_patience: if refuses { LONG } else { Duration::ZERO },
        ..options(&[home.url()])
    };
    let alice = ready(Person::new(hasty)).await;
    let bob = ready(Person::new(options(&[home.url()]))).await;
    let lists = |kind| {
        let (home, bob) = (&home, bob.key().to_hex());
        move || home.events(kind).iter().any(|event| event.contains(&bob))
    };
    until(&home, "bob's inbox list", lists(10_050)).await;
    until(&home, "bob's relay list", lists(10_002)).await;
    let created_at = SystemClock.now_millis() / 1000 + 5;
    let list = by(&bob.keys, 10_050, created_at, &[&["relay", old.url()]], "");
    let relays = [home.url().to_owned()];
    bob.with(|engine| engine.enqueue(&list, &relays)).unwrap();
    bob.client.nudge();
    bob.sent().await;
    if refuses {
        old.refuse(None, "blocked: you are unknown here");
    } else {
        old.pause().await;
    }
    let group = alice.founds(&[home.url()], &[&bob]).await;
    alice.says(&group, "found you").await;
    bob.reads(&group, &["found you"]).await;
    assert_eq!(home.count(1059), 1);
    assert_eq!(old.count(1059), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_outlives_the_death_of_its_recipients_inbox() {
    invites_past(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_an_inbox_refuses_for_good_goes_elsewhere() {
    invites_past(true).await;
}

/// The time, or days ago.
#[derive(Default)]
struct Ago(AtomicU64);

impl Clock for Ago {
    fn now_millis(&self) -> u64 {
        SystemClock.now_millis() - self.0.load(Ordering::SeqCst) * 86_400_000
    }
}

/// A commit comes to the relay with a date of ten days ago, when somebody who is up to date is not connected: what is
/// asked for after that goes back a week. Nothing that follows can be read, so that the group is asked for once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_stands_still_is_read_further_back() {
    let relay = relay().await;
    let clock = Arc::new(Ago::default());
    let options =
        ClientOptions { standstill: Duration::from_millis(50), ..options(&[relay.url()]) };
    let alice = ready(Person::at(clock.clone(), options.clone())).await;
    let bob = ready(Person::new(options.clone())).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    let epoch = bob.group(&group).epoch;
    let there = |engine: &mut mdk_core::Engine| {
        (engine.group(&group).unwrap().epoch == epoch).then_some(())
    };
    alice.until("the self-update", there).await;
    // More than a subscription gives of what is stored.
    let mut said: Vec<String> = (0..110).map(|n| n.to_string()).collect();
    for text in &said {
        alice.says(&group, text).await;
    }

    bob.reads(&group, &said).await;
    soon("sync", bob.client.sync()).await.unwrap();
    let (keys, engine) = (bob.keys.clone(), bob.close().await);
    clock.0.store(10, Ordering::SeqCst);
    let of = group.clone();
    alice.self_updates(&of).await;
    clock.0.store(0, Ordering::SeqCst);
    alice.says(&group, "after").await;
    alice.sent().await;
    said.push("after".to_owned());
    let bob = Person::start(engine, keys, options, pool()).await;
    bob.sees("the commit", &group, |group| group.epoch > epoch).await;
    bob.reads(&group, &said).await;

    alice.sent().await;
}
