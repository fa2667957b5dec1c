//! The write-ahead log's file: what one transaction adds to it is written at once.
//!
//! SQLite writes the log in two calls a page, its frame's header and the page; a commit of ten pages is twenty system
//! calls one behind the other. This wraps the system's own VFS (<https://sqlite.org/vfs.html>) for the log alone: frames
//! are collected, and written when the last of a transaction, that with the size of the database in its header
//! (<https://sqlite.org/walformat.html>, "The WAL File Format"), is complete. So what SQLite calls committed is in the
//! file as before, and a write that fails fails the commit. Pages are encrypted when they come here.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::OnceLock,
};

use rusqlite::ffi::{
    self, SQLITE_IOERR, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};

use crate::{OpenError, undumped};

const NAME: &CStr = c"mdk-log";
/// Bytes of the header of a frame.
const HEADER: usize = 24;
/// Most bytes that are collected: a large transaction is written in pieces. Below 128 KiB, which is where the system's VFS
/// of SQLite begins to divide a write, and takes a remainder of just that for a full disk.
const MOST: usize = 64 * 1024;

thread_local! {
    /// The system could not read a log, in this thread: see [`take_unread`].
    static UNREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether a log could not be read since this was last asked, in this thread. SQLCipher decrypts what was not read all the
/// same, and reports a page that does not authenticate: damage where the disk failed.
pub(crate) fn take_unread() -> bool {
    UNREAD.take()
}

/// An open log. The system's file lies behind it in the same memory.
#[repr(C)]
struct Log {
    /// SQLite's part: must be the first.
    head: sqlite3_file,
    inner: *mut sqlite3_file,
    /// Neighbouring writes that the file does not have yet, the first at `start`.
    pending: Vec<u8>,
    start: sqlite3_int64,
    /// The last write was a header: whether its frame ends a transaction.
    header: Option<bool>,
}

/// The VFS for connections that write. It is the default one but for the log.
pub(crate) fn vfs() -> Result<&'static CStr, OpenError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    if *REGISTERED.get_or_init(register) {
        Ok(NAME)
    } else {
        Err(OpenError::SettingRefused { setting: "vfs" })
    }
}

fn register() -> bool {
    undumped::begin();
    // SAFETY: the default VFS lives as long as the process; a copy of it works as it does, since its functions take what
    // they need from the struct they are called with. Ours is leaked, because SQLite keeps it.
    unsafe {
        let Some(system) = ffi::sqlite3_vfs_find(ptr::null()).as_mut() else { return false };
        let mut ours = *system;
        ours.zName = NAME.as_ptr();
        ours.pNext = ptr::null_mut();
        ours.szOsFile += size_of::<Log>() as c_int;
        ours.xOpen = Some(open);
        ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) == SQLITE_OK
    }
}

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's contract of xOpen: `file` has `szOsFile` bytes, aligned for any of its structures, which is a Log
    // and the system's file. A failed open leaves no methods, unless the system left some, to be closed with.
    unsafe {
        let system = ffi::sqlite3_vfs_find(ptr::null());
        let Some(open) = system.as_ref().and_then(|vfs| vfs.xOpen) else { return SQLITE_IOERR };
        if flags & ffi::SQLITE_OPEN_WAL == 0 {
            return open(system, name, file, flags, out);
        }
        (*file).pMethods = ptr::null();
        let inner = file.byte_add(size_of::<Log>());
        (*inner).pMethods = ptr::null();
        let code = open(system, name, inner, flags, out);
        if code != SQLITE_OK {
            if let Some(close) = (*inner).pMethods.as_ref().and_then(|methods| methods.xClose) {
                close(inner);
            }
            return code;
        }
        let log = Log {
            head: sqlite3_file { pMethods: &raw const METHODS },
            inner,
            pending: Vec::new(),
            start: 0,
            header: None,
        };
        file.cast::<Log>().write(log);
        SQLITE_OK
    }
}

impl Log {
    /// Gives the file what it does not have yet. When that fails it is forgotten: the transaction fails.
    fn flush(&mut self) -> c_int {
        self.header = None;
        if self.pending.is_empty() {
            return SQLITE_OK;
        }
        let code = self.give(&self.pending, self.start);
        self.pending.clear();
        code
    }

