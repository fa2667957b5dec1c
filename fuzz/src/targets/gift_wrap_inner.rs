//! The readers behind the encryption of a gift wrap: seal JSON (first byte even) and rumor JSON (first byte odd) of
//! the fuzzer's choice, encrypted as a peer would.

use crate::shared::{ZeroRandom, encrypt, keys};
use mdk_wire::{UnsignedEvent, gift_wrap, kind};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some((mode, plaintext)) = data.split_first() else {
        return;
    };
    let recipient = keys(2).public_key();
    let event = |author: u8, kind: u16, tags: Vec<Vec<String>>, content: String| {
        let pubkey = keys(author).public_key();
        UnsignedEvent { pubkey, created_at: 1, kind, tags, content }
            .sign_with(keys(author), &mut ZeroRandom)
    };
    let seal = if mode % 2 == 0 {
        plaintext.to_vec()
    } else {
        let Some(rumor) = encrypt(1, 2, plaintext) else {
            return;
        };
        event(1, kind::SEAL, vec![], rumor).to_json().into_bytes()
    };
    let Some(content) = encrypt(3, 2, &seal) else {
        return;
    };
    let wrap = event(3, kind::GIFT_WRAP, vec![vec!["p".into(), recipient.to_hex()]], content);
    if let Ok(unwrapped) = gift_wrap::unwrap(&wrap, keys(2)) {
        // A rumor that was read can be wrapped again by its author.
        assert!(unwrapped.sender == unwrapped.rumor.pubkey);
        if unwrapped.sender == keys(1).public_key() {
            let again = gift_wrap::wrap(
                unwrapped.rumor.clone(),
                keys(1),
                &recipient,
                1 << 40,
                &mut crate::shared::CountingRandom::new(data),
            );
            let again = gift_wrap::unwrap(&again.expect("within the limits"), keys(2))
                .expect("own wrap opens");
            assert!(again == unwrapped);
        }
    }
}
