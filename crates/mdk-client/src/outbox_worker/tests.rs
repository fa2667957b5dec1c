//! Relays that are away while something is put in.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use mdk_core::{Config, Engine, SystemClock};
use mdk_wire::{Keys, UnsignedEvent};

use super::state::Worker;
use crate::client::shared::Shared;
use crate::options::{ClientOptions, SharedEngine};
use crate::relay_pool::{Origin, URL, in_pause, nowhere};

#[tokio::test]
async fn what_is_put_in_ends_the_pause_of_its_relay() {
    let (pool, mut attempts) = nowhere();
    let keys = Keys::generate();
    let mut engine =
        Engine::in_memory(keys.clone(), Config::default(), Arc::new(SystemClock)).unwrap();
    engine.enable_outbox();
    let list = UnsignedEvent {
        pubkey: keys.public_key(),
        created_at: engine.now(),
        kind: 10_050,
        tags: Vec::new(),
        content: String::new(),
    };
    engine.enqueue(&list.sign(&keys), &[URL.to_owned()]).unwrap();
    let engine = SharedEngine::new(engine);
    let (shared, _inlets, _) = Shared::new(engine, keys, ClientOptions::default(), pool.clone());
    shared.links.touch(URL, Origin::User).await.unwrap();
    let planned = in_pause(&pool, &mut attempts).await;
    Worker::new(shared).load().await.unwrap();
    assert!(attempts.recv().await.unwrap() < planned);
}
