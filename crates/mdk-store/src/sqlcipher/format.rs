//! The layout of an SQLCipher 4 file (<https://www.zetetic.net/sqlcipher/design/>).

use std::{fs::File, io};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a page that SQLite uses. The rest holds an IV and an HMAC.
pub(crate) const USABLE: usize = PAGE - 80;
/// Bytes of the salt in front of page 1.
pub(crate) const SALT: usize = 16;
/// The first bytes of a plain file, in place of the salt.
pub(crate) const MAGIC: &[u8; SALT] = b"SQLite format 3\0";

/// Fills `buf` from `offset` on, without moving a shared position.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

/// Fills `buf` from `offset` on. It moves the position of the file, on which nothing here relies.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buf = &mut buf[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
