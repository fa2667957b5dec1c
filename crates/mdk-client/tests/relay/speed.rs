//! What the proxy costs. Run it to see the figures:
//! `cargo test --release -p mdk-client --test all relay::speed -- --nocapture`.

use std::time::{Duration, Instant};

use mdk_client::local_relay::{LocalRelay, LocalRelayOptions};
use mdk_wire::{Event, Keys};
use nostr_relay_builder::RelayBuilder;
use nostr_relay_builder::builder::RateLimit;
use tokio_tungstenite::connect_async;

use super::kit::{Raw, by};

const ROUNDS: usize = 300;

async fn median(raw: &mut Raw, events: &[Event]) -> Duration {
    let mut times = Vec::with_capacity(events.len());
    for event in events {
        let begin = Instant::now();
        raw.store(event).await;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_adds_little_to_the_round_trip_of_an_event() {
    let limits = RateLimit { max_reqs: 500, notes_per_minute: 1_000_000_000 };
    let direct = nostr_relay_builder::LocalRelay::new(RelayBuilder::default().rate_limit(limits));
    direct.run().await.unwrap();
    let ours = LocalRelay::start(LocalRelayOptions::default()).await.unwrap();
    let mut to_direct = Raw(connect_async(direct.url().await.to_string()).await.unwrap().0);
    let mut to_ours = Raw::to(&ours).await;

    let keys = Keys::generate();
    let events: Vec<_> = (0..2 * ROUNDS as u64)
        .map(|n| by(&keys, 445, n, &[&["h", "aa"]], &"x".repeat(1_000)))
        .collect();
    // One after the other in turns, so that both meet the same machine; the best of three turns.
    let (mut a, mut b) = (Duration::MAX, Duration::MAX);
    for turn in events.chunks(ROUNDS / 3) {
        a = a.min(median(&mut to_direct, turn).await);
        b = b.min(median(&mut to_ours, turn).await);
    }
    println!("EVENT to OK, median: direct {a:?}, through the proxy {b:?}");
    // Both meet the same machine; a proxy that waited for a timer, of some ten milliseconds at least, would miss it.
    assert!(b < a * 10 + Duration::from_millis(5), "direct {a:?}, through the proxy {b:?}");
}
