//! What members say of push tokens, and what a notification server is asked: the first byte is the kind, the rest the
//! content. What is read is written and read again.

use crate::shared::keys;
use mdk_wire::push::{
    self, EncryptedToken, Gossip, Platform, TokenKey, TokenRecord, read_trigger, records_content,
    removals_content,
};
use mdk_wire::{GroupId, UnsignedEvent, kind};

const NOW: u64 = 1_700_000_000_000;

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some((first, content)) = data.split_first() else { return };
    let Ok(content) = std::str::from_utf8(content) else { return };
    let number = [446, 447, 448, 449][usize::from(first % 4)];
    if number == kind::PUSH_TRIGGER {
        return trigger(content);
    }
    let Ok(said) = push::parse(number, content, NOW) else { return };
    let group = GroupId::from_bytes(&[7; 16]).expect("16 bytes");
    let (written, kept) = match &said {
        Gossip::Request => (records_content(&[]), Gossip::Request),
        Gossip::Records(records, _) => {
            for record in records {
                let _ = (record.verify(&group), record.digest(&group));
            }
            (records_content(records), Gossip::Records(records.clone(), 0))
        }
        Gossip::Removals(removals, _) => {
            for removal in removals {
                let _ = (removal.verify(&group), removal.digest(&group));
            }
            (removals_content(removals), Gossip::Removals(removals.clone(), 0))
        }
    };
    let again = push::parse(number, &written, NOW).expect("own content is in its form");
    // (without entries a 447 is a request)
    assert!(again == kept || again == Gossip::Request && number == kind::PUSH_TOKENS);
}

fn trigger(content: &str) {
    let rumor = UnsignedEvent {
        pubkey: keys(1).public_key(),
        created_at: 0,
        kind: kind::PUSH_TRIGGER,
        tags: vec![vec!["v".to_owned(), push::VERSION.to_owned()]],
        content: content.to_owned(),
    };
    for piece in read_trigger(&rumor).unwrap_or_default() {
        drop(piece.open(keys(2)));
    }
}

/// A message with a record, and one with its removal.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let owner = keys(1);
    let server = keys(2).public_key();
    let token = EncryptedToken::from_bytes(&[9; EncryptedToken::BYTES]).expect("its size");
    let key = TokenKey { member: owner.public_key(), leaf: 3, platform: Platform::Fcm, server };
    let mut record = TokenRecord {
        key,
        fingerprint: push::Fingerprint([5; 12]),
        relay_hint: "wss://relay.example".to_owned(),
        token,
        owner_ts: NOW,
        signature: [0; 64],
    };
    record.sign(&GroupId::from_bytes(&[7; 16]).expect("16 bytes"), owner);
    let TokenRecord { fingerprint, owner_ts, signature, .. } = record;
    let removal = push::TokenRemoval { key, fingerprint, owner_ts, signature };
    [
        (1, records_content(&[])),
        (2, records_content(&[record])),
        (3, removals_content(&[removal])),
        (0, "A".repeat(1448)),
    ]
    .map(|(first, content)| [&[first], content.as_bytes()].concat())
    .to_vec()
}
