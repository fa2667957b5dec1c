//! Encrypts a plain database in place or as a copy, and copies an encrypted one under another key.

mod plain;

use std::{ffi::OsStr, fs::File, io, path::Path};

use mdk_wire::Secret;

use self::plain::{damage, read_plain, settle_plain, twice, writable};

use super::{
    Progress, Stage, VaultError, VerifyReport,
    error::io as io_error,
    look::{self, Source},
    new_file::{new_file, of_new, require_space},
    restore::mark_as_copy,
    rows::{self, TableSum},
    verify,
};
use crate::files::names::{self, SIDE_CARS};
use crate::store::connect;
use crate::{
    DatabaseKey, FileRole, OpenError, StoreError,
    files::{self, Place},
    recovery::{
        existing_key, plain_copy,
        state::{FileState, Intent, LogState, Seen},
        what_to_do::{Next, Refusal, before_keys},
    },
    sqlcipher::{
        Log, PAGE, ReadOnly, bad_pages, configure, connection::Conn, export, key_fits,
        open_read_only, raw_key,
    },
    store::{create, open},
};

/// The result of `encrypt_existing`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EncryptReport {
    /// Tables compared.
    pub tables: u64,
    /// Rows compared.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Encrypts a plain database of ours in place (`to` is `None`) or into a new file. With `from`, the key of an encrypted
/// database, it copies that database to a new file under another key. The copy continues the original as a restored
/// backup does. Only one of the two may be used.
///
/// The content of the write-ahead log is included. Every row of the copy is compared with its source before anything is
/// replaced. In place, the plain file and its log are then overwritten and removed. Old blocks can survive that on
/// flash, and on file systems that write changed blocks elsewhere (btrfs, zfs). Files that SQLite itself freed before,
/// such as a rollback journal, are out of reach.
///
/// The call can be killed at any point: the plain database or the encrypted one is there, whole. A second call with the
/// same key goes on. A call that was killed between putting the encrypted file in place and overwriting the plain one
/// leaves the plain file as `NAME.encrypt`, for its owner alone. The next call, or the next opening, overwrites it, and
/// [`verify`](super::verify) says that it is there. A file of that name that was there before is never touched:
/// `NameTaken` inside [`VaultError::Open`] says so.
///
/// # Errors
/// [`VaultError::AlreadyEncrypted`], or `NotEncrypted` inside [`VaultError::Open`] if `from` is given for a plain one;
/// [`VaultError::DestinationExists`], [`VaultError::NoSpace`], [`VaultError::Damaged`], [`VaultError::CopyDiffers`],
/// [`VaultError::Cancelled`]; and the errors of opening, reading and writing.
pub fn encrypt_existing(
    source: &Path,
    from: Option<&DatabaseKey>,
    to: Option<&Path>,
    key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    look::check_keys(source, from.into_iter().chain([key]))?;
    let source = Source::take(source)?;
    let plain = source.is_plain()?;
    if !plain {
        source.require_first_page()?;
    }
    let done = match (from, to) {
        (None, None) => {
            let file = if plain { FileState::Plain } else { FileState::Whole };
            let metadata = open::metadata(&source.place)?;
            // Opening it looks at its log.
            let seen = Seen { file, log: LogState::Missing, metadata };
            match before_keys(seen, Intent::EncryptInPlace) {
                Ok(Next::Finish) => finish(&source, key, progress),
                Ok(Next::Export | Next::Make | Next::Connect) => in_place(&source, key, progress),
                Err(Refusal::MetadataUnreadable) => Err(OpenError::KeyRecordMalformed.into()),
                Err(_) => Err(VaultError::AlreadyEncrypted),
            }
        }
        (None, Some(_)) if !plain => Err(VaultError::AlreadyEncrypted),
        (Some(_), _) if plain => Err(OpenError::NotEncrypted.into()),
        (Some(_), None) => Err(VaultError::AlreadyEncrypted),
        (None, Some(to)) => {
            let conn = read_plain(&source)?;
            new_file(to, key, source.size, |place, temp, secret| {
                copy(conn, source.size, place, temp, secret, progress)
            })
        }
        (Some(from), Some(to)) => {
            let old = existing_key(&source.place, from)?;
            let from = source.place.twin();
            settle_encrypted(source, &old)
                .and_then(|source| {
                    new_file(to, key, source.size, |place, temp, new| {
                        copy_encrypted(&source, &old, place, temp, new, progress)
                    })
                })
                .map_err(|error| look::judged(&from, &old, error))
        }
    };
    // SQLite notices some damage by itself, before rows are compared.
    done.map_err(|error| match error {
        VaultError::Store(StoreError::Corrupt) => VaultError::Damaged,
        error => error,
    })
}

