//! Messages made by hand, for what OpenMLS does not build.

use openmls::prelude::tls_codec::Serialize as _;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::HashType;

use super::Foreign;

fn membership_key(peer: &Foreign) -> Vec<u8> {
    let values = peer.provider.storage().values.read().unwrap();
    let stored =
        values.values().filter_map(|v| serde_json::from_slice::<serde_json::Value>(v).ok());
    stored.filter_map(|v| find_bytes(&v, "membership_key")).next().expect("stored by OpenMLS")
}

/// The byte array below the first member of this name.
fn find_bytes(value: &serde_json::Value, name: &str) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Object(members) => match members.get(name) {
            Some(found) => bytes_below(found),
            None => members.values().find_map(|v| find_bytes(v, name)),
        },
        serde_json::Value::Array(values) => values.iter().find_map(|v| find_bytes(v, name)),
        _ => None,
    }
}

fn bytes_below(value: &serde_json::Value) -> Option<Vec<u8>> {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().map(|v| v.as_u64().and_then(|b| u8::try_from(b).ok())).collect()
        }
        serde_json::Value::Object(members) => members.values().find_map(bytes_below),
        _ => None,
    }
}

/// A PublicMessage made by hand, for what OpenMLS does not build.
pub struct Handmade {
    pub epoch: u64,
    pub sender: u32,
    /// 2: proposal, 3: commit.
    pub content_type: u8,
    pub body: Vec<u8>,
    pub confirmation_tag: Option<Vec<u8>>,
    pub break_signature: bool,
    pub break_tag: bool,
}

impl Handmade {
    /// A proposal by the member, right in everything but `body`.
    pub fn proposal(peer: &Foreign, body: Vec<u8>) -> Self {
        let group = peer.mls();
        Self {
            epoch: group.epoch().as_u64(),
            sender: group.own_leaf_index().u32(),
            content_type: 2,
            body,
            confirmation_tag: None,
            break_signature: false,
            break_tag: false,
        }
    }

    /// A commit that adds a KeyPackage with this lifetime: OpenMLS commits no expired one. All but the confirmation
    /// tag, which is checked last, is right.
    pub fn adding(peer: &Foreign, lifetime: (u64, u64)) -> Vec<u8> {
        let mut dave = Foreign::new();
        dave.package.lifetime = lifetime;
        let package = dave.key_package().tls_serialize_detached().unwrap();
        // RFC 9420, 12.4: proposals by value, of type add; no path.
        let proposals = [&[1, 0, 1][..], &package].concat();
        let body = [vlbytes(&proposals), vec![0]].concat();
        let confirmation_tag = Some(vec![0; 32]);
        Self { content_type: 3, confirmation_tag, ..Self::proposal(peer, body) }.bytes(peer)
    }

    /// RFC 9420, 6 and 6.2: signed and tagged with the member's keys.
    pub fn bytes(&self, peer: &Foreign) -> Vec<u8> {
        let context = peer.mls().public_group().group_context().tls_serialize_detached().unwrap();
        let mut content = vlbytes(peer.mls().group_id().as_slice());
        content.extend(self.epoch.to_be_bytes());
        content.push(1);
        content.extend(self.sender.to_be_bytes());
        content.extend([0, self.content_type]);
        content.extend(&self.body);
        let tbs = [&[0, 1, 0, 1][..], &content, &context].concat();
        let labelled = [vlbytes(b"MLS 1.0 FramedContentTBS"), vlbytes(&tbs)].concat();
        let mut signature = peer.signer.sign(&labelled).unwrap();
        signature[5] ^= u8::from(self.break_signature);
        let mut auth = vlbytes(&signature);
        if let Some(tag) = &self.confirmation_tag {
            auth.extend(vlbytes(tag));
        }
        let tbm = [&tbs[..], &auth].concat();
        let tag =
            peer.provider.crypto().hmac(HashType::Sha2_256, &membership_key(peer), &tbm).unwrap();
        let mut tag = tag.as_slice().to_vec();
        tag[3] ^= u8::from(self.break_tag);
        [&[0, 1, 0, 1][..], &content, &auth, &vlbytes(&tag)].concat()
    }
}

/// `opaque x<V>` of RFC 9420.
pub fn vlbytes(data: &[u8]) -> Vec<u8> {
    let mut out = match data.len() {
        n @ 0..64 => vec![u8::try_from(n).unwrap()],
        n => (u16::try_from(n).unwrap() | 0x4000).to_be_bytes().to_vec(),
    };
    out.extend_from_slice(data);
    out
}
