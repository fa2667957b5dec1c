//! The `imeta` tag (NIP-92) of an encrypted attachment: one text a field, name and value with a space between them.

use super::{Attachment, check_name, check_type};
use crate::error::WireError;
use crate::v2::codec::{invalid, limit_bytes, limit_entries};
use crate::v2::components::MEDIA_FORMAT;
use crate::v2::limits;

/// Name of the tag.
pub(super) const IMETA: &str = "imeta";
const HASH: &str = "hash is not 64 lower-case hex digits";
const NONCE: &str = "nonce is not 24 lower-case hex digits";

/// A field that stands once: its name, and the errors for a field that stands twice, or not at all.
struct Field {
    name: &'static str,
    twice: &'static str,
    missing: &'static str,
}

macro_rules! field {
    ($name:literal) => {
        Field {
            name: $name,
            twice: concat!("exactly one ", $name, " is allowed"),
            missing: concat!("missing ", $name),
        }
    };
}

/// In the order in which they are written; the locators stand behind the first.
const FIELDS: [Field; 8] = [
    field!("v"),
    field!("ciphertext_sha256"),
    field!("plaintext_sha256"),
    field!("nonce"),
    field!("m"),
    field!("filename"),
    field!("dim"),
    field!("thumbhash"),
];

impl Attachment {
    /// Whether a tag claims to be an attachment.
    #[must_use]
    pub fn is_imeta(tag: &[String]) -> bool {
        tag.first().is_some_and(|name| name == IMETA)
    }

    /// Reads an `imeta` tag. Fields of names that the format does not have are passed over: it is not known whether
    /// peers refuse them, and they change neither key nor address.
    ///
    /// # Errors
    /// Another version, a field that is missing, malformed or stands twice, or a `blurhash`.
    pub fn from_tag(tag: &[String]) -> Result<Self, WireError> {
        if !Self::is_imeta(tag) {
            return Err(invalid("tag is not imeta"));
        }
        let mut values: [Option<&str>; FIELDS.len()] = [None; FIELDS.len()];
        let mut locators = Vec::new();
        for text in &tag[1..] {
            let (name, value) = text.split_once(' ').unwrap_or((text, ""));
            if name == "locator" {
                // rule: 2.10-7
                limit_entries("locators", locators.len() + 1, limits::ATTACHMENT_LOCATORS)?;
                locators.push(locator(value)?);
            } else if name == "blurhash" {
                // rule: 2.10-12
                return Err(invalid("blurhash is not allowed: this format has thumbhash"));
            } else if let Some(at) = FIELDS.iter().position(|field| field.name == name)
                && values[at].replace(value).is_some()
            {
                return Err(invalid(FIELDS[at].twice));
            }
        }
        let need = |at: usize| values[at].ok_or(invalid(FIELDS[at].missing));
        // rule: 2.10-6
        if need(0)? != MEDIA_FORMAT {
            return Err(invalid("unknown version of the attachment"));
        }
        if locators.is_empty() {
            return Err(invalid("missing locator"));
        }
        // rule: 2.10-8
        let (ciphertext_sha256, sha256) = (hex(need(1)?, HASH)?, hex(need(2)?, HASH)?);
        // rule: 2.10-9
        let nonce = hex(need(3)?, NONCE)?;
        let (mime_type, filename) = (need(4)?, need(5)?);
        check_type(mime_type)?;
        check_name(filename)?;
        let (dim, thumbhash) = (values[6], values[7]);
        check_hints(dim.unwrap_or_default(), thumbhash.unwrap_or_default())?;
        Ok(Self {
            filename: filename.to_owned(),
            mime_type: mime_type.to_owned(),
            size: None,
            sha256,
            ciphertext_sha256,
            nonce,
            locators,
            dimensions: dim.and_then(dimensions),
            thumbhash: thumbhash.map(str::to_owned),
        })
    }

    /// Writes the tag, its fields in the order that other implementations write them in.
    ///
    /// # Errors
    /// A field is not allowed, or there is no locator.
    pub fn to_tag(&self) -> Result<Vec<String>, WireError> {
        check_type(&self.mime_type)?;
        check_name(&self.filename)?;
        check_hints("", self.thumbhash.as_deref().unwrap_or_default())?;
        limit_entries("locators", self.locators.len(), limits::ATTACHMENT_LOCATORS)?;
        if self.locators.is_empty() {
            return Err(invalid("missing locator"));
        }
        let mut tag = vec![IMETA.to_owned(), format!("v {MEDIA_FORMAT}")];
        for (kind, address) in &self.locators {
            let text = format!("{kind} {address}");
            if locator(&text)? != (kind.clone(), address.clone()) {
                return Err(invalid("locator kind with a space"));
            }
            tag.push(format!("locator {text}"));
        }
        tag.push(format!("ciphertext_sha256 {}", hex::encode(self.ciphertext_sha256)));
        tag.push(format!("plaintext_sha256 {}", hex::encode(self.sha256)));
        tag.push(format!("nonce {}", hex::encode(self.nonce)));
        tag.push(format!("m {}", self.mime_type));
        tag.push(format!("filename {}", self.filename));
        if let Some((width, height)) = self.dimensions {
            tag.push(format!("dim {width}x{height}"));
        }
        if let Some(thumbhash) = &self.thumbhash {
            tag.push(format!("thumbhash {thumbhash}"));
        }
        Ok(tag)
    }
}

// rule: 2.10-7
fn locator(value: &str) -> Result<(String, String), WireError> {
    let Some((kind, address)) = value.split_once(' ') else {
        return Err(invalid("locator is not a kind and an address"));
    };
    limit_bytes("locator kind", kind.len(), limits::ATTACHMENT_LOCATOR_KIND_BYTES)?;
    limit_bytes("locator address", address.len(), limits::ATTACHMENT_LOCATOR_BYTES)?;
    if kind.is_empty() || address.is_empty() {
        return Err(invalid("locator is not a kind and an address"));
    }
    Ok((kind.to_owned(), address.to_owned()))
}

// rule: 2.10-12
fn check_hints(dim: &str, thumbhash: &str) -> Result<(), WireError> {
    limit_bytes("dim", dim.len(), limits::ATTACHMENT_HINT_BYTES)?;
    limit_bytes("thumbhash", thumbhash.len(), limits::ATTACHMENT_HINT_BYTES)
}

/// `800x600`. Anything else is no size, and says nothing against the attachment.
fn dimensions(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(width)?, number(height)?))
}

fn hex<const N: usize>(text: &str, why: &'static str) -> Result<[u8; N], WireError> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut bytes = [0; N];
    if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
        return Err(invalid(why));
    }
    Ok(bytes)
}
