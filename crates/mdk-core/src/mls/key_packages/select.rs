//! Choosing among the KeyPackages that an account has published (protocol/key-packages.md A3).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use mdk_wire::{Event, PublicKey};
use openmls_rust_crypto::RustCrypto;

use crate::mls::key_packages::check::{ValidKeyPackage, check};

/// The event to invite an account with, among those it has published; `None` when none is usable. A bad
/// record is passed over.
pub(crate) fn select(events: &[Event], crypto: &RustCrypto, now: u64) -> Option<Event> {
    let candidates = events.iter().filter_map(|event| check(event, crypto, now).ok());
    choose(candidates).map(|chosen| chosen.event)
}

fn choose(candidates: impl Iterator<Item = ValidKeyPackage>) -> Option<ValidKeyPackage> {
    let mut slots: BTreeMap<(PublicKey, String), ValidKeyPackage> = BTreeMap::new();
    for candidate in candidates {
        let slot = (candidate.account, candidate.slot.clone());
        // rule: A3-1 the newest of its slot, then the lower event id.
        let better = slots.get(&slot).is_none_or(|held| {
            (Reverse(candidate.created_at), candidate.event_id)
                < (Reverse(held.created_at), held.event_id)
        });
        if better {
            slots.insert(slot, candidate);
        }
    }
    // rule: A3-2 one that is not last-resort, then the newest, then the lower KeyPackageRef.
    slots
        .into_values()
        .min_by_key(|held| (held.last_resort, Reverse(held.created_at), held.reference))
}
