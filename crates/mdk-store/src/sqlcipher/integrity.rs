//! Authenticates every page of a file.

use rusqlite::{Connection, ErrorCode, ffi};

use super::connection::Conn;
use crate::{OpenError, StoreError};

/// The numbers of all pages of the file that are not authentic, ascending. A page of zeros is not authentic. The
/// write-ahead log is not looked at.
///
/// # Errors
/// [`StoreError::Io`]: a page cannot be read now, and the result is unknown.
pub(crate) fn bad_pages(conn: &Connection) -> Result<Vec<u32>, StoreError> {
    let mut check = conn.prepare("PRAGMA cipher_integrity_check")?;
    let mut lines = check.query([])?;
    let mut bad = Vec::new();
    while let Some(line) = lines.next()? {
        let line: String = line.get(0)?;
        match verdict(&line) {
            Verdict::Bad(number) => bad.push(number),
            Verdict::Cut => {}
            Verdict::Unread => return Err(StoreError::Io { code: ffi::SQLITE_IOERR_READ }),
            Verdict::Unknown => return Err(StoreError::internal("checking pages")),
        }
    }
    Ok(bad)
}

/// Whether every page that this connection has read was authentic. SQLCipher gives zeros for a page that is not
/// authentic, and remembers it. SQLite meets that only when it reads or writes another page. It never does if the
/// damaged page is the end of a long value.
pub(crate) fn is_sound(conn: &Connection) -> bool {
    let says = |pragma| conn.query_row(pragma, [], |row| row.get::<_, String>(0));
    // (a plain file does not have that status)
    says("PRAGMA cipher_status").is_ok_and(|status| status == "1")
        || matches!(says("PRAGMA cipher_provider"), Err(rusqlite::Error::QueryReturnedNoRows))
}

/// Whether a file whose first page is authentic ends before its last one. SQLite opens no such file.
///
/// # Errors
/// The errors of `connect`.
pub(crate) fn is_cut(connect: impl Fn() -> Result<Conn, OpenError>) -> Result<bool, OpenError> {
    let says_so = || {
        // The query asks for a field of the header, for which no other page is read.
        let opened = connect()?.query_row("PRAGMA application_id", [], |_| Ok(()));
        let code = opened.err().and_then(|error| error.sqlite_error_code());
        Ok::<_, OpenError>(code == Some(ErrorCode::DatabaseCorrupt))
    };
    // It is asked twice: a read that failed for a moment looks the same.
    Ok(says_so()? && says_so()?)
}

/// The result in a line of the check.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Bad(u32),
    Unread,
    /// The file ends in the middle of a page. Its length shows that, too.
    Cut,
    Unknown,
}

fn verdict(line: &str) -> Verdict {
    if line.starts_with("HMAC ") {
        let number = line.rsplit(' ').next().and_then(|number| number.parse().ok());
        return number.map_or(Verdict::Unknown, Verdict::Bad);
    }
    match line.split(' ').next() {
        Some("error") => Verdict::Unread,
        Some("page") => Verdict::Cut,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_check_says_is_understood() {
        for (line, expected) in [
            ("HMAC verification failed for page 12", Verdict::Bad(12)),
            ("HMAC operation failed for page 3", Verdict::Bad(3)),
            ("error reading 4096 bytes from file page 7 at offset 24576", Verdict::Unread),
            ("page 9 has an invalid size of 100 bytes (expected 4096 bytes)", Verdict::Cut),
            ("unable to derive keys", Verdict::Unknown),
            ("HMAC is not enabled, unable to integrity check", Verdict::Unknown),
        ] {
            assert_eq!(verdict(line), expected, "{line}");
        }
    }
}
