//! Restores a backup.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use mdk_wire::{GroupId, SecretVec};
use rusqlite::{
    Connection, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    Progress, Stage, VaultError,
    archive::{self, ArchiveError, Bounds, Cell, HEADER, Header, Keys, Record, Summary},
    backup::{REPORT_EVERY, check_passphrase, now, quoted, require_space, tables},
    look::check_keys,
    new_file::of_new,
};
use crate::{
    DatabaseKey, FileRole, GroupStatus, OpenError, StoreError, Tx,
    files::{self, Place, names},
    store::{
        create::{self, Making},
        digest, open, schema,
    },
};

/// Bytes that are written between two commits, so that the write-ahead log stays small.
const COMMIT_EVERY: u64 = 1 << 20;

/// The result of `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Groups in the database, oldest first.
    pub groups: Vec<GroupId>,
    /// Groups in which this account is a member and must renew its leaf before it sends: see
    /// [`Tx::must_update_after_restore`].
    pub must_update: Vec<GroupId>,
    /// When the backup was made, in seconds since 1970.
    pub created_at: u64,
    /// Rows brought back, of all tables.
    pub rows: u64,
}

/// Restores a backup into the new database `to`, encrypted under `key`.
///
/// Restoring is a move, not a copy: never go on with the old database after this. Both would have the same leaf in each
/// group and use the same ratchet keys. The restored database remembers that each of its leaves is to be renewed.
///
/// The whole archive is authenticated before any of it is used. The database appears at `to` complete, or not at all.
/// It has the digest of the database that was backed up ([`Store::digest`](crate::Store::digest)), apart from the row
/// `restored_at` of `meta`.
///
/// # Errors
/// [`VaultError::SourceMissing`], [`VaultError::NotABackup`], [`VaultError::BackupRefused`],
/// [`VaultError::BadPassphrase`], [`VaultError::DestinationExists`], [`VaultError::NoSpace`],
/// [`VaultError::Cancelled`], or an error of opening a new database. No new file is left.
pub fn restore(
    archive: &Path,
    to: &Path,
    passphrase: &SecretVec,
    key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<RestoreReport, VaultError> {
    check_keys(archive, [key])?;
    check_passphrase(passphrase)?;
    names::check(to, FileRole::Database)?;
    if fs::symlink_metadata(to).is_ok() {
        return Err(VaultError::DestinationExists { role: FileRole::Database });
    }
    let mut source = Source::open(archive, passphrase, progress)?;
    let found = source.check(progress)?;
    let place = Place::of(to, FileRole::Database)?;
    let restored = require_space(&place, source.room())
        .and_then(|()| new_database(&place, key, |conn| source.fill(conn, &found, progress)));
    if restored.is_err() {
        place.remove_made_dirs();
    }
    restored
}

/// Makes a database that appears when `fill` is done, and not at all when something fails.
fn new_database<T>(
    place: &Place,
    key: &DatabaseKey,
    fill: impl FnOnce(&mut Connection) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    open::secure(place, key)?;
    let lock = open::lock(place, Duration::ZERO)?;
    let mut value = None;
    let made = refuse_existing(place).and_then(|()| {
        create::create(place, &lock, key, Making::Filled, |temp, secret| {
            let mut conn = open::connect(place, temp, secret, true)?;
            value = Some(fill(&mut conn)?);
            conn.close().map_err(|(_, error)| StoreError::from(error))?;
            Ok::<_, VaultError>(())
        })
    });
    match (made, value) {
        (Ok(_), Some(value)) => Ok(value),
        (made, _) => {
            lock.undo(place);
            Err(made.err().map_or_else(|| StoreError::internal("restoring").into(), of_new))
        }
    }
}

/// Fails if the file exists, or a write-ahead log without it. Either stays.
fn refuse_existing(place: &Place) -> Result<(), VaultError> {
    let exists = |name: &OsStr| match place.inspect(name, FileRole::Database) {
        Ok(found) => Ok(found.is_some_and(|found| name == place.name() || found.size > 0)),
        Err(error @ OpenError::Io { .. }) => Err(error),
        Err(_) => Ok(true),
    };
    if exists(place.name())? {
        return Err(VaultError::DestinationExists { role: FileRole::Database });
    }
    if exists(&files::with_suffix(place.name(), "-wal"))? {
        return Err(OpenError::DatabaseMissingButLogPresent.into());
    }
    Ok(())
}

/// An archive whose header is authentic.
struct Source {
    file: files::Handle,
    length: u64,
    header: Header,
    keys: Keys,
}

/// The findings of the first pass.
struct Checked {
    created_at: u64,
    summary: Summary,
}

impl Source {
    fn open(
        path: &Path,
        passphrase: &SecretVec,
        progress: &mut Progress<'_>,
    ) -> Result<Self, VaultError> {
        let (mut file, length) = open_file(path)?;
        progress.tell(Stage::Deriving, 0, 1)?;
        let unlocked = archive::unlock(&mut *file, passphrase.expose(), &Bounds::DEFAULT);
        let (header, keys) = unlocked.map_err(refused)?;
        progress.tell(Stage::Deriving, 1, 1)?;
        Ok(Self { file, length, header, keys })
    }

    /// Bytes that the database may take: the rows, their indexes, and the log while it is written.
    fn room(&self) -> u64 {
        self.length.saturating_add(self.length / 2).saturating_add(2 * COMMIT_EVERY)
    }

    /// One pass over everything behind the header.
    fn read(
        &mut self,
        stage: Stage,
        progress: &mut Progress<'_>,
        mut sink: impl FnMut(Record<'_>, u64) -> Result<(), VaultError>,
    ) -> Result<Summary, VaultError> {
        let behind = SeekFrom::Start(HEADER as u64);
        self.file.seek(behind).map_err(|e| failed("reading", e.kind()))?;
        let mut told = 0;
        progress.tell(stage, 0, self.length)?;
        let read = archive::read(
            &self.header,
            &self.keys,
            &*self.file,
            self.length,
            |record, consumed| {
                sink(record, consumed)?;
                if consumed - told >= REPORT_EVERY {
                    told = consumed;
                    progress.tell(stage, consumed.min(self.length), self.length)?;
                }
                Ok::<_, Stop>(())
            },
        );
        let summary = read.map_err(VaultError::from)?;
        progress.tell(stage, self.length, self.length)?;
        Ok(summary)
    }

    /// The first pass: authenticates the whole archive and keeps nothing.
    fn check(&mut self, progress: &mut Progress<'_>) -> Result<Checked, VaultError> {
        let mut start = None;
        let summary = self.read(Stage::Checking, progress, |record, _| {
            if let Record::Start { schema, created_at } = record {
                start = Some((schema, created_at));
            }
            Ok(())
        })?;
        let (schema, created_at) = start.ok_or(VaultError::NotABackup)?;
        if schema == 0 {
            return Err(VaultError::NotABackup);
        }
        schema::require_known(schema)?;
        Ok(Checked { created_at, summary })
    }

    /// The second pass: fills a new database that nobody sees yet.
    fn fill(
        &mut self,
        conn: &mut Connection,
        found: &Checked,
        progress: &mut Progress<'_>,
    ) -> Result<RestoreReport, VaultError> {
        // A loss of power also loses the temporary file, so nothing has to be durable.
        sql(conn, "PRAGMA synchronous = OFF")?;
        let mut rows = Rows::new(conn)?;
        let mut committed = 0;
        sql(conn, "BEGIN")?;
        let summary = self.read(Stage::Writing, progress, |record, consumed| {
            match record {
                Record::Table { name, columns } => rows.table(name, columns)?,
                Record::Row(cells) => rows.row(cells)?,
                Record::Start { .. } | Record::End => {}
            }
            if consumed - committed >= COMMIT_EVERY {
                committed = consumed;
                sql(conn, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE); BEGIN")?;
            }
            Ok(())
        })?;
        rows.finish()?;
        sql(conn, "COMMIT")?;
        progress.tell(Stage::Comparing, 0, self.length)?;
        // A file that changed between the passes is not the one that was checked.
        if summary != found.summary || digest::digest(conn)? != summary.digest {
            return Err(VaultError::CopyDiffers);
        }
        sql(conn, "PRAGMA synchronous = FULL")?;
        let (groups, must_update) = mark_as_copy(conn)?;
        sql(conn, "PRAGMA wal_checkpoint(TRUNCATE)")?;
        let (created_at, rows) = (found.created_at, summary.rows);
        Ok(RestoreReport { groups, must_update, created_at, rows })
    }
}

/// Marks a database that continues another one. Its leaves are renewed before they are used, and its events get numbers
/// that the other has not given out. Returns all groups, and those with a leaf of this account that can be used.
pub(super) fn mark_as_copy(
    conn: &mut Connection,
) -> Result<(Vec<GroupId>, Vec<GroupId>), StoreError> {
    let (counts, states, erased) = Default::default();
    Tx::run(conn, &counts, &states, &erased, "BEGIN IMMEDIATE", true, |tx| {
        let (groups, members) = groups(tx.conn)?;
        tx.mark_restored(now(), &members)?;
        tx.skip_event_numbers()?;
        Ok((groups, members))
    })
}

/// All groups, and those with a leaf of this account that can be used.
fn groups(conn: &Connection) -> Result<(Vec<GroupId>, Vec<GroupId>), StoreError> {
    // The columns are read one by one: one row that cannot be decoded must not stop the others from coming back.
    let mut select =
        conn.prepare("SELECT group_id, status FROM groups ORDER BY created_at, group_id")?;
    let mut rows = select.query([])?;
    let (mut all, mut members) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let Ok(id) = GroupId::from_bytes(row.get_ref(0)?.as_blob().unwrap_or_default()) else {
            continue;
        };
        let status = row.get::<_, u8>(1).ok().and_then(GroupStatus::from_stored);
        let gone = matches!(
            status,
            Some(
                GroupStatus::Left
                    | GroupStatus::Removed
                    | GroupStatus::Disbanded
                    | GroupStatus::Unrecoverable
                    | GroupStatus::RunsElsewhere
            )
        );
        if !gone {
            members.push(id.clone());
        }
        all.push(id);
    }
    Ok((all, members))
}

/// Rows on their way into a database.
struct Rows<'a> {
    conn: &'a Connection,
    /// Tables of the schema that have not come yet.
    missing: Vec<String>,
    insert: String,
}

