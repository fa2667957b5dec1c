//! Writing a backup.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use mdk_wire::SecretVec;
use rusqlite::{Connection, types::ValueRef};

use super::{
    Progress, Stage, VaultError,
    archive::{ArchiveError, CHUNK_BITS, Cost, Encoder, Header, MAGIC, MAX_PASSPHRASE, Sealer},
    look::Source,
    scratch::Scratch,
};
use crate::{
    DatabaseKey, FileRole, OpenError, OpenOptions, Store, StoreError,
    files::{self, Place, names},
    keys::location::{self, check_new_passphrase},
    recovery::existing_key,
    store::{digest, schema},
};

/// Bytes of a page, in memory too.
const PAGE: u64 = 4096;

/// Bytes between two reports of progress.
pub(super) const REPORT_EVERY: u64 = 256 << 10;

/// Hex digits that tell a temporary name from any name that a user would choose.
const RANDOM: usize = 16;
/// The longest suffix that a temporary name adds to the name of the archive.
const LONGEST: &str = ".0123456789abcdef.tmp";

/// The result of `backup`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// Bytes of the archive.
    pub bytes: u64,
    /// Rows in it, of all tables.
    pub rows: u64,
}

impl Store {
    /// Writes an encrypted backup into the new file `to`, with mode 0600. Restoring it is a move, not a copy: see
    /// [`restore`](fn@crate::restore).
    ///
    /// The archive holds every row as of now, encrypted and authenticated under a key. Argon2id (64 MiB, 3 passes)
    /// makes that key from the passphrase: 8 characters or more, 1,024 bytes at most. There is no unencrypted form. The size of the archive
    /// tells roughly how much the database holds. A crash leaves at most one temporary file. Its name is that of the
    /// archive with `.`, 16 hex digits and `.tmp` behind it. It is encrypted as well, and the next backup to that name
    /// removes it.
    ///
    /// # Errors
    /// [`VaultError::BadPassphrase`], [`OpenError::ShortPassphrase`], [`VaultError::DestinationExists`],
    /// [`VaultError::NoSpace`], [`VaultError::Cancelled`], [`VaultError::Damaged`] when a row cannot be read, or an error of the system. The
    /// database is not changed, and no new file is left.
    pub fn backup(
        &mut self,
        to: &Path,
        passphrase: &SecretVec,
        progress: &mut Progress<'_>,
    ) -> Result<BackupReport, VaultError> {
        check_passphrase(passphrase)?;
        check_new_passphrase(passphrase)?;
        // A file called `NAME-journal` would be taken for a part of the database.
        names::check(to, FileRole::Backup)?;
        let place = Place::of(to, FileRole::Backup)?;
        let made = write_new(self, &place, passphrase, progress);
        if made.is_err() {
            place.remove_made_dirs();
        }
        made
    }
}

/// Fails unless the passphrase has a possible length.
pub(super) fn check_passphrase(passphrase: &SecretVec) -> Result<(), VaultError> {
    let length = passphrase.expose().len();
    if (1..=MAX_PASSPHRASE).contains(&length) {
        return Ok(());
    }
    Err(VaultError::BadPassphrase { length, limit: MAX_PASSPHRASE })
}

/// Writes the archive under a temporary name and gives it its name when it is whole and durable.
fn write_new(
    store: &mut Store,
    place: &Place,
    passphrase: &SecretVec,
    progress: &mut Progress<'_>,
) -> Result<BackupReport, VaultError> {
    refuse_existing(place)?;
    let needed = store.read(|tx| content_size(tx.conn))?;
    require_space(place, needed)?;
    names::fits(place.name(), LONGEST, FileRole::Backup)?;
    remove_leftovers(place);
    let temp = files::with_suffix(place.name(), &format!(".{}.tmp", random()?));
    let file = place.create_new(&temp, FileRole::Backup)?;
    // The lock shows others that the file is no leftover. Some file systems have no locks. There, two backups to one
    // name at once are the caller's mistake.
    let _ = file.try_lock();
    let mut name = temp.as_os_str();
    let made = write(store, &file, passphrase, needed, progress).and_then(|report| {
        file.sync_all().map_err(|e| failed("syncing", e.kind()))?;
        place.rename_new(&temp, place.name(), FileRole::Backup).map_err(existing)?;
        name = place.name();
        place.sync_dir()?;
        Ok(report)
    });
    if made.is_err() {
        place.remove(name);
    }
    made
}

