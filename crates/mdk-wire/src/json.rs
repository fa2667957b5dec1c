//! JSON of Nostr events: a strict reader and a writer whose bytes are those of NIP-01.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use sha2::{Digest, Sha256};

use crate::error::WireError;
use crate::ids::hex_array;
use crate::limits::{MAX_TAG_VALUES, MAX_TAGS};

/// The members of an event as read; which must be present is for the caller to say.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) id: Option<[u8; 32]>,
    pub(crate) pubkey: [u8; 32],
    pub(crate) created_at: u64,
    pub(crate) kind: u16,
    pub(crate) tags: Vec<Vec<String>>,
    pub(crate) content: String,
    pub(crate) sig: Option<[u8; 64]>,
}

/// The error of a member that an event does not have, or has already.
pub(crate) const STRANGE_MEMBER: WireError =
    WireError::InvalidEncoding("a member that an event does not have, or has once");

/// Reads one JSON object with the members of an event, each at most once, nothing else, and no rest.
///
/// `id` and `sig` may be absent; the others must be there.
pub(crate) fn read(bytes: &[u8]) -> Result<Fields, WireError> {
    let cause = Cell::new(None);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let fields = FieldsSeed(&cause).deserialize(&mut json);
    let fields = fields.and_then(|fields| json.end().map(|()| fields));
    fields.map_err(|_| {
        cause.take().unwrap_or(WireError::InvalidEncoding(
            "not a JSON object with exactly the members of an event",
        ))
    })
}

struct FieldsSeed<'c>(&'c Cell<Option<WireError>>);

#[derive(Clone, Copy)]
enum Member {
    Id,
    Pubkey,
    CreatedAt,
    Kind,
    Tags,
    Content,
    Sig,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Fields, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        let mut seen = 0u8;
        while let Some(member) = map.next_key_seed(MemberSeed(self.0))? {
            let bit = 1u8 << member as u8;
            if seen & bit != 0 {
                self.0.set(Some(STRANGE_MEMBER));
                return Err(A::Error::custom("duplicate member"));
            }
            seen |= bit;
            match member {
                Member::Id => fields.id = Some(map.next_value_seed(HexSeed::<32>)?),
                Member::Pubkey => fields.pubkey = map.next_value_seed(HexSeed::<32>)?,
                Member::CreatedAt => fields.created_at = map.next_value()?,
                Member::Kind => fields.kind = map.next_value()?,
                Member::Tags => fields.tags = map.next_value_seed(TagsSeed(self.0))?,
                Member::Content => fields.content = map.next_value()?,
                Member::Sig => fields.sig = Some(map.next_value_seed(HexSeed::<64>)?),
            }
        }
        let needed =
            [Member::Pubkey, Member::CreatedAt, Member::Kind, Member::Tags, Member::Content];
        if needed.iter().any(|m| seen & (1 << *m as u8) == 0) {
            return Err(A::Error::custom("missing member"));
        }
        Ok(fields)
    }
}

struct MemberSeed<'c>(&'c Cell<Option<WireError>>);

impl<'de> DeserializeSeed<'de> for MemberSeed<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Member, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberSeed<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member of an event")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Member, E> {
        Ok(match name {
            "id" => Member::Id,
            "pubkey" => Member::Pubkey,
            "created_at" => Member::CreatedAt,
            "kind" => Member::Kind,
            "tags" => Member::Tags,
            "content" => Member::Content,
            "sig" => Member::Sig,
            _ => {
                self.0.set(Some(STRANGE_MEMBER));
                return Err(E::custom("unknown member"));
            }
        })
    }
}

struct HexSeed<const N: usize>;

impl<'de, const N: usize> DeserializeSeed<'de> for HexSeed<N> {
    type Value = [u8; N];

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<[u8; N], D::Error> {
        json.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for HexSeed<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lowercase hex")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        hex_array(text).ok_or_else(|| E::custom("not lowercase hex"))
    }
}

struct TagsSeed<'c>(&'c Cell<Option<WireError>>);

impl<'de> DeserializeSeed<'de> for TagsSeed<'_> {
    type Value = Vec<Vec<String>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TagsSeed<'_> {
    type Value = Vec<Vec<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut tags = Vec::new();
        while let Some(tag) = seq.next_element_seed(TagSeed(self.0))? {
            if tags.len() == MAX_TAGS {
                let actual = MAX_TAGS + 1 + rest(&mut seq);
                self.0.set(Some(WireError::TooManyTags { limit: MAX_TAGS, actual }));
                return Err(A::Error::custom("too many tags"));
            }
            tags.push(tag);
        }
        Ok(tags)
    }
}

/// The number of elements behind the limit, for a caller who has to make them fewer; none of them is kept.
fn rest<'de, A: SeqAccess<'de>>(seq: &mut A) -> usize {
    std::iter::from_fn(|| seq.next_element::<IgnoredAny>().ok().flatten()).count()
}

struct TagSeed<'c>(&'c Cell<Option<WireError>>);

impl<'de> DeserializeSeed<'de> for TagSeed<'_> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for TagSeed<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut tag: Vec<String> = Vec::new();
        while let Some(value) = seq.next_element()? {
            if tag.len() == MAX_TAG_VALUES {
                let actual = MAX_TAG_VALUES + 1 + rest(&mut seq);
                self.0.set(Some(WireError::TooManyTagValues { limit: MAX_TAG_VALUES, actual }));
                return Err(A::Error::custom("too many values"));
            }
            tag.push(value);
        }
        Ok(tag)
    }
}

/// The sink for JSON: bytes, or straight into the hash that makes the event id.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Writes a JSON string. NIP-01 names seven escapes; the other control characters are written as
/// `\u00xx`, as every JSON library does (raw ones would not be JSON), so that ids agree with peers.
pub(crate) fn string(out: &mut impl Sink, text: &str) {
    out.put(b"\"");
    for block in text.as_bytes().chunks(1024) {
        // Without an early exit the compiler checks a whole block with vector instructions.
        if !block.iter().fold(false, |any, b| any | needs_escape(*b)) {
            out.put(block);
            continue;
        }
        let mut clean = 0;
        for (at, byte) in block.iter().enumerate() {
            if needs_escape(*byte) {
                out.put(&block[clean..at]);
                escape(out, *byte);
                clean = at + 1;
            }
        }
        out.put(&block[clean..]);
    }
    out.put(b"\"");
}

fn escape(out: &mut impl Sink, byte: u8) {
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        0x08 => out.put(b"\\b"),
        0x0c => out.put(b"\\f"),
        _ => {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.put(b"\\u00");
            out.put(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// Writes `"` + lowercase hex + `"`.
pub(crate) fn hex_string<const N: usize>(out: &mut impl Sink, bytes: &[u8; N]) {
    let mut text = [0u8; 128];
    let text = &mut text[..N * 2];
    hex::encode_to_slice(bytes, text).expect("N is 32 or 64");
    out.put(b"\"");
    out.put(text);
    out.put(b"\"");
}

/// Writes the array of tags.
pub(crate) fn tags(out: &mut impl Sink, tags: &[Vec<String>]) {
    out.put(b"[");
    for (i, tag) in tags.iter().enumerate() {
        out.put(if i == 0 { b"[" } else { b",[" });
        for (j, value) in tag.iter().enumerate() {
            if j > 0 {
                out.put(b",");
            }
            string(out, value);
        }
        out.put(b"]");
    }
    out.put(b"]");
}