impl<'a> Rows<'a> {
    fn new(conn: &'a Connection) -> Result<Self, VaultError> {
        Ok(Self { conn, missing: tables(conn)?, insert: String::new() })
    }

    /// The next rows belong to this table. The archive has to have exactly the tables of the schema.
    fn table(&mut self, name: &str, columns: &[String]) -> Result<(), VaultError> {
        let known = self.missing.iter().position(|table| table == name);
        self.missing.remove(known.ok_or(VaultError::NotABackup)?);
        let table = quoted(name);
        let select = self.conn.prepare(&format!("SELECT * FROM {table}"));
        if !select.map_err(StoreError::from)?.column_names().eq(columns) {
            return Err(VaultError::NotABackup);
        }
        // The counters of AUTOINCREMENT are there already: rows that came before have moved them.
        sql(self.conn, &format!("DELETE FROM {table}"))?;
        let marks = vec!["?"; columns.len()].join(", ");
        self.insert = format!("INSERT INTO {table} VALUES ({marks})");
        Ok(())
    }

    fn row(&self, cells: &[Cell]) -> Result<(), VaultError> {
        let inserted = self.conn.prepare_cached(&self.insert).and_then(|mut insert| {
            cells
                .iter()
                .enumerate()
                .try_for_each(|(at, cell)| insert.raw_bind_parameter(at + 1, cell))?;
            insert.raw_execute()
        });
        inserted.map_err(StoreError::from)?;
        Ok(())
    }

