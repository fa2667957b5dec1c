//! Pictures to send: without the camera's additions, with their size and a tiny preview.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::media::clean;
use crate::media::file_type::Format;
use crate::model::error::{Error, Result};

/// Most pixels of a picture that is looked at.
const MAX_PIXELS: u64 = 50_000_000;
/// Most bytes that its pixels take.
const MAX_DECODED_BYTES: u64 = 256 << 20;
/// The longest side of the picture that a preview is made of.
const PREVIEW_SIDE: u32 = 100;

/// A file that may be a picture, ready to be encrypted.
pub(crate) struct Prepared {
    pub(crate) data: Vec<u8>,
    /// Width and height as it is shown.
    pub(crate) dimensions: Option<(u32, u32)>,
    pub(crate) thumbhash: Option<String>,
}

/// Looks at a file. A file that is no picture passes as it is.
///
/// The first bytes decide the type: a user who sends a photograph as a nameless file does not mean to send its place,
/// too.
pub(crate) fn prepare(data: &[u8], mime_type: &str, strip: bool) -> Result<Prepared> {
    let format = Format::of(data);
    let cleanable = match format {
        Some(Format::Jpeg) => Some((ImageFormat::Jpeg, clean::jpeg as clean::Clean)),
        Some(Format::Png) => Some((ImageFormat::Png, clean::png as clean::Clean)),
        Some(Format::Gif) => Some((ImageFormat::Gif, clean::gif as clean::Clean)),
        Some(Format::WebP) => Some((ImageFormat::WebP, clean::webp as clean::Clean)),
        _ => None,
    };
    let claims = mime_type.starts_with("image/");
    let Some((format, clean)) = cleanable else {
        if strip && (format.is_some() || claims) {
            return Err(Error::Media(
                "metadata cannot be taken out of a picture of this format: send it as JPEG, PNG, WebP or GIF, \
                 or set Config.strip_image_metadata to False",
            ));
        }
        return Ok(Prepared { data: data.to_vec(), dimensions: None, thumbhash: None });
    };
    let Some(cleaned) = clean(data) else {
        if strip {
            return Err(Error::Media(
                "the picture is damaged: what it says of its maker cannot be taken out",
            ));
        }
        return Ok(Prepared { data: data.to_vec(), dimensions: None, thumbhash: None });
    };
    let (dimensions, thumbhash) = match look(&cleaned.data, format, cleaned.orientation)? {
        Some((dimensions, thumbhash)) => (Some(dimensions), thumbhash),
        None => (None, None),
    };
    let data = if strip { cleaned.data } else { data.to_vec() };
    let (dimensions, thumbhash) = if claims { (dimensions, thumbhash) } else { (None, None) };
    Ok(Prepared { data, dimensions, thumbhash })
}

/// Size as it is shown, and preview.
type Looks = ((u32, u32), Option<String>);

/// Size and preview. `None`: the header cannot be read. Nothing is decoded before the header has been judged.
fn look(data: &[u8], format: ImageFormat, orientation: Orientation) -> Result<Option<Looks>> {
    if let Some((pixels, bytes)) = png_size(data).filter(|_| format == ImageFormat::Png) {
        judge(pixels, bytes)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(data), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let Ok(decoder) = reader.into_decoder() else { return Ok(None) };
    let (width, height) = decoder.dimensions();
    judge(u64::from(width) * u64::from(height), decoder.total_bytes())?;
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let shown = if turned { (height, width) } else { (width, height) };
    // A picture that cannot be decoded has no preview.
    let thumbhash = DynamicImage::from_decoder(decoder).ok().map(|mut picture| {
        if width > PREVIEW_SIDE || height > PREVIEW_SIDE {
            picture = picture.thumbnail(PREVIEW_SIDE, PREVIEW_SIDE);
        }
        picture.apply_orientation(orientation);
        let small = picture.into_rgba8();
        let (width, height) = (small.width() as usize, small.height() as usize);
        STANDARD.encode(fast_thumbhash::rgba_to_thumb_hash(width, height, small.as_raw()))
    });
    Ok(Some((shown, thumbhash)))
}

fn judge(pixels: u64, bytes: u64) -> Result<()> {
    if pixels > MAX_PIXELS {
        return Err(Error::MediaTooLarge { what: "pixels", limit: MAX_PIXELS, actual: pixels });
    }
    if bytes > MAX_DECODED_BYTES {
        let (limit, actual) = (MAX_DECODED_BYTES, bytes);
        return Err(Error::MediaTooLarge { what: "bytes of pixels", limit, actual });
    }
    Ok(())
}

/// Pixels of a PNG and the bytes that they take: its decoder makes room for a row before it tells how long that is.
fn png_size(data: &[u8]) -> Option<(u64, u64)> {
    let header = data.get(16..26)?;
    let number =
        |at: usize| Some(u64::from(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?)));
    let channels = match header[9] {
        0 => 1,
        4 => 2,
        2 => 3,
        _ => 4,
    };
    let pixels = number(0)?.checked_mul(number(4)?)?;
    Some((pixels, pixels.saturating_mul(channels * if header[8] == 16 { 2 } else { 1 })))
}
