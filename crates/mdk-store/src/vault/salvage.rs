//! Reads the intact rows of a damaged database into a new one.

mod copy_rows;
mod repair_rows;

use std::{collections::BTreeMap, ffi::OsStr, path::Path};

use mdk_wire::Secret;
use rusqlite::Connection;

use self::{
    copy_rows::{Copy, Loss},
    repair_rows::Repaired,
};
use super::{
    Progress, VaultError,
    look::{self, Source},
    new_file::new_file,
    restore::mark_as_copy,
    rows,
    verify::{self, FOREIGN_LOG, Settled},
};
use crate::{
    DatabaseKey, OpenError, StoreError,
    files::Place,
    recovery::existing_key,
    sqlcipher::{Log, connection::Conn, is_cut},
    store::open,
};

/// The result of `salvage`: the saved and the missing rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Pages of the file that are not authentic.
    pub bad_pages: u64,
    /// Rows saved, by table.
    pub saved: Vec<(String, u64)>,
    /// The missing parts, one sentence each, without content.
    pub missing: Vec<String>,
    /// Groups in the new database.
    pub groups: u64,
    /// Groups whose MLS state is incomplete. Their history is there; only a new Welcome brings them back.
    pub unrecoverable_groups: u64,
}

/// Reads the intact rows of a damaged or truncated database into a new one, under a key of its own. The damaged file
/// and its write-ahead log are not changed.
///
/// SQLite reads the file table by table, past damaged pages. A damaged page costs the rows on it. A damaged page that
/// leads to others may cost all of these, and so a table. Damage to page 1, or to a page of the list of tables, costs
/// everything. Content behind damage in the log is lost, too. Then only a backup helps.
///
/// The saved rows are made to fit together. A group that lacks parts of its MLS state becomes
/// [`GroupStatus::Unrecoverable`](crate::GroupStatus::Unrecoverable), with its history. A group that lost its row but
/// not its messages gets a row without a name. If the account's signing key is lost, the account starts as a new device
/// and all groups are unrecoverable. Rows that belong to nothing are dropped.
///
/// The new database continues the old one as a restored backup does. The two must not be used side by side, for they
/// share their ratchet keys. The account renews its leaf in every group before it sends there.
///
/// # Errors
/// [`VaultError::Open`] with `WrongKey` or `NotADatabase` if no page authenticates, with `NotADatabase` if page 1 or
/// the list of tables cannot be read, with `Truncated` if the file was cut inside page 1;
/// [`VaultError::DestinationExists`], [`VaultError::NoSpace`], [`VaultError::Cancelled`]; and the errors of opening,
/// reading and writing. Then no new file is left.
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
    source.require_first_page()?;
    let log = Log::read(source.log_file.as_ref(), &source.file)?;
    let key = existing_key(&source.place, key)?;
    let settled = Settled::of(&source, &log, &key, progress)
        .map_err(|error| look::judged(&source.place, &key, error))?;
    let connect = || settled.connect(&key, true);
    // The list of tables leads to everything.
    let tables = || {
        let conn = connect()?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        verify::identity(&conn)
    };
    let found = match tables() {
        // SQLite also says "damaged" of a page that could not be read just now.
        Err(OpenError::Store(StoreError::Corrupt)) => {
            source.read_through()?;
            tables()
        }
        found => found,
    };
    match found {
        Ok(()) => {}
        Err(OpenError::Store(StoreError::Corrupt)) => return Err(OpenError::NotADatabase.into()),
        Err(OpenError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(error.into()),
    }
    let is_cut = is_cut(|| settled.connect(&key, false))?;
    // Bad rows are found one by one, under a journal.
    let room = source.size + (2 * source.size).min(16 << 20);
    new_file(to, to_key, room, |place, temp, new| {
        let mut report = fill(&source, &connect, place, temp, new, progress)?;
        report.bad_pages = settled.bad.len() as u64;
        if is_cut {
            report.missing.insert(0, "the file lacks pages at its end".to_owned());
        }
        report.missing.splice(0..0, of_log(&log));
        Ok(report)
    })
}

fn fill(
    source: &Source,
    connect: &dyn Fn() -> Result<Conn, OpenError>,
    place: &Place,
    temp: &OsStr,
    key: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<SalvageReport, VaultError> {
    let mut conn = open::connect(place, temp, key, true)?;
    let mut copy = Copy::new(source, connect, &conn);
    copy.run(progress)?;
    let losses = copy.losses;
    let repaired = {
        let tx = conn.unchecked_transaction().map_err(StoreError::from)?;
        let repaired = repair_rows::repair(&tx, losses.get("mls_rows"))?;
        tx.commit().map_err(StoreError::from)?;
        repaired
    };
    let mut report = SalvageReport {
        missing: missing(&losses, &repaired),
        unrecoverable_groups: repaired.unrecoverable,
        ..SalvageReport::default()
    };
    count_rows(&conn, &mut report)?;
    // The newest state may be missing without a trace. A member who has read messages of that state has used its keys.
    mark_as_copy(&mut conn)?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(StoreError::from)?;
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    Ok(report)
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

fn missing(losses: &BTreeMap<String, Loss>, repaired: &Repaired) -> Vec<String> {
    let mut lines = Vec::new();
    for (table, loss) in losses {
        let groups = match loss.groups.len() {
            0 => String::new(),
            n => format!(", of {n} groups"),
        };
        if loss.rows > 0 {
            lines.push(format!("{table}: at least {} rows are missing{groups}", loss.rows));
        }
        if loss.unlisted {
            lines.push(format!("{table}: parts of it could not be read, so rows may be missing"));
        }
    }
    if repaired.identity_lost {
        lines.push("the signing key of the account is lost: it starts as a new device".to_owned());
    }
    if repaired.rebuilt > 0 {
        let groups = repaired.rebuilt;
        lines.push(format!(
            "{groups} groups lost their names and settings; their messages are there"
        ));
    }
    if repaired.unrecoverable > 0 {
        let groups = repaired.unrecoverable;
        lines.push(format!(
            "{groups} groups lost parts of their MLS state: a new invite brings them back"
        ));
    }
    if repaired.dropped > 0 {
        lines.push(format!("{} rows were dropped: what they belong to is lost", repaired.dropped));
    }
    lines
}

/// The fault of the write-ahead log.
fn of_log(log: &Log) -> Option<String> {
    match log.doubtful_frames {
        _ if log.foreign => Some(FOREIGN_LOG.to_owned()),
        _ if log.lost_frames > 0 => Some(verify::damaged_log(log)),
        0 => None,
        frames => Some(verify::of_last(frames)),
    }
}
