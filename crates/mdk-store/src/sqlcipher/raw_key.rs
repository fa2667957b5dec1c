//! The key of a connection, handed to SQLCipher and taken back from it without the SQL parser.

use std::ffi::{c_int, c_void};

use mdk_wire::{Secret, secret::apart};
use rusqlite::{Connection, ffi};
use zeroize::Zeroize;

use crate::{
    OpenError,
    sqlcipher::{self, SALT},
};

/// The length of `x'`, 64 hex digits, `'`: a raw key, so no key derivation. 32 more digits are a salt.
const SPEC: usize = 67;
const WITH_SALT: usize = SPEC + 2 * SALT;

unsafe extern "C" {
    /// Gives a copy of the key that `sqlite3_key_v2` was told or has derived. [`sqlcipher_free`] frees it.
    fn sqlcipherCodecGetKey(
        db: *mut ffi::sqlite3,
        index: c_int,
        key: *mut *mut c_void,
        len: *mut c_int,
    );
    /// Wipes and frees.
    fn sqlcipher_free(ptr: *mut c_void, len: u64);
}

/// Keys the connection. SQLCipher keeps the only copy that lasts, in memory that it locks and wipes.
pub(crate) fn give_key(conn: &Connection, key: &Secret<32>) -> Result<(), OpenError> {
    give_key_and_salt(conn, key, None)
}

/// The same with a salt that replaces the one at the beginning of the file.
pub(crate) fn give_key_and_salt(
    conn: &Connection,
    key: &Secret<32>,
    salt: Option<&[u8; SALT]>,
) -> Result<(), OpenError> {
    if !sqlcipher::install() {
        return Err(OpenError::CipherMissing);
    }
    if with_text(key, salt, |text| hand_over(conn, text)) == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(OpenError::CipherMissing)
    }
}

/// Calls `f` with the key as `ATTACH` takes it. The text is to be bound and never to stand in SQL.
pub(crate) fn with_key_text<T>(key: &Secret<32>, f: impl FnOnce(&str) -> T) -> T {
    with_text(key, None, |text| f(std::str::from_utf8(text).expect("hex digits and quotes")))
}

fn with_text<T>(key: &Secret<32>, salt: Option<&[u8; SALT]>, f: impl FnOnce(&[u8]) -> T) -> T {
    apart(|| {
        let mut spec = [0u8; WITH_SALT];
        spec[..2].copy_from_slice(b"x'");
        hex::encode_to_slice(key.expose(), &mut spec[2..66]).expect("64 hex digits hold 32 bytes");
        let mut end = SPEC - 1;
        if let Some(salt) = salt {
            end += 2 * SALT;
            hex::encode_to_slice(salt, &mut spec[66..end]).expect("32 hex digits hold 16 bytes");
        }
        spec[end] = b'\'';
        let value = f(&spec[..=end]);
        spec.zeroize();
        value
    })
}

fn hand_over(conn: &Connection, text: &[u8]) -> c_int {
    // SAFETY: the handle is that of an open connection, which is used by this thread only; the name ends with NUL; the
    // pointer and length are those of a slice that SQLCipher copies before it returns.
    unsafe {
        ffi::sqlite3_key_v2(
            conn.handle(),
            c"main".as_ptr(),
            text.as_ptr().cast(),
            text.len() as c_int,
        )
    }
}

/// The key of a connection. `None`: it has no key.
pub(crate) fn take_key(conn: &Connection) -> Option<Secret<32>> {
    apart(|| take_back(conn))
}

fn take_back(conn: &Connection) -> Option<Secret<32>> {
    let mut spec: *mut c_void = std::ptr::null_mut();
    let mut len: c_int = 0;
    // SAFETY: the handle is that of an open connection, which is used by this thread only; database 0 is `main`; both
    // pointers are valid for writing.
    unsafe { sqlcipherCodecGetKey(conn.handle(), 0, &raw mut spec, &raw mut len) };
    let size = usize::try_from(len).ok().filter(|_| !spec.is_null())?;
    // SAFETY: SQLCipher says that it allocated this many bytes there, and they are ours until freed.
    let text = unsafe { std::slice::from_raw_parts(spec.cast::<u8>(), size) };
    // The text may go on with the key of the HMAC and the salt.
    let digits = text.strip_prefix(b"x'").and_then(|digits| digits.get(..64));
    let mut good = false;
    let key =
        digits.map(|digits| Secret::init(|out| good = hex::decode_to_slice(digits, out).is_ok()));
    // SAFETY: allocated by SQLCipher with this length, and not used after.
    unsafe { sqlcipher_free(spec, size as u64) };
    key.filter(|_| good)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let key = Secret::new([0xa7; 32]);
        let conn = Connection::open(&path).unwrap();
        assert!(take_key(&conn).is_none());
        give_key(&conn, &key).unwrap();
        assert!(take_key(&conn).unwrap() == key, "before it is used");
        conn.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        assert!(take_key(&conn).unwrap() == key, "after it is used");
        drop(conn);
        let conn = Connection::open(&path).unwrap();
        let hex = "a7".repeat(32);
        conn.execute_batch(&format!("PRAGMA key = \"x'{hex}'\"")).unwrap();
        assert_eq!(conn.query_row("SELECT a FROM t", [], |r| r.get::<_, i64>(0)).unwrap(), 1);
        assert!(take_key(&conn).unwrap() == key);
    }
}
