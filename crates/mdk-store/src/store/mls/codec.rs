//! The encoding of OpenMLS entities as bytes.
//!
//! The format is postcard, because it is compact and quick: the tree and the message secrets are written for every
//! commit and every message. Postcard is not self-describing, and one entity needs that: `MlsGroupJoinConfig` holds a
//! retention policy that is read as "either an integer or a tagged value" (serde's `untagged`). That entity is JSON; it
//! is small and seldom written. The first byte of every value names its format.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use crate::{Result, StoreError};

pub(super) const POSTCARD: u8 = 1;
const JSON: u8 = 2;

/// Room for most values, so that growing rarely leaves a copy behind.
const CAPACITY: usize = 1024;

/// Larger values are filled up with zeros to a multiple of this. A ratchet that moves changes a value's length by a few
/// bytes at most. As long as the row keeps its length, SQLite overwrites it in place and touches only the pages that
/// differ. Otherwise it would free, wipe and allocate the row's pages anew.
const STEP: usize = 256;
/// Values larger than this, the message secrets of a larger group above all, are filled up to a multiple of
/// [`LARGE_STEP`]. So their length seldom depends on the messages of an epoch. Where it does, [`filled_to`] helps.
const LARGE: usize = 512;
const LARGE_STEP: usize = 1024;

/// The multiple to which a value of `length` is filled up.
fn step(length: usize) -> usize {
    if length > LARGE { LARGE_STEP } else { STEP }
}

/// A large value with more zeros, so that it is as long as the value that it replaces. `None`: the replaced value is
/// not a little longer.
pub(super) fn filled_to(value: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let more = length.checked_sub(value.len())?;
    if value.len() <= LARGE || more > LARGE_STEP {
        return None;
    }
    let mut longer = Zeroizing::new(Vec::with_capacity(length));
    longer.extend_from_slice(value);
    longer.resize(length, 0);
    Some(longer)
}

/// A value as postcard.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(CAPACITY);
    bytes.push(POSTCARD);
    let mut bytes = postcard::serialize_with_flavor(value, Bytes(bytes))
        .map_err(|_| StoreError::internal("an MLS value cannot be encoded"))?;
    if bytes.len() > STEP {
        let filling = bytes.len().next_multiple_of(step(bytes.len())) - bytes.len();
        bytes = Bytes(bytes).filled(filling);
    }
    Ok(Zeroizing::new(bytes))
}

/// A value as JSON, for the entity that needs a self-describing format.
pub(super) fn encode_json<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![JSON]);
    serde_json::to_writer(&mut *bytes, value)
        .map_err(|_| StoreError::internal("an MLS value cannot be encoded"))?;
    Ok(bytes)
}

/// The value in `bytes`. All bytes must be used, except zeros that fill it up.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let failed = StoreError::Decode { what: "MLS value" };
    match bytes.split_first() {
        Some((&POSTCARD, body)) => match postcard::take_from_bytes(body) {
            Ok((value, rest)) if rest.is_empty() || is_filling(rest, bytes.len()) => Ok(value),
            _ => Err(failed),
        },
        Some((&JSON, body)) => serde_json::from_slice(body).map_err(|_| failed),
        _ => Err(failed),
    }
}

/// The first fields of the value in `bytes`.
pub(super) fn decode_prefix<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&POSTCARD, body)) => postcard::take_from_bytes(body).map(|(field, _)| field).ok(),
        _ => None,
    }
    .ok_or(StoreError::Decode { what: "MLS value" })
}

fn is_filling(rest: &[u8], whole: usize) -> bool {
    // Large values were once filled up to a multiple of the small step.
    let most = if whole > LARGE { 2 * LARGE_STEP } else { STEP };
    whole.is_multiple_of(STEP) && rest.len() < most && rest.iter().all(|byte| *byte == 0)
}

/// A key as bytes.
pub(super) fn key<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    postcard::serialize_with_flavor(value, Bytes(Vec::with_capacity(64)))
        .map_err(|_| StoreError::internal("an MLS key cannot be encoded"))
}

/// The key inside the stored form of a proposal reference, which is a value of OpenMLS as well.
pub(super) fn decode_key<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(StoreError::Decode { what: "MLS key" }),
    }
}

/// The content of a key that is a plain byte string (a group id, a KeyPackage reference), so that such keys can be
/// built and read without OpenMLS.
pub(super) fn byte_key<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let bytes = key(value)?;
    match postcard::take_from_bytes::<u32>(&bytes) {
        Ok((length, body)) if length as usize == body.len() => Ok(body.to_vec()),
        _ => Err(StoreError::internal("an MLS key is not a byte string")),
    }
}

