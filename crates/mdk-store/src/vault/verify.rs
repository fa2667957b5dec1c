//! Proves that a database is intact: every page is authentic, the structure is sound, groups and messages are
//! consistent.

mod logic;
mod pages;
mod report;
mod structure;

use std::path::Path;

use rusqlite::Connection;

use super::{Progress, Stage, VaultError, look};
use crate::{
    APPLICATION_ID, DatabaseKey, OpenError, Store, StoreError,
    recovery::existing_key,
    sqlcipher::{Log, PAGE, errors::take_fault},
    store::{self, open, schema},
};

pub(super) use logic::INCOMPLETE_GROUPS;
pub(super) use pages::of_open as bad_pages;
pub(super) use pages::{FOREIGN_LOG, Settled, damaged_log, of_last};
pub use report::VerifyReport;

/// Verifies a database that nobody has open, and changes nothing: neither the file nor its write-ahead log. The
/// committed part of the log counts.
///
/// A damaged page does not end the report. All other pages are still checked, and each table by itself.
///
/// # Errors
/// [`VaultError::Open`]: there is no key, it authenticates no page of the file, the file is empty, cut inside its first
/// page or not encrypted, or another owner has it open. [`VaultError::SourceMissing`], [`VaultError::Io`],
/// [`VaultError::Cancelled`].
pub fn verify(
    path: &Path,
    key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<VerifyReport, VaultError> {
    look::check_keys(path, [key])?;
    let source = look::Source::take_to_read(path)?;
    if source.is_plain()? {
        return Err(OpenError::NotEncrypted.into());
    }
    source.require_first_page()?;
    let key = existing_key(&source.place, key)?;
    let log = Log::read(source.log_file.as_ref(), &source.file)?;
    let settled = Settled::of(&source, &log, &key, progress)
        .map_err(|error| look::judged(&source.place, &key, error))?;
    let mut report = VerifyReport {
        pages: source.size / PAGE as u64,
        log_pages: log.pages.len() as u64,
        remarks: pages::remarks(&log),
        ..VerifyReport::default()
    };
    report.add_pages(&settled.bad);
    let connect = || settled.connect(&key, false);
    report.structure = pages::lines(&source, &log, connect)?;
    if !settled.has_page_1 {
        report.structure.push("page 1 is damaged: the structure could not be checked".to_owned());
        return Ok(report.finish(Some(&source.place)));
    }
    let refusal = || connect().and_then(|conn| identity(&conn)).err();
    // SQLite also says "damaged" of a page that could not be read just now.
    let refusal = match refusal() {
        Some(OpenError::Store(StoreError::Corrupt)) => {
            source.read_through()?;
            refusal()
        }
        refusal => refusal,
    };
    match refusal {
        // SQLite refuses a file that ends too early, even if all its pages are whole.
        Some(OpenError::Store(StoreError::Corrupt)) if settled.bad.is_empty() => {
            report.structure.push("the structure cannot be read".to_owned());
        }
        Some(error) if settled.bad.is_empty() => return Err(error.into()),
        _ if settled.bad.is_empty() && report.structure.is_empty() => {
            // The file was opened a moment ago.
            check(&*connect().map_err(open::of_new)?, &mut report, progress)?;
        }
        // A missing page ends a connection that asks for it, as a damaged one does.
        _ if connect().is_ok_and(|conn| structure::tables(&conn).is_ok()) => {
            let mut ask = asking(report.pages, progress);
            structure::each_table(&connect, &mut report.structure, &mut ask)?;
            logic::all(&connect, &mut report.logic, &mut ask)?;
        }
        _ => report
            .structure
            .push("the list of tables is damaged: no table could be checked".to_owned()),
    }
    Ok(report.finish(Some(&source.place)))
}

impl Store {
    /// Verifies the open database. The write-ahead log is moved into the file first; nothing else is written.
    ///
    /// # Errors
    /// [`VaultError::InMemory`], [`VaultError::Store`] when the log cannot be moved or is another owner's,
    /// [`VaultError::Io`], [`VaultError::Cancelled`].
    pub fn verify(&mut self, progress: &mut Progress<'_>) -> Result<VerifyReport, VaultError> {
        let mut report = VerifyReport::default();
        self.require_owner()?;
        self.mend()?;
        take_fault();
        let bad = match bad_pages(self.conn()?, self.place(), &mut report, progress) {
            // SQLCipher also says that of a page that could not be read just now.
            Err(error @ VaultError::Store(StoreError::Corrupt)) => return Err(self.explain(error)),
            bad => bad?,
        };
        self.log_was_emptied();
        report.add_pages(&bad);
        if bad.is_empty() {
            let checked = check(self.conn()?, &mut report, progress);
            if matches!(checked, Err(VaultError::Store(_))) {
                self.renew();
            }
            checked?;
        } else {
            // Asking SQLCipher for a damaged page would end this connection, which still serves the others.
            report.structure.push(
                "pages are damaged: close the database and verify its file to have the rest checked"
                    .to_owned(),
            );
        }
        Ok(report.finish(self.place()))
    }
}

/// Structure and logic of a database whose pages are all authentic. An unreadable page is an error, and no damage.
fn check(
    conn: &Connection,
    report: &mut VerifyReport,
    progress: &mut Progress<'_>,
) -> Result<(), VaultError> {
    let mut ask = asking(report.pages, progress);
    let checked = structure::all(conn, &mut report.structure, &mut ask)
        .and_then(|()| logic::all_on(conn, &mut report.logic, &mut ask));
    let damaged = match &checked {
        Ok(()) => !report.is_intact(),
        Err(error) => matches!(error, VaultError::Store(StoreError::Corrupt)),
    };
    // Every page was authentic a moment ago. SQLCipher calls a page that it cannot read not authentic, and all pages
    // after it. So nothing is known of pages that the connection could not read.
    if damaged && !store::is_usable(conn) {
        return Err(StoreError::Io { code: rusqlite::ffi::SQLITE_IOERR_READ }.into());
    }
    checked
}

/// Asks whether to go on, when all pages were read and their content is being checked.
fn asking(pages: u64, progress: &mut Progress<'_>) -> impl FnMut() -> Result<(), VaultError> {
    let total = pages * PAGE as u64;
    move || progress.tell(Stage::Checking, total, total)
}

/// Fails unless the file is ours, and of a schema that this version knows.
pub(super) fn identity(conn: &Connection) -> Result<(), OpenError> {
    let found: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if found != APPLICATION_ID {
        return Err(OpenError::ForeignDatabase { found });
    }
    schema::require_known(schema::version(conn)?)
}
