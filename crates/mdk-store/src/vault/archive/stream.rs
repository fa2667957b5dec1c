//! The chunks: a STREAM of XChaCha20-Poly1305.

use std::io::{Read, Write};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{AeadInPlace, generic_array::GenericArray},
};
use mdk_wire::{LockedBox, secret::apart};

use super::{
    ArchiveError,
    header::{HEADER, Header, Keys, PREFIX},
};
use crate::sqlcipher::undumped::Undumped;

/// Bytes that a chunk is longer than its content.
pub(crate) const TAG: usize = 16;

/// The cipher with its place in the stream.
struct Place {
    // The bytes of the cipher are the key itself.
    cipher: LockedBox<XChaCha20Poly1305>,
    header: [u8; HEADER],
    prefix: [u8; PREFIX],
    /// Bytes of content in a chunk. Only the last chunk has fewer, and it is never empty.
    chunk: usize,
    /// Number of the next chunk; `None` when there can be no more.
    next: Option<u32>,
}

impl Place {
    fn new(header: &Header, keys: &Keys) -> Self {
        let mut prefix = [0; PREFIX];
        prefix.copy_from_slice(header.prefix());
        Self {
            cipher: LockedBox::new(|| XChaCha20Poly1305::new(keys.chunks.expose().into())),
            header: *header.bytes(),
            prefix,
            chunk: header.chunk(),
            next: Some(0),
        }
    }

    /// The nonce of the next chunk. No chunk follows the last one.
    fn nonce(&mut self, last: bool) -> Result<XNonce, ArchiveError> {
        let number = self.next.ok_or(ArchiveError::TooLong)?;
        self.next = if last { None } else { number.checked_add(1) };
        let mut nonce = [0; 24];
        nonce[..PREFIX].copy_from_slice(&self.prefix);
        nonce[PREFIX..23].copy_from_slice(&number.to_be_bytes());
        nonce[23] = u8::from(last);
        Ok(nonce.into())
    }
}

/// Encrypts content into chunks.
pub(crate) struct Sealer<W> {
    place: Place,
    out: W,
    chunk: Undumped,
    written: u64,
}

impl<W: Write> Sealer<W> {
    /// Writes the header; the chunks follow.
    pub(crate) fn new(header: &Header, keys: &Keys, mut out: W) -> Result<Self, ArchiveError> {
        out.write_all(header.bytes())?;
        let chunk = Undumped::with_capacity(header.chunk() + TAG);
        Ok(Self { place: Place::new(header, keys), out, chunk, written: HEADER as u64 })
    }

