//! A1, A4: the KeyPackages that we publish, and their lifetime.

use std::collections::BTreeSet;

use mdk_wire::{Event, KeyPackageRef};
use openmls::prelude::KeyPackageBundle;
use openmls_traits::storage::StorageProvider as _;

use crate::mls::key_packages::check::MAX_AHEAD;
use crate::mls::key_packages::tests::{Account, now, recorded};
use crate::mls::key_packages::{REPLACED_GRACE, mls_reference, read};
use crate::model::error::Error;
use crate::model::values::KeyPackageInfo;
use crate::operations::key_packages::{forget, make};

const DAY: u64 = 86_400;

fn relays() -> [String; 1] {
    ["wss://relay.example".to_owned()]
}

fn publish(account: &mut Account, at: u64) -> Event {
    account.at(at, |work| make::new_key_package(work, &relays(), None)).unwrap()
}

fn list(account: &mut Account) -> Vec<KeyPackageInfo> {
    account.at(now(), |work| forget::key_packages(work.records.tx)).unwrap()
}

fn has_private_part(account: &mut Account, reference: &KeyPackageRef) -> bool {
    account
        .at(now(), |work| {
            let bundle: Option<KeyPackageBundle> =
                work.records.tx.mls().key_package(&mls_reference(reference)?)?;
            Ok(bundle.is_some())
        })
        .unwrap()
}

fn tag<'e>(event: &'e Event, name: &str) -> Vec<&'e str> {
    let mut found = event.tags().iter().filter(|tag| tag[0] == name);
    let tag = found.next().unwrap();
    assert!(found.next().is_none(), "{name} occurs twice");
    tag[1..].iter().map(String::as_str).collect()
}

#[test]
fn others_read_what_we_list() {
    let mut account = Account::new();
    let event = publish(&mut account, now());
    let [listed] = &list(&mut account)[..] else { panic!("one KeyPackage") };
    // Nothing in the event says where it is.
    let shown = KeyPackageInfo { relays: Vec::new(), ..listed.clone() };
    assert_eq!(read(&event, &account.crypto, now()), Some(shown));
    assert_eq!(read(&event, &account.crypto, listed.expires_at), None, "its time is over");
}

/// The names, their order and the form of the tags are those of recorded KeyPackages (shows: A1-6).
/// The lists are ours:
///
/// | tag | recorded lists more | why we do not |
/// | --- | --- | --- |
/// | mls_extensions | 0x0003 | a default type, which RFC 9420 says not to list |
/// | mls_extensions | 0xf2d2, 0xf2d4 | the roles "send" and "fan-out" need a QUIC transport; only "receive" is asked for |
/// | app_components | 0x8008 | media v1 is frozen: a v2 group that carries it is invalid |
#[test]
fn a1_tags_as_recorded() {
    let recorded = recorded::key_packages().remove(0);
    let event = publish(&mut Account::new(), now());

    let names =
        |event: &Event| -> Vec<String> { event.tags().iter().map(|tag| tag[0].clone()).collect() };
    assert_eq!(names(&event), names(&recorded));
    for same in ["mls_protocol_version", "mls_ciphersuite", "mls_proposals"] {
        assert_eq!(tag(&event, same), tag(&recorded, same), "{same}");
    }
    for hex in ["d", "i"] {
        assert_eq!(tag(&event, hex)[0].len(), tag(&recorded, hex)[0].len(), "{hex}");
    }
    assert_eq!(tag(&event, "mls_extensions"), ["0x0006", "0xf2d1"]);
    assert_eq!(
        tag(&event, "app_components"),
        [
            "0x8001", "0x8002", "0x8003", "0x8004", "0x8005", "0x8006", "0x8007", "0x8009",
            "0x800b", "0x800c"
        ]
    );
    let more = |name: &str| -> BTreeSet<String> {
        let ours = tag(&event, name);
        tag(&recorded, name).into_iter().filter(|v| !ours.contains(v)).map(str::to_owned).collect()
    };
    assert_eq!(more("mls_extensions"), ["0x0003", "0xf2d2", "0xf2d4"].map(str::to_owned).into());
    assert_eq!(more("app_components"), ["0x8008".to_owned()].into());
}

#[test]
fn a4_the_slot_stays_and_time_advances() {
    let mut account = Account::new();
    let at = now();
    let [a, b] = [0, 1].map(|_| publish(&mut account, at));
    assert_eq!(tag(&a, "d"), tag(&b, "d"));
    assert_eq!((a.created_at(), b.created_at()), (at, at + 1));
    let c = publish(&mut account, at + 60);
    assert_eq!(c.created_at(), at + 60);

    let other = publish(&mut Account::new(), at);
    assert_ne!(tag(&a, "d"), tag(&other, "d"));
}

#[test]
fn a4_the_time_of_a_deleted_one_counts() {
    let mut account = Account::new();
    let at = now();
    publish(&mut account, at);
    let reference = list(&mut account)[0].reference;
    account.at(at, |work| forget::delete_key_package(&mut work.records, &reference)).unwrap();
    assert_eq!(publish(&mut account, at).created_at(), at + 1);
}

