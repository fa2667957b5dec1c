//! The public group picture (0x8007).

use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::v2::codec::{invalid, limit_bytes, text, web_url};
use crate::v2::limits;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-55", "an avatar URL has at most 2048 bytes"),
    ("2.2-56", "the avatar hints have at most 256 bytes each"),
    ("2.2-57", "an avatar URL is https, without userinfo and fragment"),
    ("2.2-58", "an avatar URL is in WHATWG-normal form"),
    ("2.2-59", "without an avatar URL there are no hints"),
];

const URL: &str = "avatar URL";
const DIM: &str = "avatar dim";
const THUMBHASH: &str = "avatar thumbhash";

/// The public group picture (0x8007); wins over the image of 0x8002. Empty means that there is none.
/// Bytes: `url<0..2048> dim<0..256> thumbhash<0..256>`.
///
/// The hints are opaque: only their lengths are checked, and they are kept byte for byte.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AvatarUrl {
    /// An https URL in WHATWG-normal form, or empty.
    pub url: String,
    /// Size hint, by convention text like `640x480`.
    pub dim: Vec<u8>,
    /// Preview hint, by convention a base64 thumbhash.
    pub thumbhash: Vec<u8>,
}

impl fmt::Debug for AvatarUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AvatarUrl({} bytes)", self.url.len())
    }
}

impl AvatarUrl {
    /// Component id.
    pub const ID: u16 = component_id::AVATAR;

    /// A picture at this address, which need not be in normal form, without hints.
    ///
    /// # Errors
    /// An address that is not allowed.
    pub fn new(url: &str) -> Result<Self, WireError> {
        let parsed = url::Url::parse(url).map_err(|_| invalid("URL does not parse"))?;
        let url = String::from(parsed);
        limit_bytes(URL, url.len(), limits::AVATAR_URL_BYTES)?;
        let avatar = Self { url, ..Self::default() };
        avatar.check()?;
        Ok(avatar)
    }

    /// Whether the group has no avatar URL.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.url.is_empty()
    }

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, not UTF-8, too long, or a URL that is not allowed.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        // rule: 2.2-55
        let url = reader.vector(URL, limits::AVATAR_URL_BYTES)?;
        // rule: 2.2-56
        let dim = reader.vector(DIM, limits::AVATAR_DIM_BYTES)?;
        let thumbhash = reader.vector(THUMBHASH, limits::AVATAR_THUMBHASH_BYTES)?;
        reader.finish()?;
        let avatar = Self { url: text(url)?, dim: dim.to_vec(), thumbhash: thumbhash.to_vec() };
        avatar.check()?;
        Ok(avatar)
    }

    /// Writes the component.
    ///
    /// # Errors
    /// Too long, a URL that is not allowed, or hints without a URL.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let mut writer = Writer::new();
        writer.vector(URL, limits::AVATAR_URL_BYTES, self.url.as_bytes())?;
        writer.vector(DIM, limits::AVATAR_DIM_BYTES, &self.dim)?;
        writer.vector(THUMBHASH, limits::AVATAR_THUMBHASH_BYTES, &self.thumbhash)?;
        Ok(writer.into_vec())
    }

    fn check(&self) -> Result<(), WireError> {
        if self.is_absent() {
            // rule: 2.2-59 (the all-empty form of 0x8002, which a required component needs at the founding)
            if self.dim.is_empty() && self.thumbhash.is_empty() {
                return Ok(());
            }
            return Err(invalid("avatar hints without a URL"));
        }
        // rule: 2.2-57, 2.2-58
        web_url(&self.url, &["https"], true)
    }
}
