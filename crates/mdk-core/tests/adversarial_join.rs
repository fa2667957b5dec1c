//! Welcomes and KeyPackages that break one rule each.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "kit/foreign.rs"]
mod foreign;
mod kit;
use foreign::Foreign;
use kit::Member;

#[test]
fn smoke() {
    let mut bob = Member::new("bob");
    let package = bob.key_package();
    let mut alice = Foreign::new();
    let context = alice.context();
    let wrapped = alice.founds_with(&context, &package);
    bob.applies(&wrapped);
}
