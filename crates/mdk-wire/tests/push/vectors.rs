//! Worked examples, byte for byte.

use mdk_wire::PublicKey;
use mdk_wire::push::{EncryptedToken, Platform, TokenKey, TokenRecord, TokenRemoval};
use sha2::{Digest, Sha256};

use super::*;

const SERVER: &str = "2f8bde4d1a07209355b4a7250a5c5128e88b84bddc619ab7cba8d569b240efe4";

fn example() -> EncryptedToken {
    let (key, nonce, padding) = (number(7), 0..12, [0x5a; 1024]);
    let script = key.into_iter().chain(nonce).chain(padding).collect();
    let server = PublicKey::from_hex(SERVER).unwrap();
    EncryptedToken::seal(&fcm("example-fcm-token"), &server, &mut Script(script)).unwrap()
}

#[test]
fn a_token_is_encrypted_as_the_example_says() {
    assert_eq!(keys(5).public_key().to_hex(), SERVER);
    let sealed = example();
    let hex = hex::encode(sealed.as_bytes());
    assert!(
        hex.starts_with("5cbdf0646e5db4eaa398f365f2ea7a0e3d419b7e0330e39ce92bddedcac4f9bc000102")
    );
    assert_eq!(&hex[88..120], "3cf96ad41ccbd76dfa712ea860cb371f");
    assert!(hex.ends_with("c3ca3ab00d4789e80079925a83f5d726"));
    let whole = "711268510a7a1e2d2e898c3fdde3f30f30e0a04295b4ca5bb2af1a273bdfd3e8";
    assert_eq!(hex::encode(Sha256::digest(sealed.as_bytes())), whole);

    let opened = sealed.open(&keys(5)).unwrap();
    assert_eq!(
        (opened.platform, opened.bytes.expose()),
        (Platform::Fcm, &b"example-fcm-token"[..])
    );
    assert_eq!(opened.fingerprint().to_text(), "sha256:3118d89f6b02908a9bf43af2");
    assert!(sealed.open(&keys(6)).is_err());
}

#[test]
fn pieces_that_are_no_token_do_not_open() {
    let good = example();
    let mut changed = good.as_bytes().to_vec();
    changed[600] ^= 1;
    assert!(EncryptedToken::from_bytes(&changed).unwrap().open(&keys(5)).is_err());
    // The x-coordinate of no point.
    changed[..32].copy_from_slice(&[0xff; 32]);
    let error = EncryptedToken::from_bytes(&changed).unwrap().open(&keys(5)).unwrap_err();
    assert!(error.to_string().contains("not on the curve"), "{error}");
    assert!(EncryptedToken::from_bytes(&changed[1..]).is_err());
    for length in [0, 1022] {
        let token = fcm(&"x".repeat(length));
        assert!(EncryptedToken::seal(&token, &keys(5).public_key(), &mut OsRandom).is_err());
    }
    let longest = fcm(&"x".repeat(1021));
    let sealed = EncryptedToken::seal(&longest, &keys(5).public_key(), &mut OsRandom).unwrap();
    assert_eq!(sealed.open(&keys(5)).unwrap().bytes.expose().len(), 1021);
}

// shows: 2.11-4, 2.11-5
#[test]
fn proofs_and_digests_are_those_of_the_examples() {
    let owner = keys(3);
    let key = |platform| TokenKey {
        member: owner.public_key(),
        leaf: 3,
        platform,
        server: PublicKey::from_hex(SERVER).unwrap(),
    };
    let zero = || Script(vec![0; 32]);
    let mut removal = TokenRemoval {
        key: key(Platform::Apns),
        fingerprint: fingerprint("000102030405060708090a0b"),
        owner_ts: 1_700_000_000_000,
        signature: [0; 64],
    };
    let id = removal.template(&group(32)).id();
    assert_eq!(id.to_hex(), "be12f4d029d3cac4034251949d6c013ff18eae00870e199012c7a97e8960b7a2");
    removal.signature = owner.sign_digest_with(id.as_bytes(), &mut zero());
    assert_eq!(
        hex::encode(removal.signature),
        "04c3588a6533399aeaebb6c596fab896186dd0af1f9724f2926d984d2876490c76e1d149127e0fa697d7f19a0807aa373e942f0eb33edc63071567f274ce3bec"
    );
    removal.verify(&group(32)).unwrap();
    // A proof is for one group, and for what it says.
    assert!(removal.verify(&group(16)).is_err());
    removal.key.leaf = 4;
    assert!(removal.verify(&group(32)).is_err());

    let token = example();
    let mut record = TokenRecord {
        key: key(Platform::Fcm),
        fingerprint: fingerprint("3118d89f6b02908a9bf43af2"),
        relay_hint: "wss://relay.example.com".to_owned(),
        token,
        owner_ts: 1_700_000_000_001,
        signature: [0; 64],
    };
    let id = record.template(&group(16)).id();
    assert_eq!(id.to_hex(), "43b61ab24d16ca892e461546f2d0f91e7f730a4d910c03d0cc8efa4391d71962");
    record.signature = owner.sign_digest_with(id.as_bytes(), &mut zero());
    assert_eq!(
        hex::encode(record.signature),
        "2fafe4c197b6e2a7bb6365c81673f3a7374e331f7eeb05c27d72ff05e2fc4282be7b3a475b1be22957a562ab00b00e62e8c4a3efb7811bb9f0ea28b07962a22c"
    );
    record.verify(&group(16)).unwrap();
    let digest = "d0e150466b7bbb502034584a05322e7ee5397926ee21e72145c3a13789f1c251";
    assert_eq!(hex::encode(record.digest(&group(16))), digest);
    for change in [
        |r: &mut TokenRecord| r.relay_hint.push(' '),
        |r: &mut TokenRecord| r.owner_ts += 1,
        |r: &mut TokenRecord| r.key.platform = Platform::Apns,
        |r: &mut TokenRecord| r.fingerprint.0[0] ^= 1,
        |r: &mut TokenRecord| r.token = EncryptedToken::padding(&mut OsRandom),
    ] {
        let mut other = record.clone();
        change(&mut other);
        assert!(other.verify(&group(16)).is_err());
        assert_ne!(other.digest(&group(16)), record.digest(&group(16)));
    }
}
