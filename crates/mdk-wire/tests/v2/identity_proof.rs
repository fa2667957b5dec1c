use mdk_wire::v2::IdentityProof;
use mdk_wire::{Keys, PublicKey, Secret, UnsignedEvent, WireError};
use serde_json::json;

use crate::kit::{account, component_id, keys, unhex, vector_file};

const LEAF_KEY: [u8; 32] = [0x5a; 32];
const LARGEST: u64 = 9_007_199_254_740_991;

fn proof() -> IdentityProof {
    IdentityProof::sign(&keys(1), &LEAF_KEY, 1_700_000_000)
}

#[test]
fn specification_vector() {
    let file = vector_file("spec-inline-vectors.json");
    let vector = &file["account_identity_proof_v2"];
    let proof =
        IdentityProof::decode(&unhex(vector["component_data_hex"].as_str().unwrap())).unwrap();
    assert_eq!(hex::encode(proof.encode().unwrap()), vector["component_data_hex"]);
    assert_eq!(hex::encode(proof.signature), vector["signature"]);
    let mut secret = [0; 32];
    secret[31] = vector["secret_key"].as_u64().unwrap() as u8;
    let signer = Keys::from_secret(Secret::new(secret)).unwrap();
    let key: Vec<u8> = (0..32).collect();
    proof.verify(&signer.public_key(), &key).unwrap();
    let template = IdentityProof::template(proof.signer, proof.created_at, &key);
    assert_eq!(template.id().to_hex(), vector["event_id"]);
    let preimage = json!([
        0,
        template.pubkey.to_hex(),
        template.created_at,
        template.kind,
        template.tags,
        template.content
    ]);
    assert_eq!(preimage, vector["nip01_preimage"]);
}

#[test]
fn proofs_of_recorded_key_packages() {
    let file = vector_file("recorded/key-packages.json");
    let packages = file["key_packages"].as_array().unwrap();
    assert!(packages.len() >= 10);
    let mut all = Vec::new();
    for package in packages {
        let dictionary = package["leaf"]["app_data_dictionary"].as_array().unwrap();
        let entry = dictionary
            .iter()
            .find(|entry| component_id(&entry["id"]) == IdentityProof::ID)
            .unwrap();
        let proof = IdentityProof::decode(&unhex(entry["data_hex"].as_str().unwrap())).unwrap();
        let account = PublicKey::from_hex(package["nostr_pubkey"].as_str().unwrap()).unwrap();
        let key = unhex(package["public"]["signature_key_hex"].as_str().unwrap());
        proof.verify(&account, &key).unwrap();
        all.push((proof, account, key));
    }
    for (n, (proof, account, key)) in all.iter().enumerate() {
        let (_, other_account, other_key) = &all[(n + 1) % all.len()];
        assert!(proof.verify(account, other_key).is_err());
        assert!(account == other_account || proof.verify(other_account, key).is_err());
    }
}

#[test]
fn own_proofs_verify_and_may_be_made_again() {
    for created_at in [1, 1_700_000_000, LARGEST] {
        let proof = IdentityProof::sign(&keys(1), &LEAF_KEY, created_at);
        let read = IdentityProof::decode(&proof.encode().unwrap()).unwrap();
        assert_eq!(read, proof);
        read.verify(&account(1), &LEAF_KEY).unwrap();
    }
}

// rule: 2.3-1
#[test]
fn exactly_104_bytes() {
    let bytes = proof().encode().unwrap();
    assert_eq!(bytes.len(), IdentityProof::BYTES);
    for length in 0..bytes.len() {
        assert!(IdentityProof::decode(&bytes[..length]).is_err());
    }
    assert!(IdentityProof::decode(&[&bytes[..], &[0]].concat()).is_err());
}