    /// Appends content.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            // A chunk is sealed only when more follows, so that the last chunk is never empty.
            if self.chunk.len() == self.place.chunk {
                self.seal(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.place.chunk - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn seal(&mut self, last: bool) -> Result<(), ArchiveError> {
        let nonce = self.place.nonce(last)?;
        let Place { cipher, header, .. } = &self.place;
        // Each chunk has a key of its own, derived from the key of all.
        let tag = apart(|| cipher.encrypt_in_place_detached(&nonce, header, &mut self.chunk))
            .map_err(|_| ArchiveError::TooLong)?;
        self.chunk.extend_from_slice(&tag);
        self.out.write_all(&self.chunk)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    /// Bytes of the archive so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the last chunk. Returns the output and the length of the archive.
    pub(crate) fn finish(mut self) -> Result<(W, u64), ArchiveError> {
        self.seal(true)?;
        Ok((self.out, self.written))
    }
}

/// Decrypts chunks into content. A byte of content is handed out only after its chunk was authenticated.
pub(crate) struct Opener<R> {
    place: Place,
    input: R,
    /// Bytes of the archive. They bound a length in the content.
    length: u64,
    consumed: u64,
    /// The chunk, and after it one byte of the next. A chunk without that byte is the last one.
    chunk: Undumped,
    ahead: Option<u8>,
    at: usize,
    last: bool,
}

impl<R: Read> Opener<R> {
    /// Reads from `input`, which is behind the header. The whole archive has `length` bytes.
    pub(crate) fn new(header: &Header, keys: &Keys, input: R, length: u64) -> Self {
        Self {
            place: Place::new(header, keys),
            input,
            length,
            consumed: HEADER as u64,
            chunk: Undumped::with_capacity(header.chunk() + TAG + 1),
            ahead: None,
            at: 0,
            last: false,
        }
    }

    /// Bytes of the archive that were read.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The most content that can still come.
    pub(crate) fn remaining(&self) -> u64 {
        self.length.saturating_sub(self.consumed) + (self.chunk.len() - self.at) as u64
    }

    /// Decrypts the next chunk.
    fn advance(&mut self) -> Result<(), ArchiveError> {
        if self.last {
            return Err(ArchiveError::Malformed);
        }
        self.at = 0;
        self.chunk.clear();
        self.chunk.extend(self.ahead.take());
        let wanted = (self.place.chunk + TAG + 1 - self.chunk.len()) as u64;
        let read = self.input.by_ref().take(wanted).read_to_end(&mut self.chunk);
        let opened = read.map_err(ArchiveError::from).and_then(|_| self.open());
        if opened.is_err() {
            // Bytes that did not authenticate are dropped.
            self.chunk.clear();
            self.last = true;
        }
        opened
    }

    fn open(&mut self) -> Result<(), ArchiveError> {
        self.last = self.chunk.len() <= self.place.chunk + TAG;
        if !self.last {
            self.ahead = self.chunk.pop();
        }
        self.consumed += self.chunk.len() as u64;
        let content = self.chunk.len().checked_sub(TAG).filter(|content| *content > 0);
        let content = content.ok_or(ArchiveError::Refused)?;
        let nonce = self.place.nonce(self.last).map_err(|_| ArchiveError::Refused)?;
        let tag = *GenericArray::from_slice(&self.chunk[content..]);
        self.chunk.truncate(content);
        let Place { cipher, header, .. } = &self.place;
        apart(|| cipher.decrypt_in_place_detached(&nonce, header, &mut self.chunk, &tag))
            .map_err(|_| ArchiveError::Refused)
    }

    /// Fills `out` with content.
    pub(crate) fn fill(&mut self, mut out: &mut [u8]) -> Result<(), ArchiveError> {
        while !out.is_empty() {
            if self.at == self.chunk.len() {
                self.advance()?;
            }
            let ready = &self.chunk[self.at..];
            let count = ready.len().min(out.len());
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&ready[..count]);
            self.at += count;
            out = later;
        }
        Ok(())
    }

    /// Fails unless all content was taken and the last chunk was authenticated.
    pub(crate) fn finish(mut self) -> Result<(), ArchiveError> {
        if self.at < self.chunk.len() {
            return Err(ArchiveError::Malformed);
        }
        if !self.last {
            // Either the chunks do not authenticate, and `advance` says so, or there is content behind the end.
            self.advance()?;
            return Err(ArchiveError::Malformed);
        }
        Ok(())
    }
}

impl<R> std::fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::header::Cost;
    use super::*;

    #[test]
    fn no_nonce_comes_twice_and_the_stream_ends_before_its_counter() {
        let cost = Cost { memory: 8, passes: 1, lanes: 1 };
        let (header, keys) = Header::new(cost, 8, &[1; 51], b"x").unwrap();
        let mut place = Place::new(&header, &keys);
        let first = place.nonce(false).unwrap();
        assert_ne!(first, place.nonce(false).unwrap());
        place.next = Some(u32::MAX);
        assert_ne!(first, place.nonce(false).unwrap());
        assert_eq!(place.nonce(false), Err(ArchiveError::TooLong));
        place.next = Some(7);
        let last = place.nonce(true).unwrap();
        assert_eq!(last[19..], [0, 0, 0, 7, 1]);
        assert_eq!(place.nonce(true), Err(ArchiveError::TooLong), "nothing follows a last chunk");
    }
}
