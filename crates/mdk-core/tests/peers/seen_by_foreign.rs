//! What we publish, read by a member that is not ours; and what becomes of our KeyPackages.

use mdk_core::NewGroup;
use mdk_wire::v2::IdentityProof;
use mdk_wire::{Event, GroupMessage, KeyPackageEvent, Keys};
use openmls::prelude::{CredentialType, ExtensionType, LeafNode, ProtocolVersion};

use crate::kit::foreign::{Foreign, list, read_key_package};
use crate::kit::{Member, new_group, newcomer, now};

fn entries(leaf: &LeafNode) -> Vec<(u16, Vec<u8>)> {
    let dictionary = leaf.extensions().app_data_dictionary().unwrap().dictionary();
    dictionary.entries().map(|entry| (entry.id(), entry.data().to_vec())).collect()
}

// shows: A1-1, A1-2, A1-3, A1-4, A1-5, A1-6, 2.3-v1
#[test]
fn our_key_package() {
    let (mut bob, event) = newcomer("bob");
    let package = read_key_package(&event);
    let leaf = package.leaf_node();
    let capabilities = leaf.capabilities();
    assert_eq!(capabilities.versions(), [ProtocolVersion::Mls10]);
    assert_eq!(capabilities.ciphersuites().len(), 1);
    let ids: Vec<u16> = capabilities.extensions().iter().map(|id| u16::from(*id)).collect();
    assert_eq!(ids, [0x0006, 0xF2D1]);
    let ids: Vec<u16> = capabilities.proposals().iter().map(|id| u16::from(*id)).collect();
    assert_eq!(ids, [0x0008, 0x000A]);
    assert_eq!(capabilities.credentials(), [CredentialType::Basic]);

    let listed =
        [1, 0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8007, 0x8009, 0x800b, 0x800c];
    let [components, safe_aad, proof] = entries(leaf).try_into().unwrap();
    assert_eq!((components, safe_aad), ((1, list(&listed)), (2, vec![0])));
    assert_eq!(proof.0, 0x8009);
    let proof = IdentityProof::decode(&proof.1).unwrap();
    proof.verify(&bob.key(), leaf.signature_key().as_slice()).unwrap();

    assert!(!package.extensions().contains(ExtensionType::LastResort));
    let own = package.extensions().app_data_dictionary().unwrap().dictionary();
    assert_eq!((own.len(), own.get(&4)), (1, Some(&[][..])));
    let lifetime = package.life_time();
    let span = (lifetime.not_before(), lifetime.not_after());
    assert_eq!(span, (now() - 3600, now() + 84 * 86_400));
    assert!(lifetime.has_acceptable_range());

    let parsed = KeyPackageEvent::parse(&event).unwrap();
    assert_eq!(parsed.reference, bob.engine.key_packages().unwrap()[0].reference);
    assert_eq!(parsed.app_components.into_iter().collect::<Vec<_>>(), listed[1..]);

    // One MLS signer serves them all; the keys of the KeyPackage itself are fresh.
    let next = read_key_package(&bob.key_package());
    assert_eq!(next.leaf_node().signature_key(), leaf.signature_key());
    assert_ne!(next.hpke_init_key().as_slice(), package.hpke_init_key().as_slice());
    assert_ne!(next.leaf_node().encryption_key(), leaf.encryption_key());
}

// shows: B1-1, B1-2, B1-3, B2-3
#[test]
fn our_group() {
    let mut alice = Member::new("alice");
    let mut carol = Foreign::new();
    for retention in [None, Some(600)] {
        let new = NewGroup { retention, ..new_group("Lunch", vec![carol.key_package_event()]) };
        let pending = alice.engine.create_group(new).unwrap();
        // Without a tree in the GroupInfo OpenMLS would not join.
        carol.joins(&pending.welcomes[0]);
        let group = alice.confirms(&pending).id;
        let extensions: Vec<_> =
            carol.mls().extensions().iter().map(|extension| extension.extension_type()).collect();
        assert_eq!(
            extensions,
            [ExtensionType::RequiredCapabilities, ExtensionType::AppDataDictionary]
        );
        let dictionary = carol.mls().extensions().app_data_dictionary().unwrap().dictionary();
        let mut expected = vec![0x8001, 0x8003, 0x8004, 0x8009, 0x800c];
        if retention.is_some() {
            expected.insert(3, 0x8005);
        }
        assert_eq!(dictionary.get(&1), Some(list(&expected).as_slice()));
        for absent in [0x8009, 0x8008, 2] {
            assert!(dictionary.get(&absent).is_none());
        }
        assert_eq!(dictionary.get(&0x800c), Some(&[0][..]));

        // Handshakes are PublicMessage (wire format 1).
        let update = alice.engine.self_update(&group).unwrap().event.unwrap();
        let sealed = GroupMessage::parse(update.clone()).unwrap();
        assert_eq!(sealed.open(&carol.epoch_key()).unwrap()[..4], [0, 1, 0, 1]);
        assert!(carol.follows(&update).is_none());
        assert_eq!(carol.mls().epoch().as_u64(), 2);
    }
}

