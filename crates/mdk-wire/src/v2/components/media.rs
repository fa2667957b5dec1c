//! The storage of attachments (0x800b).

use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::v2::codec::{invalid, items, limit_bytes, limit_entries, text, web_url, write_items};
use crate::v2::limits;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-60", "the media format is encrypted-media-v2"),
    ("2.2-61", "1 to 64 locator kinds"),
    ("2.2-62", "a locator kind is 1 to 16 of a-z, 0-9 and '-'"),
    ("2.2-63", "locator kinds are unique, in the producer's order"),
    ("2.2-64", "an endpoint's kind is one of the locator kinds"),
    ("2.2-65", "a base URL has 1 to 2048 bytes"),
    ("2.2-66", "a base URL is http or https, normalised, without userinfo, query and fragment"),
];

const FORMAT: &str = "media format";
const KINDS: &str = "locator kinds";
const KIND: &str = "locator kind";
const BASE_URL: &str = "base URL";

/// The only media format of this component.
pub const MEDIA_FORMAT: &str = "encrypted-media-v2";

/// Media policy (0x800b): `media_format<V> kinds<V> of kind<V>, endpoints<V> of {kind<V> base_url<1..2048>}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// Locator kinds that members must understand, 1 to 64, in the producer's order.
    pub kinds: Vec<String>,
    /// Servers to store blobs on.
    pub endpoints: Vec<Endpoint>,
}

/// A server that stores blobs.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// One of the policy's kinds.
    pub kind: String,
    /// Normalised http or https URL.
    pub base_url: String,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Media({} kinds, {} endpoints)", self.kinds.len(), self.endpoints.len())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(..)")
    }
}

impl Endpoint {
    /// An endpoint at this address, which need not be in normal form.
    ///
    /// # Errors
    /// An address that is not allowed.
    pub fn new(kind: &str, base_url: &str) -> Result<Self, WireError> {
        let parsed = url::Url::parse(base_url).map_err(|_| invalid("URL does not parse"))?;
        let base_url = String::from(parsed);
        limit_bytes(BASE_URL, base_url.len(), limits::MEDIA_BASE_URL_BYTES)?;
        web_url(&base_url, &["http", "https"], false)?;
        Ok(Self { kind: kind.to_owned(), base_url })
    }
}

impl Media {
    /// Component id.
    pub const ID: u16 = component_id::MEDIA;

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, another format, or kinds and endpoints that are not allowed.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let format = reader.vector(FORMAT, MEDIA_FORMAT.len())?;
        let mut kind_items = items(&mut reader)?;
        let mut endpoint_items = items(&mut reader)?;
        reader.finish()?;
        // rule: 2.2-60
        if format != MEDIA_FORMAT.as_bytes() {
            return Err(invalid("unknown media format"));
        }
        let mut kinds = Vec::new();
        while !kind_items.is_empty() {
            // rule: 2.2-61
            limit_entries(KINDS, kinds.len() + 1, limits::MEDIA_KINDS)?;
            kinds.push(read_kind(&mut kind_items)?);
        }
        let mut endpoints = Vec::new();
        while !endpoint_items.is_empty() {
            let kind = read_kind(&mut endpoint_items)?;
            // rule: 2.2-65
            let url = endpoint_items.vector(BASE_URL, limits::MEDIA_BASE_URL_BYTES)?;
            endpoints.push(Endpoint { kind, base_url: text(url)? });
        }
        let media = Self { kinds, endpoints };
        media.check()?;
        Ok(media)
    }

    /// Writes the component.
    ///
    /// # Errors
    /// Kinds or endpoints that are not allowed.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut kinds = Writer::new();
        for kind in &self.kinds {
            kinds.vector(KIND, limits::MEDIA_KIND_BYTES, kind.as_bytes())?;
        }
        let mut endpoints = Writer::new();
        for Endpoint { kind, base_url } in &self.endpoints {
            endpoints.vector(KIND, limits::MEDIA_KIND_BYTES, kind.as_bytes())?;
            endpoints.vector(BASE_URL, limits::MEDIA_BASE_URL_BYTES, base_url.as_bytes())?;
        }
        let mut writer = Writer::new();
        writer.vector(FORMAT, MEDIA_FORMAT.len(), MEDIA_FORMAT.as_bytes())?;
        write_items(&mut writer, kinds)?;
        write_items(&mut writer, endpoints)?;
        Ok(writer.into_vec())
    }

    fn check(&self) -> Result<(), WireError> {
        // rule: 2.2-61
        if self.kinds.is_empty() {
            return Err(invalid("media policy has no locator kind"));
        }
        limit_entries(KINDS, self.kinds.len(), limits::MEDIA_KINDS)?;
        for (index, kind) in self.kinds.iter().enumerate() {
            check_kind(kind.as_bytes())?;
            // rule: 2.2-63
            if self.kinds[..index].contains(kind) {
                return Err(invalid("locator kind stands twice"));
            }
        }
        for endpoint in &self.endpoints {
            // rule: 2.2-64
            if !self.kinds.contains(&endpoint.kind) {
                return Err(invalid("endpoint of a kind that is not listed"));
            }
            // rule: 2.2-65
            limit_bytes(BASE_URL, endpoint.base_url.len(), limits::MEDIA_BASE_URL_BYTES)?;
            if endpoint.base_url.is_empty() {
                return Err(invalid("base URL is empty"));
            }
            // rule: 2.2-66
            web_url(&endpoint.base_url, &["http", "https"], false)?;
        }
        Ok(())
    }
}

fn read_kind(reader: &mut Reader<'_>) -> Result<String, WireError> {
    text(reader.vector(KIND, limits::MEDIA_KIND_BYTES)?)
}

fn check_kind(kind: &[u8]) -> Result<(), WireError> {
    // rule: 2.2-62
    limit_bytes(KIND, kind.len(), limits::MEDIA_KIND_BYTES)?;
    if kind.is_empty() || !kind.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    {
        return Err(invalid("locator kind is empty or has a byte that is not allowed"));
    }
    Ok(())
}
