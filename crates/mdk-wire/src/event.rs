//! Nostr events (NIP-01): verified ones, and ones not signed yet.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::curve::{lift, verify};
use crate::error::{Broken, WireError, breaks};
use crate::ids::{EventId, PublicKey, Timestamp};
use crate::json;
use crate::keys::Keys;
use crate::limits::MAX_EVENT_BYTES;
use crate::random::{OsRandom, Random};

/// An event whose id and signature were verified; there is no other way to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    id: EventId,
    unsigned: UnsignedEvent,
    sig: [u8; 64],
}

impl Event {
    /// Reads and verifies an event: a JSON object with exactly the seven members, each once, lowercase
    /// hex, and nothing after it.
    ///
    /// # Errors
    ///
    /// [`WireError::EventTooLarge`], [`WireError::TooManyTags`], [`WireError::TooManyTagValues`] over a
    /// limit; [`WireError::InvalidEncoding`] for another form; [`WireError::InvalidKey`] for a public key
    /// off the curve; [`WireError::InvalidSignature`] for a wrong id or signature. Each with the rule.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Broken> {
        UnverifiedEvent::from_json(bytes)?.verify()
    }

    /// Reads an event that was verified before it was stored: the form is checked, id and signature are not
    /// computed again. Only for bytes whose integrity something else protects.
    ///
    /// # Errors
    ///
    /// As [`Event::from_json`], except for the id and the signature.
    pub fn from_stored_json(bytes: &[u8]) -> Result<Self, WireError> {
        let fields = json::read(bytes)?;
        let (Some(id), Some(sig)) = (fields.id, fields.sig) else {
            return Err(WireError::InvalidEncoding("event without id or sig"));
        };
        let unsigned = UnsignedEvent {
            pubkey: PublicKey::from_bytes(fields.pubkey)?,
            created_at: fields.created_at,
            kind: fields.kind,
            tags: fields.tags,
            content: fields.content,
        };
        Ok(Self { id: EventId::from_bytes(id), unsigned, sig })
    }

    /// The event as compact JSON, in the order of NIP-01.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = self.unsigned.json_without_end(&self.id);
        out.extend_from_slice(b",\"sig\":");
        json::hex_string(&mut out, &self.sig);
        out.push(b'}');
        String::from_utf8(out).expect("written from strings")
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The signer.
    #[must_use]
    pub fn pubkey(&self) -> PublicKey {
        self.unsigned.pubkey
    }

    /// The signer's claimed time, in Unix seconds.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.unsigned.created_at
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.unsigned.kind
    }

    /// The tags; each has at least one string.
    #[must_use]
    pub fn tags(&self) -> &[Vec<String>] {
        &self.unsigned.tags
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.unsigned.content
    }

    /// The bytes that the event takes in memory, about: its text, and a list entry for each string of a tag.
    #[must_use]
    pub fn weight(&self) -> usize {
        const MEMBERS: usize = 256;
        const STRING: usize = 32;
        let tags = self
            .unsigned
            .tags
            .iter()
            .map(|tag| STRING + tag.iter().map(|value| STRING + value.len()).sum::<usize>());
        MEMBERS + self.unsigned.content.len() + tags.sum::<usize>()
    }

    /// The BIP-340 signature over the id.
    #[must_use]
    pub fn sig(&self) -> &[u8; 64] {
        &self.sig
    }
}

/// An event as somebody else claims it: its form is right, and nobody has looked at its id and its signature.
///
/// For a reader who first asks whether the event is one that was asked for, which costs less than a signature.
pub struct UnverifiedEvent {
    fields: json::Fields,
    id: [u8; 32],
    sig: [u8; 64],
}

impl UnverifiedEvent {
    /// Reads an event as [`Event::from_json`] does, up to the id and the signature.
    ///
    /// # Errors
    ///
    /// As [`Event::from_json`], except for the key, the id and the signature.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Broken> {
        // rule: V2-D1-0 the form and its bounds.
        let form = breaks("D1-0");
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(form(WireError::EventTooLarge {
                limit: MAX_EVENT_BYTES,
                actual: bytes.len(),
            }));
        }
        let fields = json::read(bytes).map_err(&form)?;
        let (Some(id), Some(sig)) = (fields.id, fields.sig) else {
            return Err(form(WireError::InvalidEncoding("event without id or sig")));
        };
        // A tag is known by its first string (NIP-01), so there must be one.
        if fields.tags.iter().any(Vec::is_empty) {
            return Err(form(WireError::InvalidEncoding("a tag without a name")));
        }
        Ok(Self { fields, id, sig })
    }

    /// Verifies the key, the id and the signature.
    ///
    /// # Errors
    ///
    /// [`WireError::InvalidKey`] for a public key off the curve; [`WireError::InvalidSignature`] for a wrong id or
    /// signature. Each with the rule.
    pub fn verify(self) -> Result<Event, Broken> {
        let Self { fields, id, sig } = self;
        let point = lift(&fields.pubkey).map_err(breaks("D1-0"))?;
        let unsigned = UnsignedEvent {
            pubkey: PublicKey::from_lifted(fields.pubkey),
            created_at: fields.created_at,
            kind: fields.kind,
            tags: fields.tags,
            content: fields.content,
        };
        // rule: V2-2.4-1 id and signature come first.
        let verified = breaks("2.4-1");
        if unsigned.id().as_bytes() != &id {
            return Err(verified(WireError::InvalidSignature("event id is not its hash")));
        }
        verify(&point, &id, &sig).map_err(verified)?;
        Ok(Event { id: EventId::from_bytes(id), unsigned, sig })
    }

    /// The id that it claims.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::from_bytes(self.id)
    }

    /// The bytes of the key that it claims; they may be no key.
    #[must_use]
    pub fn pubkey(&self) -> &[u8; 32] {
        &self.fields.pubkey
    }

    /// The time that it claims, in Unix seconds.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.fields.created_at
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.fields.kind
    }

    /// The tags; each has at least one string.
    #[must_use]
    pub fn tags(&self) -> &[Vec<String>] {
        &self.fields.tags
    }
}

