//! The database key: where it comes from, and the text form in which it is handed to SQLCipher.

use std::{fmt, path::PathBuf};

use mdk_wire::Secret;
use zeroize::{Zeroize, Zeroizing};

/// Where the 32-byte key of a database comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum DatabaseKey {
    /// The key itself. The caller keeps it safe: without it the data is lost.
    Raw(Secret<32>),
    /// A file with the key as text. Created with mode 0600 and a fresh random key when the database is created;
    /// never changed after. One key file belongs to one database.
    File(PathBuf),
}

impl DatabaseKey {
    /// The name of the source, for [`StoreInfo`](crate::StoreInfo): `"raw"` or `"file"`.
    pub(crate) fn source(&self) -> &'static str {
        match self {
            Self::Raw(_) => "raw",
            Self::File(_) => "file",
        }
    }
}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw(_) => "Raw(..)",
            Self::File(_) => "File(..)",
        })
    }
}

/// The statement that gives SQLCipher a raw key: `x'..'` means no key derivation. The capacity is exact, so that
/// growing leaves no copy behind.
pub(crate) fn key_pragma(key: &Secret<32>) -> Zeroizing<String> {
    const HEAD: &str = "PRAGMA key = \"x'";
    const TAIL: &str = "'\"";
    let mut digits = [0u8; 64];
    hex::encode_to_slice(key.expose(), &mut digits).expect("64 hex digits hold 32 bytes");
    let mut sql = Zeroizing::new(String::with_capacity(HEAD.len() + digits.len() + TAIL.len()));
    sql.push_str(HEAD);
    sql.push_str(std::str::from_utf8(&digits).expect("hex digits are ASCII"));
    sql.push_str(TAIL);
    digits.zeroize();
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_key_nor_path() {
        let raw = format!("{:?}", DatabaseKey::Raw(Secret::new([0xab; 32])));
        let file = format!("{:?}", DatabaseKey::File(PathBuf::from("/home/alice/key")));
        assert_eq!((raw.as_str(), file.as_str()), ("Raw(..)", "File(..)"));
    }

    #[test]
    fn the_key_statement_fits_its_capacity() {
        let sql = key_pragma(&Secret::new([0x0f; 32]));
        assert_eq!(sql.as_str(), format!("PRAGMA key = \"x'{}'\"", "0f".repeat(32)));
        assert_eq!(sql.capacity(), sql.len());
    }
}