fn in_place(
    source: &Source,
    key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    let place = &source.place;
    let temp = plain_copy::name(place);
    open::secure(place, key)?;
    names::refuse_foreign_beside(place)?;
    plain_copy::clear(place)?;
    let conn = settle_plain(source)?;
    require_space(place, source.size)?;
    let prepared = create::prepare(place, key, create::Making::Encrypted)?;
    let give_up = || {
        prepared.undo(place);
        if plain_copy::forget(place).is_err() {
            tracing::warn!("the record of an encryption that failed could not be taken back");
        }
    };
    match place.create_new(&temp, FileRole::Database) {
        // SQLite's locks end when any descriptor of the file is closed, so ours goes first.
        Ok(file) => drop(file),
        Err(error) => {
            give_up();
            return Err(error.into());
        }
    }
    let built = copy(conn, source.size, place, &temp, &prepared.key, progress).and_then(|report| {
        make_durable(place, &temp)?;
        source.require_owner()?;
        // A plain log must never stand beside the encrypted file. The plain file holds all of it by now.
        for suffix in SIDE_CARS {
            place.wipe(&files::with_suffix(place.name(), suffix), FileRole::Database)?;
        }
        place.sync_dir()?;
        Ok(report)
    });
    let report = match built {
        Ok(report) => report,
        Err(error) => {
            // The temporary file and the key may belong to another call that has the lock now.
            source.require_owner()?;
            remove(place, &temp);
            give_up();
            // The source was found sound before.
            return Err(of_new(error));
        }
    };
    if let Err(error) = swap(source, &temp) {
        // Nothing is taken back once the encrypted database has the name: the other file is then the plain one, and the
        // key is needed. The next opening finishes the work.
        if place.is_same(place.name(), &source.file) && source.require_owner().is_ok() {
            remove(place, &temp);
            give_up();
        }
        return Err(error);
    }
    prepared.encrypted(place)?;
    let _ = progress.tell(Stage::Wiping, 0, source.size);
    place.wipe(&temp, FileRole::Database)?;
    place.sync_dir()?;
    if prepared.ready(place).is_err() {
        tracing::warn!("the record of an encryption that is done could not be completed");
    }
    let _ = progress.tell(Stage::Wiping, source.size, source.size);
    Ok(report)
}

/// Finishes an earlier call that was interrupted after the encrypted file got its name. Its leftovers are overwritten
/// after the key has shown that every page and every table of the encrypted file can be read.
fn finish(
    source: &Source,
    key: &DatabaseKey,
    progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    let place = &source.place;
    if source.is_copy() || place.is_read_only() {
        return Err(StoreError::ReadOnly.into());
    }
    plain_copy::require_ours(place)?;
    let lock = source.owner()?;
    let conn = open::open_again(place, lock, key)?;
    let mut found = VerifyReport::default();
    let bad = verify::bad_pages(&conn, Some(place), &mut found, progress)?;
    if !bad.is_empty() || !found.structure.is_empty() {
        return Err(VaultError::Damaged);
    }
    let bytes = found.pages * PAGE as u64;
    let sums = rows::sums(&conn, bytes, progress)?;
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    source.require_owner()?;
    let _ = progress.tell(Stage::Wiping, 0, bytes);
    plain_copy::recover(place)?;
    let _ = progress.tell(Stage::Wiping, bytes, bytes);
    Ok(report_of(&sums, bytes))
}

fn report_of(sums: &[TableSum], bytes: u64) -> EncryptReport {
    let rows = sums.iter().map(|sum| sum.rows).sum();
    EncryptReport { tables: sums.len() as u64, rows, bytes }
}

/// Gives the encrypted file the name of the plain one. The plain file then has the temporary name, or is already
/// overwritten and has none.
fn swap(source: &Source, temp: &OsStr) -> Result<(), VaultError> {
    let place = &source.place;
    if !place.is_same(place.name(), &source.file) {
        return Err(OpenError::PathChanged { role: FileRole::Database }.into());
    }
    source.require_owner()?;
    // A kill leaves the file under the temporary name as it is, so its mode may be no wider than that of the encrypted
    // one.
    place.inspect_and_narrow(place.name(), FileRole::Database)?;
    if place.exchange(temp, place.name(), FileRole::Database)? {
        place.sync_dir()?;
        return Ok(());
    }
    // Without an exchange the plain file loses its name at once. It is overwritten through a descriptor.
    let (plain, _) = place.open_or_create(place.name(), FileRole::Database)?;
    place.replace(temp, place.name(), FileRole::Database)?;
    place.sync_dir()?;
    overwrite(&plain, source.size).map_err(|e| io_error("overwriting", &e))
}

fn overwrite(mut file: &File, size: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(0))?;
    let zeros = vec![0u8; 1 << 16];
    let mut left = size;
    while left > 0 {
        let part = left.min(zeros.len() as u64) as usize;
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    file.sync_all()
}

