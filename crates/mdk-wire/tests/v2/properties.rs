//! Round trips, canonical form and safety on random input.

use mdk_wire::v2::components::*;
use mdk_wire::v2::{Component, IdentityProof, decode_known};
use mdk_wire::{NostrGroupId, Secret};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::kit::{account, keys};

fn web_url() -> impl Strategy<Value = String> {
    "https://[a-z]{1,20}\\.example/[a-z0-9/_-]{0,40}"
        .prop_filter("normal form", |url| !url.contains("//_"))
}

fn image() -> impl Strategy<Value = Component> {
    let parts = (
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        any::<[u8; 12]>(),
        any::<[u8; 32]>(),
        "image/[a-z0-9+.-]{1,20}",
    );
    parts.prop_map(|(hash, key, nonce, upload_key, kind)| {
        let media_type = media_type_of(&kind);
        let (key, upload_key) = (Secret::new(key), Secret::new(upload_key));
        Component::Image(Image(Some(ImageRef { hash, key, nonce, upload_key, media_type })))
    })
}

fn media_type_of(text: &str) -> String {
    mdk_wire::v2::media_type::canonical(text).unwrap()
}

fn media() -> impl Strategy<Value = Component> {
    (btree_set("[a-z0-9-]{1,16}", 1..=64), vec((any::<prop::sample::Index>(), web_url()), 0..4))
        .prop_map(|(kinds, urls)| {
            let mut kinds: Vec<String> = kinds.into_iter().collect();
            // The producer's order is free.
            kinds.reverse();
            let endpoint = |(index, base_url): (prop::sample::Index, String)| Endpoint {
                kind: index.get(&kinds).clone(),
                base_url,
            };
            let endpoints = urls.into_iter().map(endpoint).collect();
            Component::Media(Media { kinds, endpoints })
        })
}

fn component() -> impl Strategy<Value = Component> {
    let roles = (1u8..8, 0u8..8, any::<u32>(), any::<u32>(), any::<u16>());
    prop_oneof![
        vec(any::<u16>(), 0..300)
            .prop_map(|ids| Component::AppComponents(ids.into_iter().collect())),
        vec(any::<u16>(), 0..9).prop_map(|ids| Component::SafeAad(ids.into_iter().collect())),
        Just(Component::LastResort),
        ("\\PC{0,60}", "(?s).{0,900}")
            .prop_map(|(name, description)| Component::Profile(Profile { name, description })),
        image(),
        Just(Component::Image(Image(None))),
        btree_set(1u64..40, 1..20).prop_map(|seeds| Component::AdminPolicy(AdminPolicy::new(
            seeds.into_iter().map(account)
        ))),
        (any::<[u8; 32]>(), vec("wss?://[a-z0-9]{1,30}\\.example(:[1-9][0-9]{0,3})?", 1..=16))
            .prop_map(|(id, relays)| {
                Component::Routing(Routing::new(NostrGroupId::from_bytes(id), relays))
            }),
        any::<u64>().prop_map(|seconds| Component::Retention(Retention { seconds })),
        roles.prop_map(|(required, extra, max_frame, replay_ttl, padding)| {
            let (required_roles, allowed_roles) = (required, required | extra);
            Component::AgentStream(AgentStream {
                required_roles,
                allowed_roles,
                max_frame,
                replay_ttl,
                padding,
            })
        }),
        (web_url(), vec(any::<u8>(), 0..=256), vec(any::<u8>(), 0..=256)).prop_map(
            |(url, dim, thumbhash)| { Component::AvatarUrl(AvatarUrl { url, dim, thumbhash }) }
        ),
        Just(Component::AvatarUrl(AvatarUrl::default())),
        (1u64..40, any::<[u8; 32]>(), 1u64..1 << 53).prop_map(|(seed, key, created_at)| {
            Component::IdentityProof(IdentityProof::sign(&keys(seed), &key, created_at))
        }),
        media(),
        prop_oneof![Just(Lifecycle::Active), Just(Lifecycle::Disbanded)]
            .prop_map(Component::Lifecycle),
    ]
}

fn any_known_id() -> impl Strategy<Value = u16> {
    prop_oneof![Just(1u16), Just(2), Just(4), 0x8001u16..=0x800c]
}

/// Whatever decodes is in canonical form.
fn canonical(id: u16, data: &[u8]) {
    if let Some(Ok(component)) = decode_known(id, data) {
        assert_eq!(component.id(), id);
        assert_eq!(component.encode().unwrap(), data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(component in component()) {
        let data = component.encode().unwrap();
        prop_assert_eq!(decode_known(component.id(), &data).unwrap().unwrap(), component);
    }

    #[test]
    fn altered_bytes_are_refused_or_canonical(
        component in component(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..4),
    ) {
        let mut data = component.encode().unwrap();
        for (at, byte, what) in edits {
            match what {
                _ if data.is_empty() => data.push(byte),
                0 => data.insert(at.index(data.len()), byte),
                1 => { data.remove(at.index(data.len())); }
                2 => data.truncate(at.index(data.len())),
                _ => { let at = at.index(data.len()); data[at] = byte; }
            }
        }
        canonical(component.id(), &data);
    }

    #[test]
    fn random_bytes_are_refused_or_canonical(id in any_known_id(), data in vec(any::<u8>(), 0..200)) {
        canonical(id, &data);
    }

    #[test]
    fn bytes_of_one_component_under_another_id(component in component(), id in any_known_id()) {
        canonical(id, &component.encode().unwrap());
    }

    #[test]
    fn media_types_have_one_canonical_form(text in "(?s).{0,20}/.{0,20}") {
        if let Some(form) = mdk_wire::v2::media_type::canonical(&text) {
            prop_assert!(mdk_wire::v2::media_type::is_canonical(&form));
        }
    }
}
