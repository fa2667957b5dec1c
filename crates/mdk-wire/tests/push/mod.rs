//! Push notifications: tokens, gossip, triggers.

mod gossip;
mod trigger;
mod vectors;

use mdk_wire::push::{EncryptedToken, Fingerprint, Platform, Token, TokenKey, TokenRecord};
use mdk_wire::{GroupId, Keys, OsRandom, Random, Secret, SecretVec};

/// Gives these bytes, one after the other.
struct Script(Vec<u8>);

impl Random for Script {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.copy_from_slice(&self.0[..buf.len()]);
        self.0.drain(..buf.len());
    }
}

fn number(last: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[31] = last;
    bytes
}

fn keys(last: u8) -> Keys {
    Keys::from_secret(Secret::new(number(last))).unwrap()
}

fn group(bytes: u8) -> GroupId {
    GroupId::from_bytes(&(0..bytes).collect::<Vec<_>>()).unwrap()
}

fn fcm(text: &str) -> Token {
    Token { platform: Platform::Fcm, bytes: SecretVec::new(text.into()) }
}

/// A record that its owner signed for `group(16)`.
fn signed(owner: &Keys, leaf: u32, server: &Keys, owner_ts: u64, hint: &str) -> TokenRecord {
    let token = fcm(&format!("token of {leaf}"));
    let sealed = EncryptedToken::seal(&token, &server.public_key(), &mut OsRandom).unwrap();
    let mut record = TokenRecord {
        key: TokenKey {
            member: owner.public_key(),
            leaf,
            platform: token.platform,
            server: server.public_key(),
        },
        fingerprint: token.fingerprint(),
        relay_hint: hint.to_owned(),
        token: sealed,
        owner_ts,
        signature: [0; 64],
    };
    record.sign(&group(16), owner);
    record
}

fn fingerprint(hex: &str) -> Fingerprint {
    Fingerprint::parse(&format!("sha256:{hex}")).unwrap()
}
