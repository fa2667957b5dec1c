//! Welcomes: the kind 444 rumor (state B3) and the framing of MLSMessage(Welcome) (RFC 9420 12.4.3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Broken, WireError, breaks};
use crate::event::{UnsignedEvent, only_tag, tag};
use crate::gift_wrap::Unwrapped;
use crate::ids::{ContentId, EventId, KeyPackageRef, PublicKey, Timestamp};
use crate::kind;
use crate::limits::{MAX_RELAYS, MAX_VECTOR_BYTES, MAX_WELCOME_BYTES};
use crate::relay_url;
use crate::varint::{Reader, Writer};

/// A received Welcome, its MLS part still unread.
#[derive(Clone, PartialEq, Eq)]
pub struct WelcomeRumor {
    /// The author of the seal; need not be the member who made the Welcome.
    pub sender: PublicKey,
    /// Id of the rumor.
    pub rumor_id: EventId,
    /// Unix seconds.
    pub created_at: Timestamp,
    /// The kind 30443 event said to be consumed; informative.
    pub key_package_event: EventId,
    /// The stated relays of the group: 1 to 16 URLs.
    pub relays: Vec<String>,
    /// MLSMessage(Welcome).
    pub mls_message: Vec<u8>,
}

impl fmt::Debug for WelcomeRumor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WelcomeRumor").finish_non_exhaustive()
    }
}

/// Builds the unsigned kind 444 event for one invitee.
///
/// # Errors
///
/// The errors of [`parse`].
pub fn rumor(
    sender: PublicKey,
    mls_welcome: &[u8],
    key_package_event: &EventId,
    relays: &[String],
    created_at: Timestamp,
) -> Result<UnsignedEvent, WireError> {
    check_size(mls_welcome.len())?;
    if mls_welcome.is_empty() {
        return Err(WireError::InvalidEncoding("welcome is empty"));
    }
    check_relays(relays)?;
    let mut relay_tag = tag(&["relays"]);
    relay_tag.extend_from_slice(relays);
    Ok(UnsignedEvent {
        pubkey: sender,
        created_at,
        kind: kind::WELCOME,
        tags: vec![tag(&["e", &key_package_event.to_hex()]), relay_tag],
        content: STANDARD.encode(mls_welcome),
    })
}

/// Reads an unwrapped kind 444 rumor. Tags other than `e` and `relays` are ignored.
///
/// # Errors
///
/// [`WireError::TransportRejected`] for kind or tags, [`WireError::InvalidEncoding`] for content or a
/// relay URL, [`WireError::TooManyRelays`], [`WireError::RelayUrlTooLong`] and
/// [`WireError::WelcomeTooLarge`] over a limit. Each with the rule.
pub fn parse(unwrapped: Unwrapped) -> Result<WelcomeRumor, Broken> {
    let Unwrapped { sender, rumor } = unwrapped;
    if rumor.kind != kind::WELCOME {
        return Err(breaks("B3-8")(WireError::TransportRejected("rumor is not of kind 444")));
    }
    if sender != rumor.pubkey {
        let differ = WireError::TransportRejected("rumor and seal are by different accounts");
        return Err(breaks("B3-4")(differ));
    }
    Ok(WelcomeRumor {
        sender,
        rumor_id: rumor.id(),
        created_at: rumor.created_at,
        key_package_event: read_e(&rumor.tags).map_err(breaks("B3-5"))?,
        relays: read_relays(&rumor.tags).map_err(breaks("B3-6"))?.to_vec(),
        mls_message: read_content(&rumor.content).map_err(breaks("B3-7"))?,
    })
}

// rule: V2-B3-5 exactly one `e`, a lowercase event id.
fn read_e(tags: &[Vec<String>]) -> Result<EventId, WireError> {
    let e = only_tag(tags, "e", "no e tag", "several e tags")?;
    let e = e.get(1).and_then(|value| EventId::from_hex(value).ok());
    e.ok_or(WireError::TransportRejected("e is not an event id"))
}

// rule: V2-B3-6 exactly one `relays`, 1 to 16 relay URLs.
fn read_relays(tags: &[Vec<String>]) -> Result<&[String], WireError> {
    let relays = only_tag(tags, "relays", "no relays tag", "several relays tags")?;
    let relays = relays.get(1..).unwrap_or_default();
    check_relays(relays)?;
    Ok(relays)
}

// rule: V2-B3-7 standard base64, not empty.
fn read_content(content: &str) -> Result<Vec<u8>, WireError> {
    check_size(content.len() / 4 * 3)?;
    let message = STANDARD
        .decode(content)
        .map_err(|_| WireError::InvalidEncoding("content is not standard base64"))?;
    if message.is_empty() {
        return Err(WireError::InvalidEncoding("welcome is empty"));
    }
    Ok(message)
}

fn check_relays(relays: &[String]) -> Result<(), WireError> {
    if relays.is_empty() {
        return Err(WireError::TransportRejected("no relay is named"));
    }
    if relays.len() > MAX_RELAYS {
        return Err(WireError::TooManyRelays { limit: MAX_RELAYS, actual: relays.len() });
    }
    relays.iter().try_for_each(|relay| relay_url::check(relay))
}