fn remove(place: &Place, temp: &OsStr) {
    SIDE_CARS.iter().for_each(|s| place.remove(&files::with_suffix(temp, s)));
    place.remove(temp);
}

/// Moves the log of an encrypted database into its file.
fn settle_encrypted(mut source: Source, key: &Secret<32>) -> Result<Source, VaultError> {
    let log = Log::read(source.log_file.take().as_ref(), &source.file)?;
    if log.is_damaged() {
        return Err(VaultError::Damaged);
    }
    if !log.pages.is_empty() {
        twice(&source, || move_log(&source, key))?;
        source.refresh()?;
    }
    Ok(source)
}

fn move_log(source: &Source, key: &Secret<32>) -> Result<(), VaultError> {
    let conn = writable(&source.place)?;
    raw_key::give_key(&conn, key)?;
    conn.execute_batch("PRAGMA cipher_compatibility = 4").map_err(OpenError::from)?;
    let schema = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    let schema = schema.map_err(|error| damage(error.into()));
    if schema == Err(VaultError::Damaged) {
        require_key(source, key)?;
    }
    schema?;
    let busy = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(|error| damage(error.into()))?;
    if busy != 0 {
        return Err(StoreError::Busy.into());
    }
    // The log is kept until here: content that has not been moved must not be removed.
    configure::keep_log(&conn, false)?;
    Ok(conn.close().map_err(|(_, error)| StoreError::from(error))?)
}

/// Fails unless page 1 belongs to this key.
fn require_key(source: &Source, key: &Secret<32>) -> Result<(), VaultError> {
    match key_fits(&source.place, source.place.name(), key)? {
        true => Ok(()),
        false => Err(OpenError::WrongKey.into()),
    }
}

/// Writes all of the encrypted source into the empty file `temp`, encrypted under another key, and compares the rows.
fn copy_encrypted(
    source: &Source,
    old: &Secret<32>,
    place: &Place,
    temp: &OsStr,
    new: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    if old == new {
        return Err(VaultError::SameKey);
    }
    require_key(source, old)?;
    let name = source.place.name();
    let conn = open_read_only(&ReadOnly::keyed(&source.place, name, old))
        .and_then(|conn| verify::identity(&conn).map(|()| conn))
        .map_err(|error| look::doubted(&source.place, old, error))?;
    let report = copy(conn, source.size, place, temp, new, progress).map_err(|error| {
        // SQLite means the source when it says damaged. The source may only have been unreadable for a moment.
        match error {
            VaultError::Store(StoreError::Corrupt) => {
                look::doubted(&source.place, old, StoreError::Corrupt.into())
            }
            error => error,
        }
    })?;
    // The copy was read through just before. A copy that does not open now could not be read.
    let mut copy = open::connect(place, temp, new, false).map_err(open::of_new)?;
    mark_as_copy(&mut copy)?;
    copy.close().map_err(|(_, error)| StoreError::from(error))?;
    Ok(report)
}

/// Writes all rows of `from` into the empty file `temp`, encrypted, and proves the copy: every page of it is authentic,
/// and its rows are those of the source.
fn copy(
    from: Conn,
    size: u64,
    place: &Place,
    temp: &OsStr,
    key: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<EncryptReport, VaultError> {
    // A database of ours has our tables, and no triggers or views.
    if rows::schema(&from)? != rows::schema(&*connect::in_memory()?)? {
        return Err(VaultError::CopyDiffers);
    }
    let from =
        export(from, place, temp, key, |done| progress.tell(Stage::Writing, done.min(size), size))?;
    let sums = rows::sums(&from, size, progress)?;
    let bytes = place.inspect(temp, FileRole::Database)?.ok_or(VaultError::CopyDiffers)?.size;
    let copy = open_read_only(&ReadOnly::keyed(place, temp, key))?;
    // Every page was written a moment ago. SQLCipher takes a page that it cannot read for one that is not authentic.
    let read = rows::sums(&copy, bytes, progress).map_err(of_new)?;
    progress.tell(Stage::Checking, 0, bytes)?;
    if read != sums || !bad_pages(&copy)?.is_empty() {
        return Err(VaultError::CopyDiffers);
    }
    progress.tell(Stage::Checking, bytes, bytes)?;
    Ok(report_of(&sums, bytes))
}

fn make_durable(place: &Place, temp: &OsStr) -> Result<(), VaultError> {
    let found = place.inspect(temp, FileRole::Database)?.ok_or(VaultError::CopyDiffers)?;
    found.file.sync_all().map_err(|e| io_error("syncing", &e))?;
    SIDE_CARS.iter().for_each(|s| place.remove(&files::with_suffix(temp, s)));
    Ok(place.sync_dir()?)
}
