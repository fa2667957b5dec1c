//! What is intact in a damaged database, read into a new one.

mod btree;
mod mend;
mod rescue;
mod schema;

use std::{collections::BTreeMap, ffi::OsStr, path::Path};

use mdk_wire::Secret;
use rusqlite::Connection;

use self::{
    btree::Pages,
    mend::Mended,
    rescue::{Loss, Rescue},
};
use super::{
    Progress, VaultError,
    log::Log,
    look::{self, Source},
    new_file::new_file,
    pages::PAGE,
    restore::mark_as_copy,
    rows,
    verify::{Scan, find_key, read_page},
};
use crate::{
    APPLICATION_ID, DatabaseKey, OpenError, StoreError, files::Place, key_source, migrate, open,
};

/// What `salvage` saved and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Pages that could not be read, those included that the file lacks at its end.
    pub bad_pages: u64,
    /// Rows saved, by table.
    pub saved: Vec<(String, u64)>,
    /// What is missing, one sentence each, without content.
    pub missing: Vec<String>,
    /// Groups in the new database.
    pub groups: u64,
    /// Those of them of which the MLS state is incomplete. Their history is there; only a new Welcome brings them back.
    pub unrecoverable_groups: u64,
}

/// Reads all that is intact in a damaged or truncated database into a new one, under a key of its own. The damaged file
/// and its write-ahead log are not changed.
///
/// Only pages that authenticate are read, each in its newest intact version; that may stand in the log behind damage, which
/// opening refuses. Rows are found through the trees of their tables and, where what leads to a page is damaged, by what
/// the page holds. A row of which any part is damaged is left out. A group whose MLS state is partly an older version's is
/// given up, and so is one of which that may be so: where a page of the log is lost and it is not known which, every group
/// of which some MLS state was last written before it.
///
/// What was saved is made to fit together: a group that lacks parts of its MLS state becomes
/// [`GroupStatus::Unrecoverable`](crate::GroupStatus::Unrecoverable), with its history; one that lost its row but not
/// its messages gets a row without a name; if the account's signing key is lost, the account starts as a new device
/// and all groups are unrecoverable; rows that belong to nothing are dropped.
///
/// The new database continues the old one as a restored backup does: the two must not be used side by side, for they
/// share their ratchet keys, and the account renews its leaf in every group before it sends there.
///
/// # Errors
/// [`VaultError::Open`] with `WrongKey` or `NotADatabase` if no page authenticates, with `Truncated` if neither the file nor
/// its log has page 1; [`VaultError::DestinationExists`],
/// [`VaultError::NoSpace`], [`VaultError::Cancelled`]; and what opening, reading and writing can meet. Then no new file
/// is left.
pub fn salvage(
    damaged: &Path,
    key: &DatabaseKey,
    to: &Path,
    to_key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<SalvageReport, VaultError> {
    look::check_keys(damaged, [key, to_key])?;
    let source = Source::take_to_read(damaged)?;
    if source.is_plain()? {
        return Err(OpenError::NotEncrypted.into());
    }
    let log = Log::read(source.log_file.as_ref(), &source.file)?;
    let newest = log.newest();
    if !newest.pages.contains_key(&1) {
        source.require_first_page()?;
    }
    let key = key_source::existing(&source.place, key)?;
    let read = |progress: &mut Progress<'_>| {
        let log = match &source.log_file {
            Some(file) => {
                let pages = source.size / PAGE as u64;
                let (key, _) = find_key(&source, &newest, pages, &key, progress)?;
                let mut log = log.rescued(file, &key)?;
                // The frame that says it may not be whole. Page 1 says it too, and authenticates.
                if log.lost_acknowledged {
                    log.database_pages = 0;
                }
                log
            }
            None => log,
        };
        Ok((Scan::run(&source, &log, &key, progress)?, log))
    };
    let (scan, log) = read(progress).map_err(|error| look::judged(&source.place, &key, error))?;
    // Rows that are no good are found one by one, under a journal.
    let room = source.size + (2 * source.size).min(16 << 20);
    new_file(to, to_key, room, |place, temp, new| {
        fill(&source, &log, &scan, place, temp, new, progress)
    })
}

