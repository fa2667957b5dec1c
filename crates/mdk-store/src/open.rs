//! Opening a database: which files may stand there, and the ritual that every connection goes through.

use std::{ffi::OsStr, fs::File, io::Read, path::Path, time::Duration};

use mdk_wire::Secret;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{self, OwnerLock, Place},
    key::key_pragma,
    key_source::{self, KeyState},
    migrate,
};

/// `application_id` in the header of our databases: "MDKs".
pub const APPLICATION_ID: i32 = 0x4d44_4b73;

/// Page size of SQLCipher 4.
const PAGE: u64 = 4096;

/// What a plain SQLite file begins with.
const PLAIN_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Files that SQLite keeps beside a database.
const SIDE_CARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How a database is opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How long to wait for another owner to close the database. Zero, the default, fails at once.
    pub busy_wait: Duration,
}

impl OpenOptions {
    /// The defaults with another `busy_wait`.
    #[must_use]
    pub fn with_busy_wait(mut self, wait: Duration) -> Self {
        self.busy_wait = wait;
        self
    }
}

/// An open connection, the place of its file and the lock that makes it the only one.
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    pub(crate) place: Place,
    pub(crate) lock: OwnerLock,
}

/// Opens or creates the database at `path`. A failure leaves no new file and no new directory.
pub(crate) fn open(
    path: &Path,
    key: &DatabaseKey,
    options: &OpenOptions,
) -> Result<Opened, OpenError> {
    let place = Place::of(path, FileRole::Database)?;
    let opened =
        place.secure(FileRole::Database, |name| is_ours(&place, key, name)).and_then(|()| {
            let lock = OwnerLock::take(&place, options.busy_wait)?;
            match open_locked(&place, key) {
                Ok(conn) => Ok((conn, lock)),
                Err(error) => {
                    lock.undo(&place);
                    Err(error)
                }
            }
        });
    match opened {
        Ok((conn, lock)) => Ok(Opened { conn, place, lock }),
        Err(error) => {
            place.remove_made_dirs();
            Err(error)
        }
    }
}

/// Whether a file in the directory of the database belongs to it.
fn is_ours(place: &Place, key: &DatabaseKey, name: &OsStr) -> bool {
    let key_name = match key {
        DatabaseKey::File(path) => path.file_name(),
        DatabaseKey::Raw(_) => None,
    };
    let temp = files::with_suffix(place.name(), ".tmp");
    let side_car_of = |base: &OsStr| SIDE_CARS.iter().any(|s| name == files::with_suffix(base, s));
    name == place.name()
        || name == temp
        || name == files::with_suffix(place.name(), ".lock")
        || side_car_of(place.name())
        || side_car_of(&temp)
        || key_name.is_some_and(|key| name == key || name == files::with_suffix(key, ".tmp"))
}

fn open_locked(place: &Place, source: &DatabaseKey) -> Result<Connection, OpenError> {
    let log_size = side_cars(place, place.name())?;
    let Some(found) = place.inspect_and_narrow(place.name(), FileRole::Database)? else {
        if log_size > 0 {
            return Err(OpenError::DatabaseMissingButLogPresent);
        }
        let key = create(place, source)?;
        return connect(place, place.name(), &key, false);
    };
    if found.size == 0 {
        return Err(OpenError::Empty);
    }
    if is_plain(found.file)? {
        return Err(OpenError::NotEncrypted);
    }
    // With a log beside it the end of the file may be a half-written page that the log will repair.
    if found.size % PAGE != 0 && log_size == 0 {
        return Err(OpenError::Truncated { size: found.size });
    }
    match key_source::find(source)? {
        KeyState::Present(key) => connect(place, place.name(), &key, false),
        KeyState::Absent(_) => Err(OpenError::KeyFileMissing),
    }
}

/// Checks the side-cars of `name` and narrows their modes. Returns the size of the write-ahead log.
fn side_cars(place: &Place, name: &OsStr) -> Result<u64, OpenError> {
    let mut log_size = 0;
    for suffix in SIDE_CARS {
        let found =
            place.inspect_and_narrow(&files::with_suffix(name, suffix), FileRole::Database)?;
        if let (Some(found), "-wal") = (found, suffix) {
            log_size = found.size;
        }
    }
    Ok(log_size)
}

fn is_plain(mut file: File) -> Result<bool, OpenError> {
    let mut head = Vec::with_capacity(PLAIN_HEADER.len());
    file.by_ref()
        .take(PLAIN_HEADER.len() as u64)
        .read_to_end(&mut head)
        .map_err(|e| files::io_error("reading", FileRole::Database, &e))?;
    Ok(head == PLAIN_HEADER)
}

