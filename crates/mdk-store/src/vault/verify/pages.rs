//! Authenticates every page of a file and of its log.

use mdk_wire::Secret;
use rusqlite::Connection;

use super::report::VerifyReport;
use crate::{
    FileRole, OpenError, StoreError,
    files::Place,
    keys::key_metadata,
    sqlcipher::{
        self, Log, PAGE, ReadOnly, SALT, connection::Conn, is_cut, open_read_only, read_at,
    },
    vault::{Progress, Stage, VaultError, error, look::Source, scratch::Scratch},
};

/// A database that nobody writes to, with the content of its log, and the way to open it.
pub(crate) struct Settled {
    /// A copy, where there is a log. The log was moved into it as SQLite reads it.
    copy: Option<Scratch>,
    original: Place,
    /// The salt of the record, where the file begins with another.
    salt: Option<[u8; SALT]>,
    /// Pages that are not authentic, ascending.
    pub(crate) bad: Vec<u32>,
    /// The first page can be read, though its salt may be damaged.
    pub(crate) has_page_1: bool,
}

impl Settled {
    /// Authenticates every page.
    ///
    /// # Errors
    /// `WrongKey` if no page at all is authentic.
    pub(crate) fn of(
        source: &Source,
        log: &Log,
        key: &Secret<32>,
        progress: &mut Progress<'_>,
    ) -> Result<Self, VaultError> {
        let original = source.place.twin();
        let mut settled =
            Self { copy: None, original, salt: None, bad: Vec::new(), has_page_1: false };
        if !log.pages.is_empty() {
            let copy = Scratch::of(&source.place)?;
            // The file stays as it is if this fails. Damage in it is found below.
            let _ = move_log(&copy.place, key);
            settled.copy = Some(copy);
        }
        let place = settled.place();
        let found = place.inspect(place.name(), FileRole::Database)?;
        let size = found.as_ref().map_or(0, |found| found.size);
        let pages = size / PAGE as u64;
        progress.tell(Stage::Checking, 0, size)?;
        let mut bad = settled.check(key)?;
        let recorded = key_metadata::read(&source.place).ok().flatten();
        let recorded = recorded.and_then(|record| record.salt());
        if bad.len() as u64 == pages && recorded.is_some_and(|salt| source.head() != Ok(salt)) {
            settled.salt = recorded;
            bad = settled.check(key)?;
        }
        if bad.len() as u64 >= pages {
            return Err(OpenError::WrongKey.into());
        }
        progress.tell(Stage::Checking, size, size)?;
        settled.has_page_1 = !bad.starts_with(&[1]);
        if settled.has_page_1 && settled.salt.is_some() {
            bad.insert(0, 1);
        }
        settled.bad = bad;
        Ok(settled)
    }

    fn check(&self, key: &Secret<32>) -> Result<Vec<u32>, VaultError> {
        let conn = self.connect(key, false)?;
        Ok(sqlcipher::bad_pages(&conn)?)
    }

    /// The place of the file.
    fn place(&self) -> &Place {
        self.copy.as_ref().map_or(&self.original, |copy| &copy.place)
    }

    /// Opens the file for reading; with `cut` also if it ends too early.
    pub(crate) fn connect(&self, key: &Secret<32>, cut: bool) -> Result<Conn, OpenError> {
        let place = self.place();
        let what = ReadOnly { salt: self.salt, cut, ..ReadOnly::keyed(place, place.name(), key) };
        open_read_only(&what)
    }
}

/// Moves the log of a copy into the copy.
fn move_log(place: &Place, key: &Secret<32>) -> Result<(), OpenError> {
    let name = place.name();
    let conn = open_read_only(&ReadOnly { with_log: true, ..ReadOnly::keyed(place, name, key) })?;
    conn.execute_batch("PRAGMA query_only = OFF; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// The remarks about the log: a fault, or the leftover of a process that ended while it wrote.
pub(super) fn remarks(log: &Log) -> Vec<String> {
    match log.doubtful_frames {
        0 => Vec::new(),
        frames => vec![of_last(frames)],
    }
}

/// The faults in the lengths of the file and its log.
pub(super) fn lines(
    source: &Source,
    log: &Log,
    connect: impl Fn() -> Result<Conn, OpenError>,
) -> Result<Vec<String>, OpenError> {
    let mut lines = Vec::new();
    let (pages, rest) = (source.size / PAGE as u64, source.size % PAGE as u64);
    // The log may hold the bytes that an interrupted write of the file lacks.
    if rest != 0 && log.pages.is_empty() {
        lines.push(format!("the file ends in the middle of a page, after {rest} bytes of it"));
    }
    let count = connect()?.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0));
    match count {
        Ok(count) if log.pages.is_empty() && pages > u64::from(count) => {
            lines.push(format!("the file has {pages} pages, its header says {count}"));
        }
        _ if is_cut(connect)? => {
            lines.push(format!("the file lacks pages at its end: it has {pages}"));
        }
        _ => {}
    }
    // The report follows what SQLite would read.
    if log.foreign {
        lines.push(FOREIGN_LOG.to_owned());
    } else if log.lost_frames > 0 {
        lines.push(damaged_log(log));
    }
    Ok(lines)
}

/// A log that somebody has put beside the database.
pub(crate) const FOREIGN_LOG: &str =
    "the write-ahead log is none of this database; `salvage` reads the database without it";

/// A log that ends too early.
pub(crate) fn damaged_log(log: &Log) -> String {
    format!(
        "the write-ahead log is damaged: {} pages in it, of transactions that were finished, cannot be read any more",
        log.lost_frames
    )
}

/// A log whose last transaction does not count.
pub(crate) fn of_last(pages: u64) -> String {
    format!(
        "the last transaction in the write-ahead log is damaged, or was never finished: {pages} pages do not count"
    )
}

/// Moves the log of an open database into its file and authenticates every page, on SQLite's own descriptor. `place` is
/// the place of the file.
pub(crate) fn of_open(
    conn: &Connection,
    place: Option<&Place>,
    report: &mut VerifyReport,
    progress: &mut Progress<'_>,
) -> Result<Vec<u32>, VaultError> {
    let place = place.ok_or(VaultError::InMemory)?;
    let moved = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(StoreError::from)?;
    if moved != 0 {
        return Err(StoreError::Busy.into());
    }
    let found = place.inspect(place.name(), FileRole::Database)?;
    let found = found.ok_or(VaultError::SourceMissing { role: FileRole::Database })?;
    let mut head = [0u8; SALT];
    read_at(&found.file, &mut head, 0).map_err(|e| error::io("reading", &e))?;
    let expected: u32 =
        conn.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(StoreError::from)?;
    report.pages = found.size / PAGE as u64;
    if found.size != u64::from(expected) * PAGE as u64 {
        report.structure.push(format!(
            "the file has {} bytes, its header says {expected} pages of {PAGE}",
            found.size
        ));
    }
    progress.tell(Stage::Checking, 0, found.size)?;
    let mut bad = sqlcipher::bad_pages(conn)?;
    // The connection has read the salt long ago.
    let recorded = key_metadata::read(place).ok().flatten().and_then(|record| record.salt());
    if recorded.is_some_and(|salt| salt != head) && !bad.starts_with(&[1]) {
        bad.insert(0, 1);
    }
    progress.tell(Stage::Checking, found.size, found.size)?;
    Ok(bad)
}
