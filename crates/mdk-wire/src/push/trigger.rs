//! Kind 446: the rumor that asks a notification server to wake phones. It never goes into a group.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::token::EncryptedToken;
use super::{MAX_ENTRIES, MAX_PIECES, VERSION};
use crate::error::WireError;
use crate::event::{Event, UnsignedEvent, tag};
use crate::gift_wrap;
use crate::ids::{PublicKey, Timestamp};
use crate::keys::Keys;
use crate::kind;
use crate::random::{Random, up_to};

/// The gift wraps that ask one server to wake these phones. The keys are used once: neither relay nor server learns who
/// sends. Equal tokens are to be given once.
///
/// # Errors
/// [`WireError::BrokenRandom`].
pub fn triggers(
    mut tokens: Vec<EncryptedToken>,
    server: &PublicKey,
    now: Timestamp,
    rng: &mut dyn Random,
) -> Result<Vec<Event>, WireError> {
    shuffle(&mut tokens, rng);
    let mut made = Vec::with_capacity(tokens.len().div_ceil(MAX_PIECES));
    for batch in tokens.chunks(MAX_PIECES) {
        let mut pieces = batch.to_vec();
        // rule: 2.11-7
        while !pieces.len().is_power_of_two() {
            pieces.push(EncryptedToken::padding(rng));
        }
        shuffle(&mut pieces, rng);
        // rule: 2.11-6 the seal's key is not the wrap's, and neither is the account's.
        let sender = Keys::from_random(rng)?;
        let content: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_bytes()).copied().collect();
        let rumor = UnsignedEvent {
            pubkey: sender.public_key(),
            created_at: now,
            kind: kind::PUSH_TRIGGER,
            tags: vec![tag(&["v", VERSION])],
            content: STANDARD.encode(content),
        };
        made.push(gift_wrap::wrap(rumor, &sender, server, now, rng)?);
    }
    Ok(made)
}

fn shuffle(pieces: &mut [EncryptedToken], rng: &mut dyn Random) {
    for last in (1..pieces.len()).rev() {
        pieces.swap(last, up_to(rng, last as u32) as usize);
    }
}

/// The pieces of a trigger, as a server reads them. Some may be padding, which does not open.
///
/// # Errors
/// Another kind or version, no base64, or not 1 to 32 whole pieces.
pub fn read_trigger(rumor: &UnsignedEvent) -> Result<Vec<EncryptedToken>, WireError> {
    // rule: 2.11-8
    let refused = WireError::TransportRejected;
    if rumor.kind != kind::PUSH_TRIGGER || rumor.tags != [tag(&["v", VERSION])] {
        return Err(refused("not a trigger of this version"));
    }
    // Nothing longer is decoded.
    if rumor.content.len() > (MAX_ENTRIES * EncryptedToken::BYTES).div_ceil(3) * 4 {
        return Err(refused("a trigger of more than 32 pieces"));
    }
    let bytes =
        STANDARD.decode(&rumor.content).map_err(|_| refused("a trigger that is not base64"))?;
    let pieces = bytes.chunks_exact(EncryptedToken::BYTES);
    if bytes.is_empty() || !pieces.remainder().is_empty() {
        return Err(refused("a trigger without whole pieces"));
    }
    if pieces.len() > MAX_ENTRIES {
        return Err(refused("a trigger of more than 32 pieces"));
    }
    pieces.map(EncryptedToken::from_bytes).collect()
}