    /// Writes into the system's file.
    fn give(&self, data: &[u8], at: sqlite3_int64) -> c_int {
        // SAFETY: the system's file is open as long as this one; the block has as many bytes as are written.
        match unsafe { (*(*self.inner).pMethods).xWrite } {
            Some(write) => unsafe {
                write(self.inner, data.as_ptr().cast(), data.len() as c_int, at)
            },
            None => SQLITE_IOERR,
        }
    }

    fn write(&mut self, data: &[u8], at: sqlite3_int64) -> c_int {
        // No frame, but the room that a log is given when it is opened: to collect it would only keep its memory.
        if data.len() > MOST {
            let code = self.flush();
            if code != SQLITE_OK {
                return code;
            }
            let mut at = at;
            for piece in data.chunks(MOST) {
                let code = self.give(piece, at);
                if code != SQLITE_OK {
                    return code;
                }
                at += piece.len() as sqlite3_int64;
            }
            return SQLITE_OK;
        }
        let follows = self.start + self.pending.len() as sqlite3_int64 == at;
        if !self.pending.is_empty() && (!follows || self.pending.len() + data.len() > MOST) {
            let header = self.header;
            let code = self.flush();
            if code != SQLITE_OK {
                return code;
            }
            self.header = header.filter(|_| follows);
        }
        if self.pending.is_empty() {
            self.start = at;
        }
        self.pending.extend_from_slice(data);
        if data.len() == HEADER {
            self.header = Some(data[4..8] != [0; 4]);
            return SQLITE_OK;
        }
        match self.header.take() {
            // A page of a transaction that goes on.
            Some(false) => SQLITE_OK,
            _ => self.flush(),
        }
    }
}

/// Calls a method of the system's file after everything that was collected is in it.
macro_rules! forward {
    ($name:ident => $method:ident ( $($argument:ident : $type:ty),* )) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $type)*) -> c_int {
            // SAFETY: SQLite calls this with a file that `open` made, from one thread at a time, and with arguments
            // that are good for the system's method.
            unsafe {
                let log = &mut *file.cast::<Log>();
                let code = log.flush();
                if code != SQLITE_OK {
                    return code;
                }
                match (*(*log.inner).pMethods).$method {
                    Some(method) => method(log.inner $(, $argument)*),
                    None => SQLITE_IOERR,
                }
            }
        }
    };
}

forward!(read_through => xRead(to: *mut c_void, length: c_int, at: sqlite3_int64));
forward!(truncate => xTruncate(size: sqlite3_int64));
forward!(sync => xSync(flags: c_int));
forward!(file_size => xFileSize(size: *mut sqlite3_int64));
forward!(lock => xLock(level: c_int));
forward!(unlock => xUnlock(level: c_int));
forward!(check_reserved_lock => xCheckReservedLock(out: *mut c_int));
forward!(file_control => xFileControl(which: c_int, argument: *mut c_void));

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as in `forward`; SQLite does not use the file after this.
    unsafe {
        let log = file.cast::<Log>();
        let (flushed, inner) = ((*log).flush(), (*log).inner);
        ptr::drop_in_place(&raw mut (*log).pending);
        (*file).pMethods = ptr::null();
        let closed = match (*(*inner).pMethods).xClose {
            Some(close) => close(inner),
            None => SQLITE_IOERR,
        };
        if flushed == SQLITE_OK { closed } else { flushed }
    }
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    to: *mut c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: as in `forward`.
    let code = unsafe { read_through(file, to, length, at) };
    // SQLite knows what to do at the end of a log.
    if code != SQLITE_OK && code != ffi::SQLITE_IOERR_SHORT_READ {
        UNREAD.set(true);
    }
    code
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    data: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    let Ok(length) = usize::try_from(length) else { return SQLITE_IOERR };
    // SAFETY: as in `forward`; the block has as many bytes as SQLite says.
    unsafe {
        let data = std::slice::from_raw_parts(data.cast::<u8>(), length);
        (*file.cast::<Log>()).write(data, at)
    }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as in `forward`.
    unsafe {
        let inner = (*file.cast::<Log>()).inner;
        (*(*inner).pMethods).xSectorSize.map_or(4096, |method| method(inner))
    }
}

