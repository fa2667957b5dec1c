//! What a process that died between two calls finds when it comes back.

use std::path::Path;
use std::sync::Arc;

use mdk_core::{Config, Engine, ManualClock, NewGroup};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{EventId, Keys, Secret};

use crate::kit::{Member, RELAY, now};

fn open(folder: &Path, keys: &Keys) -> Engine {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let path = folder.join("account/mdk.db");
    let options = OpenOptions::default();
    let clock = Arc::new(ManualClock::at(now()));
    Engine::open(&path, keys.clone(), &key, &options, Config::default(), clock).unwrap()
}

#[test]
fn welcomes_of_a_confirmed_commit_are_handed_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::generate();
    let mut bob = Member::new("bob");
    let mut alice = open(folder.path(), &keys);
    let pending = alice
        .create_group(NewGroup {
            name: "Lunch".into(),
            relays: vec![RELAY.into()],
            members: vec![bob.key_package()],
            ..NewGroup::default()
        })
        .unwrap();
    let made: Vec<EventId> = pending.welcomes.iter().map(mdk_wire::Event::id).collect();

    // Before the answer is known, the same bytes wait in `pending()`, and nothing is pushed.
    drop(alice);
    let mut alice = open(folder.path(), &keys);
    let listed = alice.pending().unwrap();
    assert_eq!(listed[0].welcomes[0].to_json(), pending.welcomes[0].to_json());
    assert!(alice.tick().unwrap().reply.is_empty());
    alice.confirm(listed[0].id).unwrap();

    // Died after confirming, before the Welcomes were sent.
    drop(alice);
    let mut alice = open(folder.path(), &keys);
    let reply = alice.tick().unwrap().reply;
    assert_eq!(reply.iter().map(mdk_wire::Event::id).collect::<Vec<_>>(), made);
    bob.joins(&reply);
    assert_eq!(bob.engine.groups(None).unwrap().len(), 1);

    // Once per process, since nobody says that they were sent; after three days no more.
    assert!(alice.tick().unwrap().reply.is_empty());
    drop(alice);
    let mut alice = open(folder.path(), &keys);
    let later = ManualClock::at(now() + 3 * 86_400);
    alice.set_clock(Arc::new(later));
    alice.tick().unwrap();
    drop(alice);
    assert!(open(folder.path(), &keys).tick().unwrap().reply.is_empty());
}