// rule: 2.3-2
#[test]
fn created_at_is_bounded_on_every_path() {
    for created_at in [0, LARGEST + 1, u64::MAX] {
        // The signature is right; only the time is not.
        let proof = IdentityProof::sign(&keys(1), &LEAF_KEY, created_at);
        let why = WireError::InvalidEncoding("created_at of the identity proof is out of range");
        assert_eq!(proof.verify(&account(1), &LEAF_KEY), Err(why));
        assert_eq!(proof.encode(), Err(why));
        let mut bytes = self::proof().encode().unwrap();
        bytes[32..40].copy_from_slice(&created_at.to_be_bytes());
        assert_eq!(IdentityProof::decode(&bytes), Err(why));
        let template = IdentityProof::template(account(1), created_at, &LEAF_KEY);
        assert_eq!(
            IdentityProof::from_signed(&template.clone().sign(&keys(1)), &template),
            Err(why)
        );
    }
}

// rule: 2.3-3
#[test]
fn the_signer_is_a_curve_point() {
    let mut bytes = proof().encode().unwrap();
    bytes[..32].fill(0xff);
    assert!(matches!(IdentityProof::decode(&bytes), Err(WireError::InvalidKey(_))));
}

// rule: 2.3-4
#[test]
fn the_signer_is_the_account() {
    assert!(matches!(proof().verify(&account(2), &LEAF_KEY), Err(WireError::InvalidSignature(_))));
    let mut renamed = proof();
    renamed.signer = account(2);
    assert!(renamed.verify(&account(2), &LEAF_KEY).is_err());
}

// rule: 2.3-5
#[test]
fn every_signed_byte_counts() {
    proof().verify(&account(1), &LEAF_KEY).unwrap();
    for bit in 0..256 {
        let mut key = LEAF_KEY;
        key[bit / 8] ^= 1 << (bit % 8);
        assert!(proof().verify(&account(1), &key).is_err());
    }
    let mut later = proof();
    later.created_at += 1;
    assert!(later.verify(&account(1), &LEAF_KEY).is_err());
    for byte in 0..64 {
        let mut altered = proof();
        altered.signature[byte] ^= 1;
        assert!(altered.verify(&account(1), &LEAF_KEY).is_err());
    }
}

/// Signatures of the right account over anything but the exact template.
// rule: 2.3-5
#[test]
fn other_templates_do_not_count() {
    let template = || IdentityProof::template(account(1), 1_700_000_000, &LEAF_KEY);
    let edits: &[fn(&mut UnsignedEvent)] = &[
        |event| event.kind = 451,
        |event| event.content.push(' '),
        |event| event.tags.swap(0, 1),
        |event| event.tags[0][1] = "marmot.account-identity-proof.v1".into(),
        |event| event.tags[1][1] = "0x8008".into(),
        |event| event.tags[2][1] = "0x0002".into(),
        |event| event.tags[3][1] = "0x0403".into(),
        |event| event.tags[4][1].make_ascii_uppercase(),
        |event| event.tags.push(vec!["x".into()]),
    ];
    for edit in edits {
        let mut other = template();
        edit(&mut other);
        let signature = keys(1).sign_digest(other.id().as_bytes());
        assert!(IdentityProof { signature, ..proof() }.verify(&account(1), &LEAF_KEY).is_err());
        // rule: 2.3-7
        assert!(IdentityProof::from_signed(&other.sign(&keys(1)), &template()).is_err());
    }
}

// rule: 2.3-6
#[test]
fn the_leaf_key_has_32_bytes() {
    for length in [0, 31, 33, 64] {
        let key = vec![0x5a; length];
        let proof = IdentityProof::sign(&keys(1), &key, 1);
        assert!(proof.verify(&account(1), &key).is_err());
    }
}

// rule: 2.3-7
#[test]
fn an_external_signer_returns_exactly_the_template() {
    let template = IdentityProof::template(account(1), 5, &LEAF_KEY);
    let proof = IdentityProof::from_signed(&template.clone().sign(&keys(1)), &template).unwrap();
    proof.verify(&account(1), &LEAF_KEY).unwrap();
    // Another account, or another time.
    assert!(IdentityProof::from_signed(&template.clone().sign(&keys(2)), &template).is_err());
    let later = IdentityProof::template(account(1), 6, &LEAF_KEY).sign(&keys(1));
    assert!(IdentityProof::from_signed(&later, &template).is_err());
}
