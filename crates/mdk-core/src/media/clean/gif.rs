//! GIF (89a): blocks, of which the extensions may hold comments and data of applications.

use image::metadata::Orientation;

use super::{Cleaned, Cursor};

const EXTENSION: u8 = 0x21;
const PICTURE: u8 = 0x2c;
const END: u8 = 0x3b;
const CONTROL: u8 = 0xf9;
const APPLICATION: u8 = 0xff;

/// Keeps pictures, their timing and the number of repetitions of an animation.
pub(crate) fn gif(data: &[u8]) -> Option<Cleaned> {
    let mut input = Cursor(data);
    let header = input.take(13)?;
    if !header.starts_with(b"GIF8") {
        return None;
    }
    let mut clean = Vec::with_capacity(data.len());
    clean.extend_from_slice(header);
    clean.extend_from_slice(input.take(colours(header[10]))?);
    loop {
        let whole = input.0;
        match input.byte()? {
            END => {
                clean.push(END);
                break;
            }
            PICTURE => {
                let descriptor = input.take(9)?;
                input.take(colours(descriptor[8]))?;
                input.byte()?;
                blocks(&mut input)?;
                clean.extend_from_slice(&whole[..whole.len() - input.0.len()]);
            }
            EXTENSION => {
                let label = input.byte()?;
                let loops = input.0.starts_with(b"\x0bNETSCAPE2.0\x03\x01")
                    || input.0.starts_with(b"\x0bANIMEXTS1.0\x03\x01");
                blocks(&mut input)?;
                let length = whole.len() - input.0.len();
                // With one block behind its name: a longer one would hold something else as well.
                let loops = loops && label == APPLICATION && length == 19;
                if label == CONTROL || loops {
                    clean.extend_from_slice(&whole[..length]);
                }
            }
            _ => return None,
        }
    }
    Some(Cleaned { data: clean, orientation: Orientation::NoTransforms })
}

/// Bytes of the table of colours that a packed field announces.
fn colours(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// A row of data blocks, up to the empty one.
fn blocks(input: &mut Cursor<'_>) -> Option<()> {
    loop {
        match input.byte()? {
            0 => return Some(()),
            length => input.take(usize::from(length))?,
        };
    }
}
