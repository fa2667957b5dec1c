//! What a process that died between two calls finds when it comes back.

use std::sync::Arc;

use mdk_core::{Config, ManualClock};
use mdk_wire::EventId;

use crate::kit::disk::Disk;
use crate::kit::{Member, new_group, now};

#[test]
fn welcomes_of_a_confirmed_commit_are_handed_out_again() {
    let disk = Disk::new("alice");
    let mut bob = Member::new("bob");
    let mut alice = disk.open_with(Config::default()).engine;
    let pending = alice.create_group(new_group("Lunch", vec![bob.key_package()])).unwrap();
    let made: Vec<EventId> = pending.welcomes.iter().map(mdk_wire::Event::id).collect();

    // Before the answer is known, the same bytes wait in `pending()`, and nothing is pushed.
    drop(alice);
    let mut alice = disk.open_with(Config::default()).engine;
    let listed = alice.pending().unwrap();
    assert_eq!(listed[0].welcomes[0].to_json(), pending.welcomes[0].to_json());
    assert!(alice.tick().unwrap().reply.is_empty());
    alice.confirm(listed[0].id).unwrap();

    // Died after confirming, before the Welcomes were sent.
    drop(alice);
    let mut alice = disk.open_with(Config::default()).engine;
    let reply = alice.tick().unwrap().reply;
    assert_eq!(reply.iter().map(mdk_wire::Event::id).collect::<Vec<_>>(), made);
    bob.joins(&reply);
    assert_eq!(bob.engine.groups(None).unwrap().len(), 1);

    // Once per process, since nobody says that they were sent; after three days no more.
    assert!(alice.tick().unwrap().reply.is_empty());
    drop(alice);
    let mut alice = disk.open_with(Config::default()).engine;
    let later = ManualClock::at(now() + 3 * 86_400);
    alice.set_clock(Arc::new(later));
    alice.tick().unwrap();
    drop(alice);
    assert!(disk.open_with(Config::default()).engine.tick().unwrap().reply.is_empty());
}
