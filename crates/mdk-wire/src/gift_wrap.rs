//! NIP-59: a rumor in a seal (kind 13) in a gift wrap (kind 1059).

use std::fmt;

use crate::error::{Broken, WireError, breaks};
use crate::event::{Event, UnsignedEvent, only_tag, tag};
use crate::ids::{PublicKey, Timestamp};
use crate::keys::Keys;
use crate::kind;
use crate::limits::{MAX_EVENT_BYTES, MAX_PAYLOAD_BYTES};
use crate::nip44;
use crate::payload::parse_unsigned;
use crate::random::{Random, up_to};
use crate::stack::apart;

/// Seal and wrap are dated up to this many seconds (two days) back.
pub const MAX_BACKDATE: u32 = 2 * 24 * 60 * 60;

/// The JSON of a wrap beside its content stays below this.
const ENVELOPE_BYTES: usize = 1024;

/// The content of a gift wrap.
#[derive(Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// The author of the seal, equal to the author of the rumor.
    pub sender: PublicKey,
    /// The rumor.
    pub rumor: UnsignedEvent,
}

impl fmt::Debug for Unwrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwrapped").finish_non_exhaustive()
    }
}

/// Wraps a rumor for one recipient: seal and wrap are dated back by up to two days each, the wrap is
/// signed by a fresh key and has exactly one `p` tag.
///
/// # Errors
///
/// [`WireError::TransportRejected`] if the rumor is not by `sender`, [`WireError::PayloadTooLarge`] or
/// [`WireError::EventTooLarge`] over a limit, [`WireError::BrokenRandom`].
pub fn wrap(
    rumor: UnsignedEvent,
    sender: &Keys,
    recipient: &PublicKey,
    now: Timestamp,
    rng: &mut dyn Random,
) -> Result<Event, WireError> {
    // Wraps are made on threads of their own, too, whose stacks stay mapped when they have ended.
    apart(|| wrap_for(rumor, sender, recipient, now, rng))
}

fn wrap_for(
    rumor: UnsignedEvent,
    sender: &Keys,
    recipient: &PublicKey,
    now: Timestamp,
    rng: &mut dyn Random,
) -> Result<Event, WireError> {
    if rumor.pubkey != sender.public_key() {
        return Err(WireError::TransportRejected("rumor is by another account"));
    }
    let rumor = rumor.to_json();
    if rumor.len() > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLarge { limit: MAX_PAYLOAD_BYTES, actual: rumor.len() });
    }
    let seal = UnsignedEvent {
        pubkey: sender.public_key(),
        created_at: now.saturating_sub(up_to(rng, MAX_BACKDATE)),
        kind: kind::SEAL,
        tags: Vec::new(),
        content: nip44::encrypt(sender, recipient, rumor.as_bytes(), rng)?,
    };
    let seal = seal.sign_with(sender, rng).to_json();
    let ephemeral = Keys::from_random(rng)?;
    let wrap = UnsignedEvent {
        pubkey: ephemeral.public_key(),
        created_at: now.saturating_sub(up_to(rng, MAX_BACKDATE)),
        kind: kind::GIFT_WRAP,
        tags: vec![tag(&["p", &recipient.to_hex()])],
        content: nip44::encrypt(&ephemeral, recipient, seal.as_bytes(), rng)?,
    };
    // No reader of ours would take a larger one.
    let size = wrap.content.len() + ENVELOPE_BYTES;
    if size > MAX_EVENT_BYTES {
        return Err(WireError::EventTooLarge { limit: MAX_EVENT_BYTES, actual: size });
    }
    Ok(wrap.sign_with(&ephemeral, rng))
}

/// Opens a gift wrap and verifies the seal.
///
/// # Errors
///
/// [`WireError::WrongRecipient`] if `p` names another account; [`WireError::TransportRejected`] for a
/// wrong kind, tag or author; [`WireError::DecryptionFailed`]; and the errors of [`Event::from_json`] and
/// [`Payload::parse`](crate::Payload::parse) for seal and rumor. Each with the rule.
pub fn unwrap(event: &Event, recipient: &Keys) -> Result<Unwrapped, Broken> {
    if event.kind() != kind::GIFT_WRAP {
        return Err(breaks("2.4-11")(WireError::TransportRejected("kind is not 1059")));
    }
    check_recipient(event.tags(), &recipient.public_key()).map_err(breaks("B3-1"))?;
    let seal = read_seal(event, recipient).map_err(breaks("B3-2"))?;
    let rumor = read_rumor(&seal, recipient).map_err(breaks("B3-3"))?;
    // rule: V2-B3-4 the seal's author speaks for itself only.
    if rumor.pubkey != seal.pubkey() {
        let differ = WireError::TransportRejected("rumor and seal are by different accounts");
        return Err(breaks("B3-4")(differ));
    }
    Ok(Unwrapped { sender: seal.pubkey(), rumor })
}

// rule: V2-B3-1 exactly one `p`, and it is us.
fn check_recipient(tags: &[Vec<String>], recipient: &PublicKey) -> Result<(), WireError> {
    let p = only_tag(tags, "p", "no p tag", "several p tags")?;
    let p = p.get(1).and_then(|value| PublicKey::from_hex(value).ok());
    let p = p.ok_or(WireError::TransportRejected("p is not a public key"))?;
    if p == *recipient { Ok(()) } else { Err(WireError::WrongRecipient) }
}

// rule: V2-B3-2 the seal's kind, id and signature hold.
fn read_seal(event: &Event, recipient: &Keys) -> Result<Event, WireError> {
    let seal = nip44::decrypt(recipient, &event.pubkey(), event.content())?;
    let seal = Event::from_json(&seal)?;
    if seal.kind() != kind::SEAL {
        return Err(WireError::TransportRejected("seal is not of kind 13"));
    }
    Ok(seal)
}

// rule: V2-B3-3 the rumor opens, is unsigned and, if it states an id, states the right one.
fn read_rumor(seal: &Event, recipient: &Keys) -> Result<UnsignedEvent, WireError> {
    let rumor = nip44::decrypt(recipient, &seal.pubkey(), seal.content())?;
    let (_, rumor) = parse_unsigned(&rumor)?;
    Ok(rumor)
}
