//! `KeyPackageEvent::parse` on signed events of kind 30443. What it accepts, it can write.

use crate::shared::{Members, ZeroRandom, keys};
use mdk_wire::{KeyPackageEvent, KeyPackageTags, key_package_event, kind};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some(members) = Members::parse(data) else {
        return;
    };
    let event = members
        .unsigned(kind::KEY_PACKAGE, keys(1).public_key())
        .sign_with(keys(1), &mut ZeroRandom);
    let Ok(read) = KeyPackageEvent::parse(&event) else {
        return;
    };
    let tags = KeyPackageTags {
        slot: read.slot.clone(),
        reference: read.reference,
        ciphersuite: read.ciphersuite,
        extensions: read.extensions.clone(),
        proposals: read.proposals.clone(),
        app_components: read.app_components.clone(),
    };
    let event = key_package_event::build(&tags, &read.mls_message, 1, keys(1))
        .expect("what was read can be written");
    let again = KeyPackageEvent::parse(&event).expect("own event is valid");
    assert!(
        again.slot == read.slot
            && again.reference == read.reference
            && again.ciphersuite == read.ciphersuite
    );
    assert!(again.extensions == read.extensions && again.proposals == read.proposals);
    assert!(again.app_components == read.app_components && again.mls_message == read.mls_message);
}
