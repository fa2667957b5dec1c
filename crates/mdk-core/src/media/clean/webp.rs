//! WebP (RFC 9649): a RIFF container; metadata stands in chunks of its own, and a header says which are there.

use image::metadata::Orientation;

use super::{Cleaned, Cursor, exif_of, orientation_of};

/// Bits of the extended header: EXIF and XMP.
const EXIF_FLAG: u8 = 0x08;
const XMP_FLAG: u8 = 0x04;

pub(crate) fn webp(data: &[u8]) -> Option<Cleaned> {
    let mut input = Cursor(data);
    if input.take(4)? != b"RIFF" {
        return None;
    }
    let size = usize::try_from(input.u32_le()?).ok()?;
    // Bytes behind the container are no part of the picture.
    let mut chunks = Cursor(input.take(size)?);
    if chunks.take(4)? != b"WEBP" {
        return None;
    }
    let mut body = b"WEBP".to_vec();
    let mut orientation = Orientation::NoTransforms;
    let mut flags_at = None;
    while !chunks.0.is_empty() {
        let name: &[u8; 4] = chunks.take(4)?.try_into().ok()?;
        let length = usize::try_from(chunks.u32_le()?).ok()?;
        let content = chunks.take(length)?;
        // Padded to an even length; some writers leave that out at the end.
        if length % 2 == 1 && !chunks.0.is_empty() {
            chunks.take(1)?;
        }
        match name {
            b"EXIF" => {
                orientation = orientation_of(content.strip_prefix(b"Exif\0\0").unwrap_or(content))
            }
            b"VP8X" => {
                flags_at = Some(body.len() + 8);
                chunk(&mut body, name, content);
            }
            b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                chunk(&mut body, name, content)
            }
            _ => {}
        }
    }
    // Only the extended form says how it is turned.
    let exif = flags_at.and_then(|_| exif_of(orientation));
    if let Some(flags) = flags_at.and_then(|at| body.get_mut(at)) {
        *flags &= !(EXIF_FLAG | XMP_FLAG);
        *flags |= if exif.is_some() { EXIF_FLAG } else { 0 };
    }
    match exif {
        Some(exif) => chunk(&mut body, b"EXIF", &exif),
        None => orientation = Orientation::NoTransforms,
    }
    let mut clean = b"RIFF".to_vec();
    clean.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    clean.append(&mut body);
    Some(Cleaned { data: clean, orientation })
}

fn chunk(out: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(content);
    if content.len() % 2 == 1 {
        out.push(0);
    }
}
