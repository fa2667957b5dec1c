//! The type of a file: told by the caller, by its first bytes, or by the ending of its name.

use mdk_wire::v2::{limits, media_type};

use crate::model::error::{Error, Result};

/// The media type when nothing is known.
const UNKNOWN: &str = "application/octet-stream";

/// A picture format that is known by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Gif,
    WebP,
    /// Holds metadata of the camera, and cannot be cleaned here.
    Heif,
    Avif,
    Tiff,
    JpegXl,
}

impl Format {
    /// By the first bytes.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        let brand = (data.get(4..8) == Some(b"ftyp")).then(|| data.get(8..12)).flatten();
        Some(match data {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Self::Png,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            _ if data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP") => Self::WebP,
            // Raw files of most cameras are TIFF.
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Tiff,
            [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Self::JpegXl,
            _ => match brand? {
                b"avif" | b"avis" => Self::Avif,
                b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                    Self::Heif
                }
                _ => return None,
            },
        })
    }

    fn mime_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
            Self::Heif => "image/heic",
            Self::Avif => "image/avif",
            Self::Tiff => "image/tiff",
            Self::JpegXl => "image/jxl",
        }
    }
}

/// The media type in canonical form: the given one, else that of the picture, else by the name's ending, else by the
/// first bytes.
pub(crate) fn mime_type(data: &[u8], filename: &str, given: Option<&str>) -> Result<String> {
    if let Some(given) = given {
        return media_type::canonical(given).ok_or_else(|| match media_type::longest_half(given) {
            longest if longest > limits::MEDIA_TYPE_HALF_BYTES => {
                Error::too_large("mime_type", limits::MEDIA_TYPE_HALF_BYTES, longest)
            }
            _ => Error::input("mime_type", "not a media type like image/png"),
        });
    }
    let found = Format::of(data)
        .map(Format::mime_type)
        .or_else(|| by_ending(filename))
        .or_else(|| by_first_bytes(data));
    Ok(found.unwrap_or(UNKNOWN).to_owned())
}

fn by_ending(filename: &str) -> Option<&'static str> {
    let (_, ending) = filename.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" | "heif" => "image/heic",
        "avif" => "image/avif",
        "tif" | "tiff" | "dng" => "image/tiff",
        "jxl" => "image/jxl",
        "svg" => "image/svg+xml",
        "mp4" | "m4v" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "aac" => "audio/aac",
        "ogg" | "oga" => "audio/ogg",
        "opus" => "audio/opus",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        _ => return None,
    })
}

fn by_first_bytes(data: &[u8]) -> Option<&'static str> {
    Some(match data {
        _ if data.starts_with(b"%PDF-") => "application/pdf",
        _ if data.starts_with(b"OggS") => "audio/ogg",
        _ if data.starts_with(b"fLaC") => "audio/flac",
        _ if data.starts_with(b"ID3") => "audio/mpeg",
        _ if data.starts_with(b"PK\x03\x04") => "application/zip",
        _ if data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WAVE") => "audio/wav",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "video/x-matroska",
        [0x1f, 0x8b, ..] => "application/gzip",
        _ if data.get(4..8) == Some(b"ftyp") => match data.get(8..11)? {
            b"M4A" => "audio/mp4",
            b"qt " => "video/quicktime",
            _ => "video/mp4",
        },
        _ => return None,
    })
}