#[test]
fn a4_a_clock_far_behind_publishes_nothing_in_that_slot() {
    let mut account = Account::new();
    let at = now();
    let slot = tag(&publish(&mut account, at), "d")[0].to_owned();
    let behind =
        account.at(at - MAX_AHEAD, |work| make::new_key_package(work, &relays(), Some(&slot)));
    assert!(matches!(behind, Err(Error::NotAllowed(_))), "{behind:?}");
    assert_eq!(list(&mut account).len(), 1);
    let near = account
        .at(at + 1 - MAX_AHEAD, |work| make::new_key_package(work, &relays(), None))
        .unwrap();
    assert_eq!(tag(&near, "d"), [slot.as_str()]);
    // Nobody has to wait until then: there are other slots (A4-8).
    let elsewhere =
        account.at(at - MAX_AHEAD, |work| make::new_key_package(work, &relays(), None)).unwrap();
    assert_ne!(tag(&elsewhere, "d"), [slot.as_str()]);
}

#[test]
fn slots_of_the_caller() {
    let mut account = Account::new();
    let slot = "0f".repeat(32);
    let event =
        account.at(now(), |work| make::new_key_package(work, &relays(), Some(&slot))).unwrap();
    assert_eq!(tag(&event, "d"), [slot.as_str()]);
    // The default slot is another one, and replaces nothing in this one.
    let other = publish(&mut account, now());
    assert_ne!(tag(&other, "d"), tag(&event, "d"));
    let later = now() + REPLACED_GRACE + 1;
    account.at(later, |work| forget::expire_key_packages(&mut work.records)).unwrap();
    assert_eq!(list(&mut account).len(), 2);

    for bad in ["", "0f", &"0F".repeat(32), &"0g".repeat(32), &"0f".repeat(33)] {
        let refused = account.at(now(), |work| make::new_key_package(work, &relays(), Some(bad)));
        assert!(matches!(refused, Err(Error::InvalidInput { field: "slot", .. })), "{bad}");
    }
}

#[test]
fn arguments_are_checked() {
    let mut account = Account::new();
    let nowhere = account.at(now(), |work| make::new_key_package(work, &[], None));
    assert!(matches!(
        nowhere,
        Err(Error::InvalidInput { field: "relays", limit: Some(1), actual: Some(0), .. })
    ));
    assert!(list(&mut account).is_empty());
    let many: Vec<String> = (0..17).map(|n| format!("wss://relay{n}.example")).collect();
    let refused = account.at(now(), |work| make::new_key_package(work, &many, None));
    assert!(matches!(refused, Err(Error::InvalidInput { field: "relays", .. })));
    let refused = account
        .at(now(), |work| make::new_key_package(work, &["https://relay.example".into()], None));
    assert!(matches!(refused, Err(Error::InvalidRelayUrl(_))));
    for seconds in [0, 84 * DAY + 1] {
        account.config.key_package_lifetime = seconds;
        let refused = account.at(now(), |work| make::new_key_package(work, &relays(), None));
        assert!(
            matches!(
                refused,
                Err(Error::InvalidInput {
                    field: "key_package_lifetime",
                    limit: Some(limit),
                    actual: Some(actual),
                    ..
                }) if actual == seconds && limit == seconds.clamp(1, 84 * DAY)
            ),
            "{seconds}"
        );
    }
    assert!(list(&mut account).is_empty());
}

#[test]
fn a4_nothing_outlives_its_lifetime() {
    let mut account = Account::new();
    account.config.key_package_lifetime = DAY;
    let at = now();
    publish(&mut account, at);
    let reference = list(&mut account)[0].reference;
    account.at(at + DAY - 1, |work| forget::expire_key_packages(&mut work.records)).unwrap();
    assert!(has_private_part(&mut account, &reference));
    account.at(at + DAY, |work| forget::expire_key_packages(&mut work.records)).unwrap();
    assert!(!has_private_part(&mut account, &reference));
    assert!(list(&mut account).is_empty());
}

#[test]
fn a_later_replacement_does_not_extend_the_grace() {
    let mut account = Account::new();
    let at = now();
    publish(&mut account, at);
    let first = list(&mut account)[0].reference;
    publish(&mut account, at + DAY);
    publish(&mut account, at + 6 * DAY);
    account
        .at(at + DAY + REPLACED_GRACE, |work| forget::expire_key_packages(&mut work.records))
        .unwrap();
    assert!(!has_private_part(&mut account, &first));
    assert_eq!(list(&mut account).len(), 2);
}

#[test]
fn deleting() {
    let mut account = Account::new();
    publish(&mut account, now());
    let reference = list(&mut account)[0].reference;
    account.at(now(), |work| forget::delete_key_package(&mut work.records, &reference)).unwrap();
    assert!(!has_private_part(&mut account, &reference));
    assert!(list(&mut account).is_empty());
    let again = account.at(now(), |work| forget::delete_key_package(&mut work.records, &reference));
    assert!(matches!(again, Err(Error::NotFound("KeyPackage"))));
}