    fn finish(self) -> Result<(), VaultError> {
        if self.missing.is_empty() { Ok(()) } else { Err(VaultError::NotABackup) }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn sql(conn: &Connection, statements: &str) -> Result<(), VaultError> {
    Ok(conn.execute_batch(statements).map_err(StoreError::from)?)
}

/// Opens an archive at any place. It needs no protection of its own.
fn open_file(path: &Path) -> Result<(files::Handle, u64), VaultError> {
    let not_a_file = || OpenError::NotAFile { role: FileRole::Backup }.into();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => VaultError::SourceMissing { role: FileRole::Backup },
        kind => failed("opening", kind),
    };
    // The kind is asked before opening, because opening a FIFO waits and opening a device can have effects.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_a_file());
    }
    let file = files::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(not_a_file());
    }
    Ok((file, meta.len()))
}

fn failed(action: &'static str, kind: io::ErrorKind) -> VaultError {
    VaultError::Io { action, role: FileRole::Backup, kind }
}

/// An error of reading an archive.
fn refused(error: ArchiveError) -> VaultError {
    match error {
        ArchiveError::NotABackup | ArchiveError::Malformed | ArchiveError::TooLong => {
            VaultError::NotABackup
        }
        ArchiveError::Refused => VaultError::BackupRefused,
        ArchiveError::OutOfMemory => failed("deriving the key of", io::ErrorKind::OutOfMemory),
        ArchiveError::Io(kind) => failed("reading", kind),
    }
}

/// The reason why reading stopped: the archive, or the use of its rows.
struct Stop(VaultError);

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self(refused(error))
    }
}

impl From<VaultError> for Stop {
    fn from(error: VaultError) -> Self {
        Self(error)
    }
}

impl From<Stop> for VaultError {
    fn from(stop: Stop) -> Self {
        stop.0
    }
}