// shows: A4-1, A4-2
#[test]
fn a_new_key_package_replaces_the_old_one_in_its_slot() {
    let mut bob = Member::new("bob");
    let (old, new) = (bob.key_package(), bob.key_package());
    let slots = [&old, &new].map(|event| KeyPackageEvent::parse(event).unwrap().slot);
    assert_eq!(slots[0], slots[1]);
    assert!(new.created_at() > old.created_at(), "or relays would keep the old one");
    // The private part of the old one stays for Welcomes that are under way.
    assert_eq!(bob.engine.key_packages().unwrap().len(), 2);
    let (_, wrapped) = Foreign::welcoming(&old);
    bob.applies(&wrapped);
}

/// A KeyPackage of the account in a slot.
fn published(keys: &Keys, slot: u8, created_at: u64, last_resort: bool) -> Event {
    let mut foreign = Foreign::of(keys.clone());
    foreign.package.slot = format!("{slot:02x}").repeat(32);
    foreign.package.created_at = created_at;
    if !last_resort {
        foreign.package.entries = None;
    }
    foreign.key_package_event()
}

/// What is chosen, whatever the order.
fn chosen(events: &[&Event]) -> Event {
    let mut alice = Member::new("alice");
    let mut events: Vec<Event> = events.iter().map(|event| (*event).clone()).collect();
    let first = alice.engine.select_key_package(&events).unwrap().unwrap();
    events.reverse();
    let second = alice.engine.select_key_package(&events).unwrap().unwrap();
    assert!(first.id() == second.id());
    first
}

// shows: A3-1
#[test]
fn the_newest_of_a_slot_counts() {
    let (keys, now) = (Keys::generate(), now());
    // The older one would win across slots.
    let (old, new) = (published(&keys, 1, now - 100, false), published(&keys, 1, now - 50, true));
    assert!(chosen(&[&old, &new]).id() == new.id());
    let alike = [(); 4].map(|()| published(&keys, 1, now - 10, true));
    let lowest = alike.iter().map(Event::id).min().unwrap();
    assert!(chosen(&alike.each_ref()).id() == lowest);
    // The newest is useless.
    let mut bad = Foreign::of(keys.clone());
    (bad.package.lifetime, bad.package.slot) = ((0, u64::MAX), "01".repeat(32));
    assert!(chosen(&[&old, &bad.key_package_event()]).id() == old.id());
    assert!(Member::new("alice").engine.select_key_package(&[]).unwrap().is_none());
}

// shows: A3-2
#[test]
fn across_slots_one_that_is_not_last_resort_counts() {
    let (keys, now) = (Keys::generate(), now());
    let of = |slot, age, last_resort| published(&keys, slot, now - age, last_resort);
    let (old, once, always) = (of(1, 100, false), of(3, 50, false), of(2, 10, true));
    assert!(chosen(&[&old, &always]).id() == old.id());
    assert!(chosen(&[&always, &once, &old]).id() == once.id());
    let (old, new) = (of(1, 100, true), of(2, 10, true));
    assert!(chosen(&[&old, &new]).id() == new.id());
    let alike = [1, 2, 3, 4].map(|slot| of(slot, 10, true));
    let reference = |event: &&Event| KeyPackageEvent::parse(event).unwrap().reference;
    let lowest = alike.iter().min_by_key(reference).unwrap();
    assert!(chosen(&alike.each_ref()).id() == lowest.id());
}
