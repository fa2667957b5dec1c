//! Authenticating every page of a file and of its log.

use std::ffi::{c_int, c_void};

use mdk_wire::Secret;
use rusqlite::{Connection, ffi};
use zeroize::Zeroizing;

use super::{Progress, Stage, VaultError, VerifyReport, look::Source};
use crate::{
    OpenError, StoreError, cipher, side_record,
    vault::{
        log::Log,
        pages::{self, LOCK_PAGE, PAGE, PageKey, SALT},
    },
};

/// Pages that are read from an open database in one go, or after which it is said how far the search for a key is.
const CHUNK: usize = 256;

/// What authenticating a file came to.
pub(crate) struct Scan {
    pub(crate) key: PageKey,
    /// Pages that are not authentic, ascending. Where the log has a newer version, that one counts.
    pub(crate) bad: Vec<u32>,
    /// Pages that the database should have, by its header or its log; `None` if neither can be read.
    pub(crate) expected: Option<u32>,
}

impl Scan {
    /// Authenticates every page. Fails with `WrongKey` if no page at all is authentic.
    pub(crate) fn run(
        source: &Source,
        log: &Log,
        key: &Secret<32>,
        progress: &mut Progress<'_>,
    ) -> Result<Self, VaultError> {
        let (pages, _) = pages::layout(&source.file)?;
        let (key, salt_was_repaired) = find_key(source, log, pages, key, progress)?;
        let mut bad = pages::bad_pages(&source.file, &key, progress)?;
        if salt_was_repaired && bad.first() != Some(&1) {
            bad.insert(0, 1);
        }
        bad.retain(|number| !log.pages.contains_key(number) || (*number == 1 && salt_was_repaired));
        if let Some(file) = &source.log_file {
            let mut page = [0u8; PAGE];
            for &number in log.pages.keys() {
                log.page(file, number, &mut page)?;
                if !key.check(number, &page) {
                    bad.push(number);
                }
            }
            bad.sort_unstable();
            bad.dedup();
        }
        let mut page = Zeroizing::new([0u8; PAGE]);
        let first = read(source, log, 1, &mut page[..])? && key.decrypt(1, &mut page[..]);
        let expected = match log.database_pages {
            0 if first => Some(u32::from_be_bytes([page[28], page[29], page[30], page[31]])),
            0 => None,
            pages => Some(pages),
        };
        Ok(Self { key, bad, expected })
    }

    /// How many pages the database should have at its end that neither the file nor the log has.
    pub(crate) fn lacking(&self, source: &Source, log: &Log) -> u64 {
        let present = u32::try_from(source.size / PAGE as u64).unwrap_or(u32::MAX);
        let Some(expected) = self.expected.filter(|expected| *expected > present) else { return 0 };
        let in_log = log.pages.range(present + 1..=expected).count();
        u64::from(expected - present) - in_log as u64
    }

    /// What may be wrong with the log, and may be what a process left that ended while it wrote.
    pub(super) fn remarks(log: &Log) -> Vec<String> {
        match log.doubtful_frames {
            0 => Vec::new(),
            frames => vec![of_last(frames)],
        }
    }

    /// What is wrong with the lengths of the file and its log.
    pub(super) fn lines(&self, source: &Source, log: &Log) -> Vec<String> {
        let mut lines = Vec::new();
        let pages = source.size / PAGE as u64;
        // A log may hold what an interrupted write of the file lacks.
        let rest = source.size % PAGE as u64;
        if rest != 0 && log.pages.is_empty() {
            lines.push(format!("the file ends in the middle of a page, after {rest} bytes of it"));
        }
        if let Some(expected) = self.expected.map(u64::from) {
            let missing = self.lacking(source, log);
            if missing > 0 {
                lines.push(format!("the file lacks {missing} of {expected} pages at its end"));
            } else if pages > expected && log.pages.is_empty() {
                lines.push(format!("the file has {pages} pages, its header says {expected}"));
            }
        }
        // Nothing else is checked of these: what is reported is what SQLite would read.
        if log.foreign {
            lines.push(FOREIGN_LOG.to_owned());
        } else if log.lost_acknowledged {
            lines.push(format!(
                "the write-ahead log is damaged: {} pages in it are read by `salvage` alone, as far as they are intact",
                log.lost_frames
            ));
        } else if log.lost_frames > 0 {
            lines.push(of_last(log.lost_frames));
        }
        lines
    }
}