/// First open: the whole database is made under a temporary name and renamed when it is complete and durable.
///
/// The temporary file is there before the key is, and goes when the database comes. So after a crash a key without a
/// database and without a temporary file means that the database was lost, and a key with a temporary file that it
/// never was: then the key is used, not replaced.
fn create(place: &Place, source: &DatabaseKey) -> Result<Secret<32>, OpenError> {
    let temp = files::with_suffix(place.name(), ".tmp");
    let resumed = place.inspect(&temp, FileRole::Database)?.is_some();
    let state = key_source::find(source)?;
    if let (DatabaseKey::File(_), KeyState::Present(_), false) = (source, &state, resumed) {
        return Err(OpenError::DatabaseMissingButKeyPresent);
    }
    let remove_side_cars =
        |name: &OsStr| SIDE_CARS.iter().for_each(|s| place.remove(&files::with_suffix(name, s)));
    remove_side_cars(&temp);
    // Emptied rather than replaced: at no moment may it be missing while the key is there.
    let (file, _) = place.open_or_create(&temp, FileRole::Database)?;
    let made = file
        .set_len(0)
        .map_err(|e| files::io_error("emptying", FileRole::Database, &e))
        .and_then(|()| place.sync_dir())
        .and_then(|()| key_source::obtain(state))
        .and_then(|new| {
            // SQLite's locks end when any descriptor of the file is closed, so ours goes first.
            drop(file);
            fill(place, &temp, &new.key).inspect_err(|_| new.undo())?;
            Ok(new.key.clone())
        });
    if made.is_err() {
        remove_side_cars(&temp);
        place.remove(&temp);
    }
    if made.is_ok() {
        place.sync_dir()?;
    }
    made
}

/// Makes the schema in the temporary file, makes it durable and gives it its name.
fn fill(place: &Place, temp: &OsStr, key: &Secret<32>) -> Result<(), OpenError> {
    let conn = connect(place, temp, key, true)?;
    conn.close().map_err(|(_, error)| error)?;
    let found = place.inspect(temp, FileRole::Database)?.ok_or(OpenError::Empty)?;
    found.file.sync_all().map_err(|e| files::io_error("syncing", FileRole::Database, &e))?;
    // An empty log or an index of a database that is gone must not meet the new one.
    SIDE_CARS.iter().for_each(|s| place.remove(&files::with_suffix(place.name(), s)));
    place.rename_new(temp, place.name(), FileRole::Database)
}

fn connect(
    place: &Place,
    name: &OsStr,
    key: &Secret<32>,
    fresh: bool,
) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut conn = Connection::open_with_flags(place.path(name), flags)?;
    ritual(&mut conn, Some(key), fresh)?;
    Ok(conn)
}

/// A database in memory: not encrypted, gone when dropped.
pub(crate) fn open_in_memory() -> Result<Connection, OpenError> {
    let mut conn = Connection::open_in_memory()?;
    ritual(&mut conn, None, true)?;
    Ok(conn)
}

/// What every connection goes through before it is used. `key` is `None` in memory only; `fresh` says that the
/// file was created for this call and is still empty.
fn ritual(conn: &mut Connection, key: Option<&Secret<32>>, fresh: bool) -> Result<(), OpenError> {
    // SQLCipher must neither write to stderr nor keep freed memory, from before it sees the key.
    conn.execute_batch("PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON;")?;

    // Prove that SQLCipher is linked: plain SQLite would ignore the key and write plain text.
    cipher_version(conn)?;

    if let Some(key) = key {
        // A raw key, so no key derivation; then pin the file format, whatever the library's default becomes.
        conn.execute_batch(&key_pragma(key))?;
        conn.execute_batch("PRAGMA cipher_compatibility = 4;")?;
        // Prove the key: the schema can be read only if page 1 authenticates.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(|error| {
            match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => OpenError::WrongKey,
                _ => error.into(),
            }
        })?;
        require(conn, "cipher_memory_security", "1")?;
    }

    // Prove that the file is ours.
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION_ID && !fresh {
        return Err(OpenError::ForeignDatabase { found: application });
    }

    // Nothing in the schema may run code, deleted content is overwritten, nothing spills to a temporary file.
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA cache_size = -8192;",
    )?;
    for (setting, value) in [
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("temp_store", "2"),
        ("secure_delete", "1"),
    ] {
        require(conn, setting, value)?;
    }

    // A commit is durable when it returns. Checkpoints are our own business (see store.rs).
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(128);
    // Plans must not depend on bound values: SQLite would prepare such a statement anew for every new value,
    // and every allocation of that goes through SQLCipher's page locking.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if key.is_some() {
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL;",
        )?;
        if cfg!(target_vendor = "apple") {
            conn.execute_batch("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;")?;
        }
        require(conn, "journal_mode", "wal")?;
        require(conn, "synchronous", "2")?;
    }

    migrate::migrate(conn, fresh, APPLICATION_ID)?;

    if key.is_some() {
        prime_log(conn)?;
    }
    Ok(())
}

/// The version of the linked SQLCipher.
pub(crate) fn cipher_version(conn: &Connection) -> Result<String, OpenError> {
    conn.query_row("PRAGMA cipher_version", [], |row| row.get(0))
        .map_err(|_| OpenError::CipherMissing)
}

/// Starts the write-ahead log, so that the first write does not pay for it: creating it costs a sync of its header
/// and one of the directory, which would make three with that of the commit.
fn prime_log(conn: &Connection) -> Result<(), OpenError> {
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA synchronous = NORMAL;")?;
    // Writing the version that is there already touches page 1 only.
    conn.pragma_update(None, "user_version", migrate::SUPPORTED)?;
    conn.execute_batch("PRAGMA synchronous = FULL;")?;
    Ok(())
}

/// Fails unless the setting reads back as `value`.
fn require(conn: &Connection, setting: &'static str, value: &str) -> Result<(), OpenError> {
    let found = conn.query_row(&format!("PRAGMA {setting}"), [], |row| {
        Ok(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(n) => n.to_string(),
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        })
    });
    match found {
        Ok(found) if found == value => Ok(()),
        _ => Err(OpenError::SettingRefused { setting }),
    }
}