/// Postcard's output: appends to a vector in blocks, after its present content.
struct Bytes(Vec<u8>);

impl Bytes {
    fn filled(mut self, zeros: usize) -> Vec<u8> {
        self.try_extend(&[0; LARGE_STEP][..zeros]).expect("appending to a vector does not fail");
        self.0
    }
}

impl Flavor for Bytes {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        // Byte strings come byte by byte: this is the hot path.
        if self.0.len() == self.0.capacity() {
            return self.try_extend(&[byte]);
        }
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, more: &[u8]) -> postcard::Result<()> {
        let Self(bytes) = self;
        if bytes.capacity() - bytes.len() < more.len() {
            // The vector is grown by hand, because a reallocation would leave the old block with its secrets unwiped.
            let mut larger =
                Vec::with_capacity((bytes.capacity() * 2).max(bytes.len() + more.len()));
            larger.extend_from_slice(bytes);
            bytes.zeroize();
            *bytes = larger;
        }
        bytes.extend_from_slice(more);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_strictly() {
        let bytes = encode(&(7u32, "seven")).expect("encodes");
        assert_eq!(decode::<(u32, String)>(&bytes), Ok((7, "seven".to_owned())));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(decode::<(u32, String)>(&longer).is_err());
        assert!(decode::<(u32, String)>(&bytes[..bytes.len() - 1]).is_err());
        let mut unknown = bytes.to_vec();
        unknown[0] = 3;
        assert!(decode::<(u32, String)>(&unknown).is_err());
        assert!(decode::<(u32, String)>(&[]).is_err());
        let json = encode_json(&(7u32, "seven")).expect("encodes");
        assert_eq!(decode::<(u32, String)>(&json), Ok((7, "seven".to_owned())));
    }

    #[test]
    fn a_large_value_survives_growing() {
        let value: Vec<u32> = (0..10_000).collect();
        assert_eq!(decode::<Vec<u32>>(&encode(&value).expect("encodes")), Ok(value));
    }

    #[test]
    fn the_key_of_a_byte_string_is_the_byte_string() {
        for length in [0usize, 1, 32, 127, 128, 255] {
            let bytes = vec![9u8; length];
            assert_eq!(byte_key(&bytes), Ok(bytes));
        }
        assert!(byte_key(&(7u8, 2u8)).is_err());
    }

    #[test]
    fn larger_values_are_filled_up() {
        let lengths = [1, STEP - 4, STEP - 3, STEP, STEP + 1, 3 * STEP];
        for length in lengths.into_iter().chain([LARGE - 3, LARGE - 2, LARGE + LARGE_STEP, 9999]) {
            let value = vec![7u8; length];
            let bytes = encode(&value).expect("encodes");
            assert!(bytes.len() <= STEP || bytes.len().is_multiple_of(step(bytes.len())));
            assert!(bytes.len() - length < step(bytes.len()) + 3);
            assert_eq!(decode::<Vec<u8>>(&bytes).as_ref(), Ok(&value));
            let mut dirty = bytes.to_vec();
            *dirty.last_mut().expect("not empty") ^= 1;
            assert_ne!(decode::<Vec<u8>>(&dirty), Ok(value));
        }
    }

    #[test]
    fn a_large_value_takes_the_length_of_a_little_longer_one() {
        let value = vec![7u8; LARGE + 100];
        let bytes = encode(&value).expect("encodes");
        for more in [0, STEP, LARGE_STEP] {
            let longer = filled_to(&bytes, bytes.len() + more).expect("a little longer");
            assert_eq!(longer.len(), bytes.len() + more);
            assert_eq!(decode::<Vec<u8>>(&longer).as_ref(), Ok(&value));
        }
        assert!(filled_to(&bytes, bytes.len() + LARGE_STEP + 1).is_none());
        assert!(filled_to(&bytes, bytes.len() - 1).is_none());
        assert!(filled_to(&[7; LARGE], LARGE + 1).is_none());
    }

    #[test]
    fn a_large_value_with_less_to_fill_it_up_is_read() {
        let value = vec![7u8; LARGE + 100];
        let mut bytes = encode(&value).expect("encodes").to_vec();
        bytes.truncate((LARGE + 100).next_multiple_of(STEP));
        assert_eq!(decode::<Vec<u8>>(&bytes).as_ref(), Ok(&value));
        bytes.truncate(bytes.len() - 1);
        assert!(decode::<Vec<u8>>(&bytes).is_err());
    }
}