fn fill(
    source: &Source,
    log: &Log,
    scan: &Scan,
    place: &Place,
    temp: &OsStr,
    key: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<SalvageReport, VaultError> {
    let present = u32::try_from(source.size / PAGE as u64).unwrap_or(u32::MAX);
    let count = log.pages.keys().next_back().map_or(present, |&last| last.max(present));
    let pages = Pages { source, log, key: &scan.key, count };
    require_ours(source, log, scan)?;
    let mut conn = open::connect(place, temp, key, true)?;
    let mut rescue = Rescue::new(&pages, &conn, schema::trees(&conn)?);
    rescue.run(progress)?;
    let lacking = scan.lacking(source, log);
    let damaged = rescue.damaged_tables();
    let Rescue { losses, unknown_pages, mixed, .. } = rescue;
    let mended = {
        let tx = conn.unchecked_transaction().map_err(StoreError::from)?;
        let mended = mend::mend(&tx, losses.get("mls_rows"), &mixed)?;
        tx.commit().map_err(StoreError::from)?;
        mended
    };
    let mut report = SalvageReport {
        bad_pages: scan.bad.len() as u64 + lacking,
        missing: missing(&losses, unknown_pages, &damaged, &mended, log, lacking),
        unrecoverable_groups: mended.unrecoverable,
        ..SalvageReport::default()
    };
    count_rows(&conn, &mut report)?;
    // The newest state may be missing without a trace, and whoever has read what was sent in it has used those keys.
    mark_as_copy(&mut conn)?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(StoreError::from)?;
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    Ok(report)
}

/// Fails if page 1 says that the file is not ours, or of a schema that this version does not know. If that page is lost, it
/// is taken for one of ours.
fn require_ours(source: &Source, log: &Log, scan: &Scan) -> Result<(), VaultError> {
    let mut page = zeroize::Zeroizing::new([0u8; PAGE]);
    if !read_page(source, log, 1, &mut page[..])? || !scan.key.decrypt(1, &mut page[..]) {
        return Ok(());
    }
    let word = |at: usize| u32::from_be_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    let found = word(68).cast_signed();
    if found != APPLICATION_ID {
        return Err(OpenError::ForeignDatabase { found }.into());
    }
    Ok(migrate::require_known(migrate::in_header(word(60)))?)
}

fn count_rows(conn: &Connection, report: &mut SalvageReport) -> Result<(), VaultError> {
    for table in rows::tables(conn)? {
        if table == "sqlite_sequence" {
            continue;
        }
        let count: i64 = conn
            .query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))
            .map_err(StoreError::from)?;
        let count = u64::try_from(count).unwrap_or(0);
        if table == "groups" {
            report.groups = count;
        }
        report.saved.push((table, count));
    }
    Ok(())
}

fn missing(
    losses: &BTreeMap<String, Loss>,
    unknown_pages: u64,
    damaged: &[(String, Option<u64>)],
    mended: &Mended,
    log: &Log,
    lacking: u64,
) -> Vec<String> {
    let mut lines = Vec::new();
    if lacking > 0 {
        lines.push(format!("the file lacks {lacking} pages at its end"));
    }
    lines.extend(of_log(log));
    for (table, loss) in losses {
        // Rows that are cut are listed too; the larger number says at least how many there are.
        let rows = loss.listed.max(loss.cut);
        let groups = match loss.groups.len() {
            0 => String::new(),
            n => format!(", of {n} groups"),
        };
        lines.push(format!("{table}: at least {rows} rows are missing{groups}"));
    }
    for (table, pages) in damaged {
        lines.push(match pages {
            Some(pages) => format!("{table}: {pages} of its pages are damaged"),
            None => format!("{table}: where it begins is damaged, so rows may be missing"),
        });
    }
    if unknown_pages > 0 {
        lines.push(format!(
            "{unknown_pages} intact pages were left out: it is not known what they belong to"
        ));
    }
    if mended.identity_lost {
        lines.push("the signing key of the account is lost: it starts as a new device".to_owned());
    }
    if mended.rebuilt > 0 {
        let groups = mended.rebuilt;
        lines.push(format!(
            "{groups} groups lost their names and settings; their messages are there"
        ));
    }
    if mended.unrecoverable > 0 {
        let groups = mended.unrecoverable;
        lines.push(format!(
            "{groups} groups lost parts of their MLS state: a new invite brings them back"
        ));
    }
    if mended.dropped > 0 {
        lines.push(format!("{} rows were dropped: what they belong to is lost", mended.dropped));
    }
    lines
}

/// What is wrong with the write-ahead log.
fn of_log(log: &Log) -> Option<String> {
    let hit = log.hit_frames;
    let lost = match log.old_pages() {
        Some(0) => "newer versions of all of them were".to_owned(),
        Some(pages) => format!("of {pages} an older version was taken, if there is one"),
        None => "older versions of them were taken, if there are any".to_owned(),
    };
    match (hit, log.lost_acknowledged) {
        (0, false) if log.foreign => {
            Some("the write-ahead log is none of this database".to_owned())
        }
        (0, true) => Some("the write-ahead log is damaged; all its pages were read".to_owned()),
        (0, false) => match log.lost_frames + log.doubtful_frames {
            0 => None,
            pages => Some(format!(
                "the last transaction in the write-ahead log is damaged, or was never finished: {pages} pages were left out"
            )),
        },
        _ => Some(format!(
            "the write-ahead log is damaged: {hit} of its pages could not be read; {lost}"
        )),
    }
}
