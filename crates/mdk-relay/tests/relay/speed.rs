//! The cost of the layer of faults where it does nothing. Run it to see the figures:
//! `cargo test --release -p mdk-relay --test all relay::speed -- --nocapture`.

use std::time::{Duration, Instant};

use mdk_relay::{LocalRelay, LocalRelayOptions};
use mdk_wire::{Event, Keys};

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
async fn the_layer_adds_little_to_the_round_trip_of_an_event() {
    let bare = LocalRelayOptions { faults: false, ..LocalRelayOptions::default() };
    let bare = LocalRelay::start(bare).await.unwrap();
    let layered = LocalRelay::start(LocalRelayOptions::default()).await.unwrap();
    let mut to_bare = Raw::to(&bare).await;
    let mut to_layered = Raw::to(&layered).await;

    let keys = Keys::generate();
    let events: Vec<_> = (0..2 * ROUNDS as u64)
        .map(|n| by(&keys, 445, n, &[&["h", "aa"]], &"x".repeat(1_000)))
        .collect();
    // One after the other in turns, so that both meet the same machine; the best of three turns.
    let (mut a, mut b) = (Duration::MAX, Duration::MAX);
    for turn in events.chunks(ROUNDS / 3) {
        a = a.min(median(&mut to_bare, turn).await);
        b = b.min(median(&mut to_layered, turn).await);
    }
    println!("EVENT to OK, median: bare {a:?}, with the layer {b:?}");
    // Both meet the same machine; a layer that waited for a timer, of some ten milliseconds at least, would miss it.
    assert!(b < a * 10 + Duration::from_millis(5), "bare {a:?}, with the layer {b:?}");
}
