//! How long a message takes, and how long many accounts. Printed; only gross regressions fail. `MDK_ACCOUNTS=500` takes
//! more of them.

use std::time::{Duration, Instant};

use mdk_client::ClientOptions;

use super::kit::*;
use crate::sampling;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn from_send_to_the_other_members_event() {
    let relay = relay().await;
    let (of_alice, of_bob) = (Account::new(), Account::new());
    let alice = ready(of_alice.opens(options(&[relay.url()]))).await;
    let bob = ready(of_bob.opens(options(&[relay.url()]))).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    bob.renewed(&group).await;
    let (mut there, mut sent, mut trips) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..100 {
        let text = n.to_string();
        // The relay's own round trip, at the same time on the same machine: an event that it has already.
        let known = relay.events(445).pop().unwrap();
        let start = Instant::now();
        alice.pool.publish(relay.url(), &alice.key(), &known, LONG).await;
        trips.push(start.elapsed());
        let start = Instant::now();
        let id = alice.says(&group, &text).await;
        sent.push(start.elapsed());
        bob.until("the message", |engine| engine.message(&group, &id).ok()).await;
        there.push(start.elapsed());
    }
    let (sent, there, trip) = (median(sent), median(there), median(trips));
    println!("send {sent:?}, to the other's event {there:?}, a round trip {trip:?}");
    // A busy machine is slow for all of it, a slow disk for what is sent.
    let bound = Duration::from_millis(300).max((trip + sent) * 40);
    assert!(there < bound, "{there:?}, a round trip {trip:?}, sent {sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_share_connections() {
    let accounts = usize::try_from(sampling::count("accounts")).unwrap();
    let relay = relay().await;
    let pool = pool();
    let usual = ClientOptions { relays: vec![relay.url().to_owned()], ..ClientOptions::default() };
    let start = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..accounts {
        clients.push(Person::over(pool.clone(), usual.clone()).await.client);
    }
    for client in &clients {
        soon("ready", client.ready()).await.unwrap();
    }
    println!("{accounts} accounts ready in {:?}", start.elapsed());
    let connections = relay.connections();
    println!("over {connections} connections");
    assert!(connections <= accounts / 4 + 1, "they share connections");
    for client in &clients {
        client.close(Duration::ZERO).await;
    }
}