/// A log that somebody has put beside the database.
pub(crate) const FOREIGN_LOG: &str =
    "the write-ahead log is none of this database; `salvage` reads the database without it";

fn of_last(pages: u64) -> String {
    format!(
        "the last transaction in the write-ahead log is damaged, or was never finished: {pages} pages do not count"
    )
}

/// Reads the newest version of a page. `false`: the file does not have it.
pub(crate) fn read(
    source: &Source,
    log: &Log,
    number: u32,
    buf: &mut [u8],
) -> Result<bool, VaultError> {
    if let Some(file) = &source.log_file
        && log.page(file, number, buf)?
    {
        return Ok(true);
    }
    let at = u64::from(number - 1) * PAGE as u64;
    if number == 0 || at + PAGE as u64 > source.size {
        return Ok(false);
    }
    pages::read_at(&source.file, buf, at).map_err(|e| pages::io("reading", &e))?;
    Ok(true)
}

/// The keys of the file: those under which some page is authentic. Also says whether the salt that the file begins with is
/// not that of these keys: it was damaged. Of the log the page numbers may be wrong: only the pages that it has are looked at.
pub(crate) fn find_key(
    source: &Source,
    log: &Log,
    pages: u64,
    key: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<(PageKey, bool), VaultError> {
    let salts = salts(source, log, pages)?;
    let mut first = Vec::new();
    // One after the other, the file's own first: beside it may lie the log or the record of another file of this key, and
    // what authenticates by that is not of this one.
    for (place, salt) in salts.iter().enumerate() {
        let keys = PageKey::new(key, salt);
        if opens_any(source, log, pages, &keys, &mut first, progress)? {
            return Ok((keys, pages > 0 && place > 0));
        }
    }
    // No page is authentic: a wrong key, or a salt that was hit.
    first
        .iter()
        .find_map(|(number, page)| PageKey::find(key, &salts[0], *number, page))
        .ok_or_else(|| OpenError::WrongKey.into())
}

/// Whether some page is authentic under these keys. Some of those that are not are kept in `first`.
fn opens_any(
    source: &Source,
    log: &Log,
    pages: u64,
    keys: &PageKey,
    first: &mut Vec<(u32, [u8; PAGE])>,
    progress: &mut Progress<'_>,
) -> Result<bool, VaultError> {
    let mut page = [0u8; PAGE];
    let total = (pages + log.pages.len() as u64) * PAGE as u64;
    let in_file = 1..=u32::try_from(pages).unwrap_or(u32::MAX);
    let behind = log.pages.keys().copied().filter(|number| u64::from(*number) > pages);
    for (done, number) in in_file.chain(behind).enumerate() {
        if done % CHUNK == CHUNK - 1 {
            progress.tell(Stage::Checking, done as u64 * PAGE as u64, total)?;
        }
        if number != LOCK_PAGE && read(source, log, number, &mut page)? {
            if keys.check(number, &page) {
                return Ok(true);
            }
            if first.len() < 8 {
                first.push((number, page));
            }
        }
    }
    Ok(false)
}

/// The salts that the file may have: the one that it begins with, what the record beside it says, and that of page 1 in the
/// log. Any of them may be damaged or another file's, and only a page that authenticates shows which is not.
fn salts(source: &Source, log: &Log, pages: u64) -> Result<Vec<[u8; SALT]>, VaultError> {
    let mut page = [0u8; PAGE];
    let mut salts = Vec::new();
    let logged = log.pages.contains_key(&1) && read(source, log, 1, &mut page)?;
    // Of a file that was cut inside page 1 only the log may have that page, with the salt in front of it.
    if pages > 0 || !logged {
        salts.push(source.head()?);
    }
    let record = side_record::read(&source.place).ok().flatten();
    salts.extend(record.and_then(|record| record.salt()));
    if logged {
        salts.push(page[..SALT].try_into().expect("a page is longer"));
    }
    salts.dedup();
    Ok(salts)
}

/// Moves the log of an open database into its file and authenticates every page, through SQLite's own descriptor: to
/// open the file once more and close it would end the locks that SQLite holds on it. `recorded` is the salt that the record
/// beside it has, for the case that the file's was hit.
pub(crate) fn open_database(
    conn: &Connection,
    recorded: Option<[u8; SALT]>,
    report: &mut VerifyReport,
    progress: &mut Progress<'_>,
) -> Result<Vec<u32>, VaultError> {
    let moved = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(StoreError::from)?;
    if moved != 0 {
        return Err(StoreError::Busy.into());
    }
    let file = RawFile::of(conn).ok_or(VaultError::InMemory)?;
    let size = file.size()?;
    let first = file.read(0, PAGE)?;
    let expected: u32 =
        conn.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(StoreError::from)?;
    report.pages = size / PAGE as u64;
    if size != u64::from(expected) * PAGE as u64 {
        report
            .structure
            .push(format!("the file has {size} bytes, its header says {expected} pages of {PAGE}"));
    }
    let key = cipher::take_key(conn).ok_or(VaultError::InMemory)?;
    let of_file = PageKey::of_page_1(&key, &first);
    let of_record = recorded.filter(|_| !of_file.check(1, &first));
    let of_record = of_record.map(|salt| PageKey::new(&key, &salt));
    let mut bad = Vec::new();
    let key = match of_record.filter(|key| key.check(1, &first)) {
        Some(key) => {
            bad.push(1);
            key
        }
        None => of_file,
    };
    let mut number = 1;
    while u64::from(number) <= report.pages {
        let count = CHUNK.min((report.pages - u64::from(number) + 1) as usize);
        let chunk = file.read(u64::from(number - 1) * PAGE as u64, count * PAGE)?;
        for page in chunk.chunks_exact(PAGE) {
            if number != LOCK_PAGE && !key.check(number, page) {
                bad.push(number);
            }
            number += 1;
        }
        let done = u64::from(number - 1) * PAGE as u64;
        progress.tell(Stage::Checking, done, report.pages * PAGE as u64)?;
    }
    Ok(bad)
}

/// The database file as SQLite has it open.
struct RawFile<'a> {
    file: *mut ffi::sqlite3_file,
    methods: &'a ffi::sqlite3_io_methods,
}