/// Fails when fewer bytes than `needed` are free.
pub(super) fn require_space(place: &Place, needed: u64) -> Result<(), VaultError> {
    let available = place.free_bytes()?;
    if available < needed {
        return Err(VaultError::NoSpace { directory: place.directory(), needed, available });
    }
    Ok(())
}

/// Fails if a file exists at the destination. That file stays.
fn refuse_existing(place: &Place) -> Result<(), VaultError> {
    match place.inspect(place.name(), FileRole::Backup) {
        Ok(None) => Ok(()),
        Err(error @ OpenError::Io { .. }) => Err(error.into()),
        Ok(Some(_)) | Err(_) => Err(VaultError::DestinationExists { role: FileRole::Backup }),
    }
}

fn existing(error: OpenError) -> VaultError {
    match error {
        OpenError::Io { kind: io::ErrorKind::AlreadyExists, role, .. } => {
            VaultError::DestinationExists { role }
        }
        error => error.into(),
    }
}

fn random() -> Result<String, VaultError> {
    let mut bytes = [0; RANDOM / 2];
    getrandom::fill(&mut bytes)
        .map_err(|_| failed("getting random bytes for", io::ErrorKind::Other))?;
    Ok(hex::encode(bytes))
}

/// Removes what crashes have left of backups to this name. A file that cannot be removed now stays for the next backup.
fn remove_leftovers(place: &Place) {
    let Ok(entries) = fs::read_dir(place.path(OsStr::new(""))) else { return };
    for name in entries.flatten().map(|entry| entry.file_name()) {
        if is_temporary(place.name(), &name) && is_left(place, &name) {
            place.remove(&name);
        }
    }
}

