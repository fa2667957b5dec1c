//! JPEG (ITU-T T.81): a row of segments, and coded pixels behind each start of a scan.

use image::metadata::Orientation;

use super::{Cleaned, Cursor, exif_of, orientation_of};

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;
const APP15: u8 = 0xef;
const COMMENT: u8 = 0xfe;
const EXIF: &[u8] = b"Exif\0\0";
const JFIF: &[u8] = b"JFIF\0";
/// Identifier, version, unit and density; a preview follows them.
const JFIF_BYTES: usize = 12;

/// Keeps the parts that decoding needs, the JFIF header, the colour profile and Adobe's mark of the colour space.
pub(crate) fn jpeg(data: &[u8]) -> Option<Cleaned> {
    let mut input = Cursor(data);
    if input.take(2)? != [0xff, SOI] {
        return None;
    }
    let mut kept: Vec<u8> = Vec::with_capacity(data.len());
    let mut jfif: Option<&[u8]> = None;
    let mut orientation = Orientation::NoTransforms;
    loop {
        let marker = marker(&mut input)?;
        if marker == EOI {
            kept.extend_from_slice(&[0xff, EOI]);
            break;
        }
        // Stand alone: restarts and TEM.
        if matches!(marker, 0x01 | 0xd0..=0xd7) {
            kept.extend_from_slice(&[0xff, marker]);
            continue;
        }
        let length = usize::from(input.u16_be()?);
        let body = input.take(length.checked_sub(2)?)?;
        match marker {
            APP0 if body.starts_with(JFIF) && jfif.is_none() => jfif = body.get(..JFIF_BYTES),
            APP1 if body.starts_with(EXIF) => orientation = orientation_of(&body[EXIF.len()..]),
            APP2 if body.starts_with(b"ICC_PROFILE\0") => segment(&mut kept, marker, &[body]),
            APP14 if body.starts_with(b"Adobe") => segment(&mut kept, marker, &[body.get(..12)?]),
            APP0..=APP15 | COMMENT => {}
            SOS => {
                segment(&mut kept, marker, &[body]);
                kept.extend_from_slice(scan(&mut input));
            }
            _ => segment(&mut kept, marker, &[body]),
        }
    }
    let mut clean = vec![0xff, SOI];
    if let Some(jfif) = jfif {
        // The two zeros: a preview of no size.
        segment(&mut clean, APP0, &[jfif, &[0, 0]]);
    }
    if let Some(exif) = exif_of(orientation) {
        segment(&mut clean, APP1, &[EXIF, &exif]);
    }
    clean.append(&mut kept);
    Some(Cleaned { data: clean, orientation })
}

/// The next marker; more than one 0xff may stand before it.
fn marker(input: &mut Cursor<'_>) -> Option<u8> {
    if input.byte()? != 0xff {
        return None;
    }
    loop {
        match input.byte()? {
            0xff => {}
            0 => return None,
            marker => return Some(marker),
        }
    }
}

/// Coded pixels: up to the next marker, except stuffed zeros and restarts.
fn scan<'a>(input: &mut Cursor<'a>) -> &'a [u8] {
    let data = input.0;
    let end = data
        .windows(2)
        .position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff))
        .unwrap_or(data.len());
    let (coded, rest) = data.split_at(end);
    input.0 = rest;
    coded
}

fn segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length: usize = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&[0xff, marker]);
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
