//! The encrypted group image on Blossom servers (0x8002).

use std::fmt;

use super::component_id;
use crate::error::WireError;
use crate::secret::Secret;
use crate::v2::codec::{invalid, text};
use crate::v2::{limits, media_type};
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.2-25", "an image is absent (all five fields empty) or has exactly 32, 32, 12 and 32 bytes"),
    ("2.2-26", "the media type of an image is canonical"),
    ("2.2-27", "the media type of an image has at most 128 bytes"),
];

const HASH: &str = "image hash";
const KEY: &str = "image key";
const NONCE: &str = "image nonce";
const UPLOAD_KEY: &str = "image upload key";
const MEDIA_TYPE: &str = "media type of the image";

/// The group image (0x8002), `None` when the group has none.
/// Bytes: `hash<0..32> key<0..32> nonce<0..12> upload_key<0..32> media_type<0..128>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image(pub Option<ImageRef>);

/// The place of the encrypted image, and the key to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// SHA-256 of the encrypted blob: its Blossom address.
    pub hash: [u8; 32],
    /// ChaCha20-Poly1305 key of the blob.
    pub key: Secret<32>,
    /// Nonce of the blob.
    pub nonce: [u8; 12],
    /// Nostr secret key that owns the upload.
    pub upload_key: Secret<32>,
    /// Canonical media type of the plain image, up to 128 bytes; part of the AAD.
    pub media_type: String,
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImageRef(..)")
    }
}

impl Image {
    /// Component id.
    pub const ID: u16 = component_id::IMAGE;

    /// Reads the component.
    ///
    /// # Errors
    /// Not canonical, partly filled, a field of another length, or a media type that is not canonical.
    pub fn decode(data: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(data);
        let hash = reader.vector(HASH, 32)?;
        let key = reader.vector(KEY, 32)?;
        let nonce = reader.vector(NONCE, 12)?;
        let upload_key = reader.vector(UPLOAD_KEY, 32)?;
        // rule: 2.2-27
        let kind = reader.vector(MEDIA_TYPE, limits::IMAGE_MEDIA_TYPE_BYTES)?;
        reader.finish()?;
        // rule: 2.2-25
        if [hash, key, nonce, upload_key, kind].iter().all(|field| field.is_empty()) {
            return Ok(Self(None));
        }
        let image = ImageRef {
            hash: exact(hash)?,
            key: Secret::new(exact(key)?),
            nonce: exact(nonce)?,
            upload_key: Secret::new(exact(upload_key)?),
            media_type: text(kind)?,
        };
        image.check()?;
        Ok(Self(Some(image)))
    }

    /// Writes the component. The result holds secret keys.
    ///
    /// # Errors
    /// The media type is too long or not canonical.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let Some(image) = &self.0 else {
            return Ok(vec![0; 5]);
        };
        image.check()?;
        let mut writer = Writer::with_capacity(5 + 32 + 32 + 12 + 32 + image.media_type.len());
        writer.vector(HASH, 32, &image.hash)?;
        writer.vector(KEY, 32, image.key.expose())?;
        writer.vector(NONCE, 12, &image.nonce)?;
        writer.vector(UPLOAD_KEY, 32, image.upload_key.expose())?;
        let media_type = image.media_type.as_bytes();
        writer.vector(MEDIA_TYPE, limits::IMAGE_MEDIA_TYPE_BYTES, media_type)?;
        Ok(writer.into_vec())
    }
}

impl ImageRef {
    fn check(&self) -> Result<(), WireError> {
        // rule: 2.2-26
        if media_type::is_canonical(&self.media_type) {
            Ok(())
        } else {
            Err(invalid("media type of the image is not canonical"))
        }
    }
}

fn exact<const N: usize>(field: &[u8]) -> Result<[u8; N], WireError> {
    field.try_into().map_err(|_| invalid("image field has a wrong length"))
}