fn check_size(actual: usize) -> Result<(), WireError> {
    // A multiple of 3, so that padding cannot lift the estimate from base64 text over the limit.
    const { assert!(MAX_WELCOME_BYTES.is_multiple_of(3)) };
    if actual > MAX_WELCOME_BYTES {
        return Err(WireError::WelcomeTooLarge { limit: MAX_WELCOME_BYTES, actual });
    }
    Ok(())
}

/// MLSMessage(Welcome), cut into its parts.
struct Framing<'a> {
    cipher_suite: u16,
    /// Reference and the whole EncryptedGroupSecrets of each recipient.
    secrets: Vec<(KeyPackageRef, &'a [u8])>,
    encrypted_group_info: &'a [u8],
}

const MLS_10: u16 = 1;
const WIRE_FORMAT_WELCOME: u16 = 3;

impl<'a> Framing<'a> {
    fn read(message: &'a [u8]) -> Result<Self, WireError> {
        if message.len() > MAX_WELCOME_BYTES {
            return Err(WireError::WelcomeTooLarge {
                limit: MAX_WELCOME_BYTES,
                actual: message.len(),
            });
        }
        let mut reader = Reader::new(message);
        if reader.u16()? != MLS_10 || reader.u16()? != WIRE_FORMAT_WELCOME {
            return Err(WireError::InvalidEncoding("not an MLS 1.0 Welcome"));
        }
        let cipher_suite = reader.u16()?;
        let mut entries = Reader::new(reader.vector("secrets", MAX_VECTOR_BYTES)?);
        let mut secrets = Vec::new();
        while !entries.is_empty() {
            let mut rest = entries.clone();
            let reference = entries.vector("new_member", 255)?;
            entries.vector("kem_output", MAX_VECTOR_BYTES)?;
            entries.vector("ciphertext", MAX_VECTOR_BYTES)?;
            let whole = rest.take(rest.remaining() - entries.remaining())?;
            let reference = reference
                .try_into()
                .map_err(|_| WireError::InvalidEncoding("KeyPackageRef is not 32 bytes"))?;
            secrets.push((KeyPackageRef::from_bytes(reference), whole));
        }
        let encrypted_group_info = reader.vector("encrypted_group_info", MAX_VECTOR_BYTES)?;
        reader.finish()?;
        if secrets.is_empty() || encrypted_group_info.is_empty() {
            return Err(WireError::InvalidEncoding("Welcome without recipient or group"));
        }
        Ok(Self { cipher_suite, secrets, encrypted_group_info })
    }
}

/// The KeyPackages that an MLSMessage(Welcome) is for, in its order.
///
/// # Errors
///
/// [`WireError::InvalidEncoding`] if it is not exactly one MLS 1.0 Welcome with 32-byte references,
/// [`WireError::WelcomeTooLarge`] over the limit.
pub fn recipients(mls_welcome_message: &[u8]) -> Result<Vec<KeyPackageRef>, WireError> {
    let framing = Framing::read(mls_welcome_message)?;
    Ok(framing.secrets.iter().map(|(r, _)| *r).collect())
}

/// The id of a Welcome: the hash of its encrypted GroupInfo, which is the same for all accounts that one commit adds.
///
/// The secrets for the recipients stand before it, and each is authenticated for its own recipient only. Anybody who
/// has a Welcome can change the secrets of others, leave them out (RFC 9420, section 12.4.3.1) or add to them.
///
/// # Errors
///
/// As [`recipients`].
pub fn content_id(mls_welcome_message: &[u8]) -> Result<ContentId, WireError> {
    Ok(ContentId::of(Framing::read(mls_welcome_message)?.encrypted_group_info))
}

/// The same Welcome for one recipient: the other recipients' secrets are left out, as RFC 9420
/// section 12.4.3.1 allows.
///
/// # Errors
///
/// As [`recipients`], and [`WireError::InvalidEncoding`] unless `reference` occurs exactly once.
pub fn for_recipient(
    mls_welcome_message: &[u8],
    reference: &KeyPackageRef,
) -> Result<Vec<u8>, WireError> {
    let framing = Framing::read(mls_welcome_message)?;
    let mut own = framing.secrets.iter().filter(|(r, _)| r == reference);
    let (Some((_, secrets)), None) = (own.next(), own.next()) else {
        return Err(WireError::InvalidEncoding(
            "Welcome does not name the KeyPackage exactly once",
        ));
    };
    let capacity = 16 + secrets.len() + framing.encrypted_group_info.len();
    let mut writer = Writer::with_capacity(capacity);
    writer
        .u16(MLS_10)
        .u16(WIRE_FORMAT_WELCOME)
        .u16(framing.cipher_suite)
        .vector("secrets", MAX_VECTOR_BYTES, secrets)?
        .vector("encrypted_group_info", MAX_VECTOR_BYTES, framing.encrypted_group_info)?;
    Ok(writer.into_vec())
}
