//! Limits on the writing side (the reading side is in `rules`), and those of whole dictionaries.

use mdk_wire::v2::components::*;
use mdk_wire::v2::{Component, IdentityProof, decode_known};
use mdk_wire::{NostrGroupId, Secret, WireError};

use crate::kit::{account, keys};

fn too_long(result: Result<Vec<u8>, WireError>, limit: usize) {
    match result {
        Err(WireError::VectorTooLong { limit: l, actual, .. }) => {
            assert_eq!((l, actual), (limit, limit + 1))
        }
        other => panic!("{other:?}"),
    }
}

fn too_many(result: Result<impl std::fmt::Debug, WireError>, limit: usize) {
    match result {
        Err(WireError::TooManyEntries { limit: l, actual, .. }) => {
            assert_eq!((l, actual), (limit, limit + 1))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_writer_refuses_what_a_reader_refuses() {
    let profile = |name: usize, description: usize| {
        let text = |n| "x".repeat(n);
        Profile { name: text(name), description: text(description) }.encode()
    };
    profile(256, 4096).unwrap();
    too_long(profile(257, 0), 256);
    too_long(profile(0, 4097), 4096);

    let image = |length: usize| {
        let media_type = format!("{}/{}", "a".repeat(64), "b".repeat(length - 65));
        let (key, upload_key) = (Secret::new([1; 32]), Secret::new([2; 32]));
        Image(Some(ImageRef { hash: [0; 32], key, nonce: [0; 12], upload_key, media_type }))
            .encode()
    };
    image(128).unwrap();
    too_long(image(129), 128);

    let avatar = |url: usize, dim: usize, thumbhash: usize| {
        let url = format!("https://a.example/{}", "x".repeat(url - 18));
        AvatarUrl { url, dim: vec![0xff; dim], thumbhash: vec![0xfe; thumbhash] }.encode()
    };
    avatar(2048, 256, 256).unwrap();
    too_long(avatar(2049, 0, 0), 2048);
    too_long(avatar(18, 257, 0), 256);
    too_long(avatar(18, 0, 257), 256);
}

#[test]
fn a_writer_refuses_long_lists() {
    let routing = |count: usize| {
        Routing::new(
            NostrGroupId::from_bytes([1; 32]),
            (0..count).map(|n| format!("wss://r{n}.example")),
        )
        .encode()
    };
    routing(16).unwrap();
    too_many(routing(17), 16);
    assert!(routing(0).is_err());

    let media = |kinds: usize, name: usize, url: usize| {
        let kinds: Vec<String> = (0..kinds).map(|n| format!("{n:0name$}")).collect();
        let base_url = format!("https://a.example/{}", "x".repeat(url - 18));
        Media { endpoints: vec![Endpoint { kind: kinds[0].clone(), base_url }], kinds }.encode()
    };
    media(64, 16, 2048).unwrap();
    too_many(media(65, 16, 2048), 64);
    too_long(media(64, 17, 2048), 16);
    too_long(media(64, 16, 2049), 2048);
}

#[test]
fn a_writer_refuses_invalid_values() {
    assert!(ComponentList(vec![2, 1]).encode().is_err());
    assert!(ComponentList(vec![1, 1]).encode().is_err());
    assert_eq!(ComponentList::from_iter([2, 1, 2]).encode().unwrap(), [4, 0, 1, 0, 2]);
    assert!(AdminPolicy { admins: vec![] }.encode().is_err());
    let mut admins = AdminPolicy::new([account(1), account(2), account(1)]);
    assert_eq!(admins.admins.len(), 2);
    assert!(admins.contains(&account(2)) && !admins.contains(&account(3)));
    admins.encode().unwrap();
    admins.admins.reverse();
    assert!(admins.encode().is_err());
    let roles = |required_roles, allowed_roles| {
        AgentStream { required_roles, allowed_roles, max_frame: 1, replay_ttl: 2, padding: 3 }
            .encode()
    };
    assert!(roles(1, 3).is_ok());
    assert!(roles(0, 3).is_err() && roles(4, 3).is_err() && roles(8, 15).is_err());
}

/// One of each kind, as large as it may be where it has a size.
#[test]
fn what_is_written_is_read_back() {
    let text = |n: usize| "x".repeat(n);
    let url = |n: usize| format!("https://a.example/{}", text(n - 18));
    let (key, upload_key) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let media_type = format!("{}/{}", "a".repeat(64), "b".repeat(63));
    let image = ImageRef { hash: [3; 32], key, nonce: [4; 12], upload_key, media_type };
    let kinds = vec!["b".to_owned(), "a-9".to_owned()];
    let endpoint = |kind: usize| Endpoint { kind: kinds[kind].clone(), base_url: url(2048) };
    let endpoints = vec![endpoint(1), endpoint(0), endpoint(1)];
    let stream = AgentStream {
        required_roles: 1,
        allowed_roles: 7,
        max_frame: u32::MAX,
        replay_ttl: 1,
        padding: u16::MAX,
    };
    let relays = (0..16).map(|n| format!("wss://r{n}.example"));
    for component in [
        Component::AppComponents((0..300).collect()),
        Component::SafeAad(ComponentList::default()),
        Component::LastResort,
        Component::Profile(Profile { name: text(256), description: text(4096) }),
        Component::Image(Image(Some(image))),
        Component::Image(Image(None)),
        Component::AdminPolicy(AdminPolicy::new((1..20).map(account))),
        Component::Routing(Routing::new(NostrGroupId::from_bytes([9; 32]), relays)),
        Component::Retention(Retention { seconds: u64::MAX }),
        Component::AgentStream(stream),
        Component::AvatarUrl(AvatarUrl {
            url: url(2048),
            dim: vec![0xff; 256],
            thumbhash: vec![0; 256],
        }),
        Component::AvatarUrl(AvatarUrl::default()),
        Component::IdentityProof(IdentityProof::sign(&keys(1), &[5; 32], 1)),
        Component::Media(Media { kinds, endpoints }),
        Component::Lifecycle(Lifecycle::Active),
        Component::Lifecycle(Lifecycle::Disbanded),
    ] {
        let data = component.encode().unwrap();
        assert_eq!(decode_known(component.id(), &data).unwrap().unwrap(), component);
    }
}

fn dictionary(sizes: &[usize]) -> Result<(), WireError> {
    let data = vec![0; 10_000];
    let entries =
        sizes.iter().enumerate().map(|(n, size)| (FIRST_APPLICATION_ID + n as u16, &data[..*size]));
    // Ids below the range do not count.
    check_application_owned(entries.chain([(0x8001, &data[..]), (0xEFFF, &data[..])]))
}

// rule: 2.2-13, 2.2-14, 2.2-15
#[test]
fn application_owned_entries_are_bounded() {
    dictionary(&[]).unwrap();
    dictionary(&[4096, 4096]).unwrap();
    too_long(dictionary(&[4097]).map(|()| vec![]), 4096);
    dictionary(&[1; 32]).unwrap();
    too_many(dictionary(&[1; 33]), 32);
    dictionary(&[4096, 4095, 1]).unwrap();
    too_long(dictionary(&[4096, 4095, 2]).map(|()| vec![]), 8192);
}
