//! The format of a backup: one file, encrypted and authenticated under a passphrase.
//!
//! ```text
//! header   108 bytes   magic, version, Argon2id parameters, salt, nonce prefix, chunk size, and a MAC over them
//! chunks   65,552      65,536 bytes of content and a tag of 16; the last chunk is shorter or as long
//! ```
//!
//! Argon2id turns the passphrase and the salt into 64 bytes: the key of the chunks and the key of the header's MAC,
//! which also commits the file to one passphrase. The chunks are a STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015)
//! under XChaCha20-Poly1305: the nonce is the prefix, the number of the chunk and whether it is the last one, and the
//! whole header is associated data. So a chunk that is changed, moved, dropped, repeated, appended or taken from
//! another file does not open.
//!
//! The content is rows, not pages: see [`content`].
//!
//! Nothing here knows files or databases. The module depends on no other of this crate, so that it can be fuzzed
//! without building SQLCipher.

mod content;
mod error;
mod header;
mod stream;

#[cfg(test)]
mod tests;

use std::io::{self, Read};

pub(crate) use content::{Cell, Decoder, Encoder, Record, Summary};
pub(crate) use error::ArchiveError;
pub(crate) use header::{Bounds, CHUNK_BITS, Cost, HEADER, Header, Keys, MAGIC};
pub(crate) use stream::{Opener, Sealer};

/// The longest passphrase in bytes.
pub(crate) const MAX_PASSPHRASE: usize = 1024;

/// Reads a header and derives its keys. Nothing is allocated for parameters that are out of `bounds`.
pub(crate) fn unlock(
    input: &mut impl Read,
    passphrase: &[u8],
    bounds: &Bounds,
) -> Result<(Header, Keys), ArchiveError> {
    let mut bytes = [0; HEADER];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::NotABackup,
        kind => ArchiveError::Io(kind),
    })?;
    let header = Header::decode(&bytes, bounds)?;
    let keys = header.derive(passphrase)?;
    if !header.is_authentic(&keys) {
        return Err(ArchiveError::Refused);
    }
    Ok((header, keys))
}

/// Reads everything behind the header and gives each record to `sink`. The records may only be kept if this
/// returns `Ok`: only then was the end of the file seen and authenticated.
pub(crate) fn read<E: From<ArchiveError>>(
    header: &Header,
    keys: &Keys,
    input: impl Read,
    length: u64,
    mut sink: impl FnMut(Record<'_>, u64) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut opener = Opener::new(header, keys, input, length);
    let mut content = Decoder::default();
    loop {
        let end = match content.next(&mut opener)? {
            Some(record) => {
                sink(record, opener.consumed())?;
                false
            }
            None => true,
        };
        if end {
            opener.finish()?;
            return Ok(content.summary());
        }
    }
}