unsafe extern "C" fn characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as in `forward`.
    unsafe {
        let inner = (*file.cast::<Log>()).inner;
        (*(*inner).pMethods).xDeviceCharacteristics.map_or(0, |method| method(inner))
    }
}

/// Version 1: a log has neither shared memory nor mapped pages of its own.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rusqlite::{Connection, OpenFlags};

    use super::*;

    fn open_both(dir: &std::path::Path) -> (Connection, Connection) {
        let path = dir.join("db");
        let writer =
            Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), vfs().unwrap());
        let writer = writer.unwrap();
        writer
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a INTEGER, b BLOB)")
            .unwrap();
        (writer, Connection::open(&path).unwrap())
    }

    /// Another connection, through the system's VFS, sees what is committed, however little is synced.
    #[test]
    fn what_is_committed_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, reader) = open_both(dir.path());
        let count = |conn: &Connection| -> (i64, i64) {
            conn.query_row("SELECT count(*), coalesce(sum(length(b)), 0) FROM t", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap()
        };
        let mut rows = 0;
        for synchronous in ["FULL", "NORMAL", "OFF"] {
            writer.execute_batch(&format!("PRAGMA synchronous = {synchronous}")).unwrap();
            for size in [1, 9_000, 2_000_000] {
                writer.execute("INSERT INTO t VALUES (?1, zeroblob(?1))", [size]).unwrap();
                rows += 1;
                assert_eq!(count(&writer), count(&reader));
                assert_eq!(count(&reader).0, rows);
            }
            writer.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
            assert_eq!(count(&writer), count(&reader));
        }
        let check = |conn: &Connection| -> String {
            conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
        };
        assert_eq!((check(&writer), check(&reader)), ("ok".into(), "ok".into()));
    }

    /// The room that a log is given at first costs no memory afterwards, and what was collected before it is not lost.
    #[test]
    fn a_large_write_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _reader) = open_both(dir.path());
        let mut file: *mut sqlite3_file = ptr::null_mut();
        // SAFETY: the connection is open, and its log is a file that this VFS opened: it is in WAL mode.
        let log = unsafe {
            let code = ffi::sqlite3_file_control(
                writer.handle(),
                ptr::null(),
                ffi::SQLITE_FCNTL_JOURNAL_POINTER,
                (&raw mut file).cast(),
            );
            assert_eq!(code, SQLITE_OK);
            &mut *file.cast::<Log>()
        };
        let end = std::fs::metadata(dir.path().join("db-wal")).unwrap().len() as sqlite3_int64;
        assert_eq!(log.write(&[0; HEADER], end), SQLITE_OK);
        assert_eq!(log.write(&[7; 10 * MOST], end + HEADER as sqlite3_int64), SQLITE_OK);
        assert!(log.pending.is_empty() && log.pending.capacity() <= MOST);
        let bytes = std::fs::read(dir.path().join("db-wal")).unwrap();
        assert_eq!(bytes.len(), end as usize + HEADER + 10 * MOST);
        assert!(bytes[end as usize + HEADER..].iter().all(|&byte| byte == 7));
    }

    /// A transaction that outgrows the cache is read back from the log, and may be given up.
    #[test]
    fn what_spills_is_read_back_and_rolled_back() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, reader) = open_both(dir.path());
        writer.execute_batch("PRAGMA cache_size = 5").unwrap();
        let sum = |conn: &Connection| -> i64 {
            conn.query_row("SELECT coalesce(sum(a), 0) FROM t", [], |row| row.get(0)).unwrap()
        };
        for (end, after) in [("ROLLBACK", 0), ("COMMIT", 4_950), ("ROLLBACK", 4_950)] {
            writer.execute_batch("BEGIN").unwrap();
            let before = sum(&reader);
            for n in 0..100 {
                writer.execute("INSERT INTO t VALUES (?1, zeroblob(3000))", [n]).unwrap();
            }
            assert_eq!(sum(&writer), before + 4_950);
            assert_eq!(sum(&reader), before);
            writer.execute_batch(end).unwrap();
            assert_eq!((sum(&writer), sum(&reader)), (after, after));
        }
    }
}