impl<'a> RawFile<'a> {
    /// `None` for a database that has no file.
    fn of(conn: &'a Connection) -> Option<Self> {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the handle is that of an open connection; this opcode writes one pointer to the place that is given.
        let code = unsafe {
            ffi::sqlite3_file_control(
                conn.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                (&raw mut file).cast::<c_void>(),
            )
        };
        if code != ffi::SQLITE_OK || file.is_null() {
            return None;
        }
        // SAFETY: SQLite's file object lives as long as the connection, which is borrowed. A file that is not open has
        // no methods.
        let methods = unsafe { (*file).pMethods.as_ref()? };
        Some(Self { file, methods })
    }

    fn size(&self) -> Result<u64, VaultError> {
        let mut size = 0;
        let call = self.methods.xFileSize.ok_or(VaultError::InMemory)?;
        // SAFETY: the file is open, and its own method is called with a place for one integer.
        let code = unsafe { call(self.file, &raw mut size) };
        outcome(code)?;
        Ok(u64::try_from(size).unwrap_or(0))
    }

    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, VaultError> {
        let mut buf = vec![0u8; len];
        let call = self.methods.xRead.ok_or(VaultError::InMemory)?;
        let (len, at) = (c_int::try_from(len).expect("a chunk"), at.cast_signed());
        // SAFETY: the file is open, and its own method is called with a buffer of the length that is given.
        let code = unsafe { call(self.file, buf.as_mut_ptr().cast::<c_void>(), len, at) };
        outcome(code)?;
        Ok(buf)
    }
}

fn outcome(code: c_int) -> Result<(), VaultError> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(StoreError::Io { code }.into()) }
}
