//! The memory of a connection.
//!
//! With SQLCipher's memory security on, every allocation of SQLite is locked in RAM and every release unlocks and wipes
//! it: two system calls that split and merge mappings, thousands of times a second. SQLite's lookaside is one block per
//! connection, allocated, locked and wiped once, that serves all but the largest allocations
//! (<https://sqlite.org/malloc.html#lookaside>).

use rusqlite::{Connection, ffi};

use crate::OpenError;

/// Bytes of one slot. A message with its tags, a row of OpenMLS and a retained state of a small group fit.
const SLOT: i32 = 16 * 1024;
/// Slots of a connection: 1 MiB in all, an eighth of the memory that an unprivileged process may usually lock.
const SLOTS: i32 = 64;

/// Gives the connection its block. It comes right after opening, before anything is allocated from the default one.
pub(crate) fn reserve(conn: &Connection) -> Result<(), OpenError> {
    // SAFETY: the handle is that of an open connection, and with a null pointer SQLite allocates and owns the block.
    let code = unsafe {
        ffi::sqlite3_db_config(
            conn.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            std::ptr::null_mut::<std::ffi::c_void>(),
            SLOT,
            SLOTS,
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(OpenError::SettingRefused { setting: "lookaside" })
    }
}
