use mdk_wire::v2::components::*;
use mdk_wire::v2::{Attachment, Component, IdentityProof};
use mdk_wire::{EventId, NostrGroupId, Payload, Secret};

use crate::kit::{account, keys};

#[test]
fn debug_shows_no_value() {
    let secret = |byte| Secret::new([byte; 32]);
    let image = ImageRef {
        hash: [0xab; 32],
        key: secret(0xac),
        nonce: [0xad; 12],
        upload_key: secret(0xae),
        media_type: "image/marker".into(),
    };
    let endpoint = Endpoint { kind: "marker".into(), base_url: "https://marker.example/".into() };
    let attachment = Attachment {
        filename: "marker".into(),
        mime_type: "text/marker".into(),
        size: Some(171),
        sha256: [0xab; 32],
        ciphertext_sha256: [0xab; 32],
        nonce: [0xad; 12],
        locators: vec![("marker".into(), "https://marker.example/".into())],
        dimensions: Some((171, 172)),
        thumbhash: Some("marker".into()),
    };
    let all = [
        Component::Profile(Profile { name: "marker".into(), description: "marker".into() }),
        Component::Image(Image(Some(image))),
        Component::AdminPolicy(AdminPolicy::new([account(1)])),
        Component::Routing(Routing::new(
            NostrGroupId::from_bytes([0xab; 32]),
            ["wss://marker.example".into()],
        )),
        Component::AvatarUrl(AvatarUrl {
            url: "https://marker.example/".into(),
            dim: b"marker".to_vec(),
            thumbhash: vec![],
        }),
        Component::Media(Media { kinds: vec!["marker".into()], endpoints: vec![endpoint.clone()] }),
        Component::IdentityProof(IdentityProof::sign(&keys(1), &[7; 32], 1)),
    ];
    let admin = account(1).to_hex();
    for text in all.iter().map(|c| format!("{c:?}")).chain([format!("{endpoint:?} {attachment:?}")])
    {
        for forbidden in ["marker", "abab", "171", "172", "173", "174", admin.as_str()] {
            assert!(!text.contains(forbidden), "{text}");
        }
    }
}

#[test]
fn debug_of_a_message_shows_its_kind_alone() {
    let payload = Payload {
        id: EventId::from_bytes([0xab; 32]),
        pubkey: account(1),
        created_at: 1_700_000_171,
        kind: 9,
        tags: vec![vec!["marker".into(), "marker".into()]],
        content: "marker".into(),
    };
    let text = format!("{payload:?}");
    assert!(text.contains('9'));
    for forbidden in ["marker", "abab", "171", account(1).to_hex().as_str()] {
        assert!(!text.contains(forbidden), "{text}");
    }
}