impl fmt::Debug for UnverifiedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedEvent").field("kind", &self.fields.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("kind", &self.unsigned.kind).finish_non_exhaustive()
    }
}

/// An event without signature: a rumor, an application payload, or something to sign.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsignedEvent {
    /// The author.
    pub pubkey: PublicKey,
    /// Unix seconds.
    pub created_at: Timestamp,
    /// The kind.
    pub kind: u16,
    /// The tags; signed, each should have at least one string: readers of events refuse others.
    pub tags: Vec<Vec<String>>,
    /// The content.
    pub content: String,
}

impl UnsignedEvent {
    /// The NIP-01 id: SHA-256 of `[0,pubkey,created_at,kind,tags,content]`.
    #[must_use]
    pub fn id(&self) -> EventId {
        let mut hash = Sha256::new();
        // The short members go through one buffer: many tiny updates would cost more than the hash.
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"[0,");
        json::hex_string(&mut head, self.pubkey.as_bytes());
        head.extend_from_slice(format!(",{},{},", self.created_at, self.kind).as_bytes());
        json::tags(&mut head, &self.tags);
        head.push(b',');
        hash.update(&head);
        json::string(&mut hash, &self.content);
        hash.update(b"]");
        EventId::from_bytes(hash.finalize().into())
    }

    /// Signs with auxiliary randomness from the operating system.
    ///
    /// The author becomes the key's account, in place of `pubkey`.
    #[must_use]
    pub fn sign(self, keys: &Keys) -> Event {
        self.sign_with(keys, &mut OsRandom)
    }

    /// Signs with auxiliary randomness from `rng`; otherwise as [`sign`](Self::sign).
    #[must_use]
    pub fn sign_with(mut self, keys: &Keys, rng: &mut dyn Random) -> Event {
        self.pubkey = keys.public_key();
        self.signed(|digest| keys.sign_digest_with(digest, rng))
    }

    /// Signed by `sign`, which must hold the key of `pubkey`.
    pub(crate) fn signed(self, sign: impl FnOnce(&[u8; 32]) -> [u8; 64]) -> Event {
        let id = self.id();
        let sig = sign(id.as_bytes());
        Event { id, unsigned: self, sig }
    }

    /// The six members as compact JSON: id, pubkey, created_at, kind, tags, content.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_json_with(&self.id())
    }

    /// As [`to_json`](Self::to_json), for who has computed the id already. It is written as it is given.
    #[must_use]
    pub fn to_json_with(&self, id: &EventId) -> String {
        let mut out = self.json_without_end(id);
        out.push(b'}');
        String::from_utf8(out).expect("written from strings")
    }

    fn json_without_end(&self, id: &EventId) -> Vec<u8> {
        let tags: usize = self.tags.iter().flatten().map(|v| v.len() + 4).sum();
        let mut out = Vec::with_capacity(self.content.len() + tags + 512);
        out.extend_from_slice(b"{\"id\":");
        json::hex_string(&mut out, id.as_bytes());
        out.extend_from_slice(b",\"pubkey\":");
        json::hex_string(&mut out, self.pubkey.as_bytes());
        out.extend_from_slice(
            format!(",\"created_at\":{},\"kind\":{},\"tags\":", self.created_at, self.kind)
                .as_bytes(),
        );
        json::tags(&mut out, &self.tags);
        out.extend_from_slice(b",\"content\":");
        json::string(&mut out, &self.content);
        out
    }
}

impl fmt::Debug for UnsignedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsignedEvent").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The one tag called `name`, or why there is none: `missing` or `repeated`.
pub(crate) fn only_tag<'t>(
    tags: &'t [Vec<String>],
    name: &str,
    missing: &'static str,
    repeated: &'static str,
) -> Result<&'t [String], WireError> {
    let mut found = tags.iter().filter(|tag| tag.first().is_some_and(|first| first == name));
    let tag = found.next().ok_or(WireError::TransportRejected(missing))?;
    if found.next().is_some() {
        return Err(WireError::TransportRejected(repeated));
    }
    Ok(tag)
}

/// A tag from its strings.
pub(crate) fn tag(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}
