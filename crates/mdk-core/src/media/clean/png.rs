//! PNG (third edition): a signature and a row of chunks, each with a checksum.

use image::metadata::Orientation;

use super::{Cleaned, Cursor, exif_of, orientation_of};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Chunks that the picture is shown by: the critical ones, colour, transparency, density, and the frames of APNG.
const KEPT: [&[u8; 4]; 17] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP",
    b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL",
];
const FRAME: &[u8; 4] = b"fdAT";

pub(crate) fn png(data: &[u8]) -> Option<Cleaned> {
    let mut input = Cursor(data);
    if input.take(SIGNATURE.len())? != SIGNATURE {
        return None;
    }
    let mut clean = Vec::with_capacity(data.len());
    clean.extend_from_slice(SIGNATURE);
    let mut orientation = Orientation::NoTransforms;
    // The place for the orientation: behind the header.
    let mut behind_header = None;
    loop {
        let whole = input.0;
        let length = usize::try_from(input.u32_be()?).ok()?;
        let name: &[u8; 4] = input.take(4)?.try_into().ok()?;
        let body = input.take(length)?;
        input.take(4)?;
        if name == b"eXIf" {
            orientation = orientation_of(body);
        }
        if KEPT.contains(&name) || name == FRAME {
            clean.extend_from_slice(&whole[..length + 12]);
        }
        match name {
            b"IHDR" => behind_header = Some(clean.len()),
            b"IEND" => break,
            _ => {}
        }
    }
    if let (Some(at), Some(exif)) = (behind_header, exif_of(orientation)) {
        clean.splice(at..at, chunk(b"eXIf", &exif));
    }
    Some(Cleaned { data: clean, orientation })
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = u32::try_from(body.len()).unwrap_or(0).to_be_bytes().to_vec();
    chunk.extend_from_slice(name);
    chunk.extend_from_slice(body);
    let sum = crc32(&chunk[4..]);
    chunk.extend_from_slice(&sum.to_be_bytes());
    chunk
}

/// The checksum of PNG (ISO 3309); of a few bytes only, so no table.
pub(super) fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}