/// Whether `name` is a temporary name of a backup to `own`.
fn is_temporary(own: &OsStr, name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .strip_prefix(own.as_encoded_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"))
        .is_some_and(|id| id.len() == RANDOM && id.iter().all(u8::is_ascii_hexdigit))
}

/// Whether nobody is writing the file, and it holds the beginning of an archive, or zeros. After a loss of power a file
/// may have its length and not its bytes.
fn is_left(place: &Place, name: &OsStr) -> bool {
    let Ok(Some(found)) = place.inspect(name, FileRole::Backup) else { return false };
    let mut head = Vec::with_capacity(MAGIC.len());
    let read = (&*found.file).take(MAGIC.len() as u64).read_to_end(&mut head);
    read.is_ok()
        && (MAGIC.starts_with(&head) || head.iter().all(|byte| *byte == 0))
        && !matches!(found.file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Bytes of the pages in use. The rows take less in an archive, which has no indexes.
fn content_size(conn: &Connection) -> Result<u64, StoreError> {
    let pragma = |name: &str| -> Result<u64, StoreError> {
        let value: i64 = conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(PAGE))
}

fn write(
    store: &mut Store,
    file: &File,
    passphrase: &SecretVec,
    total: u64,
    progress: &mut Progress<'_>,
) -> Result<BackupReport, VaultError> {
    progress.tell(Stage::Deriving, 0, 1)?;
    let mut random = [0; 51];
    getrandom::fill(&mut random)
        .map_err(|_| failed("getting random bytes for", io::ErrorKind::Other))?;
    let (header, keys) =
        Header::new(Cost::DEFAULT, CHUNK_BITS, &random, passphrase.expose()).map_err(written)?;
    progress.tell(Stage::Deriving, 1, 1)?;
    let created_at = now();
    let done = store.read(|tx| {
        let sealer = Sealer::new(&header, &keys, file).map_err(written)?;
        let encoder = Encoder::new(sealer, schema::SUPPORTED, created_at).map_err(written)?;
        encode(tx.conn, encoder, total, progress)
    });
    done.map_err(|error| match error {
        VaultError::Store(StoreError::Corrupt) => VaultError::Damaged,
        error => error,
    })
}

/// Writes all rows of one consistent state.
pub(super) fn encode<W: io::Write>(
    conn: &Connection,
    mut encoder: Encoder<W>,
    total: u64,
    progress: &mut Progress<'_>,
) -> Result<BackupReport, VaultError> {
    let mut rows_done = 0;
    let mut told = 0;
    progress.tell(Stage::Writing, 0, total)?;
    for table in tables(conn)? {
        let mut select =
            conn.prepare(&format!("SELECT * FROM {}", quoted(&table))).map_err(StoreError::from)?;
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        encoder.table(&table, &columns).map_err(written)?;
        let mut rows = select.query([]).map_err(StoreError::from)?;
        while let Some(row) = rows.next().map_err(StoreError::from)? {
            encoder.row().map_err(written)?;
            for column in 0..columns.len() {
                match row.get_ref(column).map_err(StoreError::from)? {
                    ValueRef::Null => encoder.null(),
                    ValueRef::Integer(number) => encoder.integer(number),
                    ValueRef::Real(number) => encoder.real(number),
                    ValueRef::Text(text) => encoder.text_cell(text),
                    ValueRef::Blob(bytes) => encoder.blob(bytes),
                }
                .map_err(written)?;
            }
            rows_done += 1;
            if encoder.written() - told >= REPORT_EVERY {
                told = encoder.written();
                progress.tell(Stage::Writing, told.min(total), total)?;
            }
        }
    }
    progress.tell(Stage::Comparing, 0, total)?;
    let digest = digest::digest(conn)?;
    let (_, bytes) = encoder.finish(&digest).map_err(written)?;
    progress.tell(Stage::Writing, total, total)?;
    Ok(BackupReport { bytes, rows: rows_done })
}

/// Writes an encrypted backup of a database that nobody has open, as [`Store::backup`] does. It may lie on a file
/// system that is read-only or full.
///
/// # Errors
/// As [`Store::open`] and [`Store::backup`]; [`VaultError::SourceMissing`].
pub fn backup(
    path: &Path,
    key: &DatabaseKey,
    to: &Path,
    passphrase: &SecretVec,
    progress: &mut Progress<'_>,
) -> Result<BackupReport, VaultError> {
    let missing = VaultError::SourceMissing { role: FileRole::Database };
    // A link that leads nowhere exists, and is refused as a link.
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        // Opening would create the file.
        return Err(missing);
    }
    location::check_open(key)?;
    let write = |mut store: Store, progress: &mut Progress<'_>| {
        let report = store.backup(to, passphrase, progress)?;
        store.close()?;
        Ok(report)
    };
    if !Place::of(path, FileRole::Database)?.is_read_only() {
        match Store::open(path, key, &OpenOptions::default()) {
            Ok(store) => return write(store, progress),
            // Opening takes some room. A descriptor has given its key by now, and gives it only once.
            Err(error) if is_full(&error) && !matches!(key, DatabaseKey::Fd(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let source = Source::take_to_read(path)?;
    if source.is_plain()? {
        return Err(OpenError::NotEncrypted.into());
    }
    source.require_first_page()?;
    let secret = existing_key(&source.place, key)?;
    let copy = Scratch::of(&source.place)?;
    let path = copy.place.path(copy.place.name());
    let key = DatabaseKey::Raw(secret);
    write(Store::open(&path, &key, &OpenOptions::default())?, progress)
}

fn is_full(error: &OpenError) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    match error {
        OpenError::Store(error) => *error == StoreError::DiskFull,
        OpenError::Io { kind, .. } => matches!(kind, StorageFull | QuotaExceeded),
        _ => false,
    }
}

/// The tables whose rows are kept, in the order of their names: our tables, and the counters of AUTOINCREMENT. A number
/// that was given to the application must not come back.
pub(super) fn tables(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut tables = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table'
         AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name",
    )?;
    let names = tables.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// A name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Seconds since 1970; 0 before.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn failed(action: &'static str, kind: io::ErrorKind) -> VaultError {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull.into(),
        kind => VaultError::Io { action, role: FileRole::Backup, kind },
    }
}

/// An error of writing an archive.
fn written(error: ArchiveError) -> VaultError {
    match error {
        ArchiveError::Io(kind) => failed("writing", kind),
        ArchiveError::OutOfMemory => failed("deriving the key of", io::ErrorKind::OutOfMemory),
        ArchiveError::TooLong => StoreError::Invalid { what: "more than a backup can hold" }.into(),
        ArchiveError::NotABackup | ArchiveError::Refused | ArchiveError::Malformed => {
            StoreError::internal("writing a backup").into()
        }
    }
}
