//! Pictures without their metadata, byte by byte: the pixels stay as they are, nothing is encoded again.
//!
//! Parts that are known to matter for showing the picture are kept. All else goes: EXIF with place, time and camera,
//! XMP, IPTC, comments, earlier previews, and any bytes behind the end. The picture's orientation is kept, as a tag
//! alone.

mod gif;
mod jpeg;
mod png;
mod webp;

#[cfg(test)]
mod tests;

pub(crate) use gif::gif;
pub(crate) use jpeg::jpeg;
pub(crate) use png::png;
pub(crate) use webp::webp;

use image::metadata::Orientation;

/// Cleans a picture of one format. `None`: it is not built as the format says.
pub(crate) type Clean = fn(&[u8]) -> Option<Cleaned>;

pub(crate) struct Cleaned {
    pub(crate) data: Vec<u8>,
    /// The turn of the picture when it is shown.
    pub(crate) orientation: Orientation,
}

/// Takes bytes from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16_be(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32_be(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u32_le(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
}

/// The orientation that EXIF data (a TIFF header and what follows) names.
fn orientation_of(exif: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// EXIF data that names the orientation and nothing else; `None` when there is nothing to say.
fn exif_of(orientation: Orientation) -> Option<[u8; 26]> {
    if orientation == Orientation::NoTransforms {
        return None;
    }
    // TIFF, big endian: one directory at 8, with one entry: tag 0x0112, SHORT, one of them.
    let mut exif = *b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    exif[19] = orientation.to_exif();
    Some(exif)
}
