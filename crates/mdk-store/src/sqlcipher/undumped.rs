//! SQLite's larger blocks stay out of core dumps. They hold pages of the database as plain text, and the account's key
//! where the database keeps it. SQLCipher's memory security locks and wipes them, but a core dump would have them.
//!
//! SQLite takes other allocators only before it is initialized (<https://sqlite.org/c3ref/config.html>), so this comes
//! before the first connection. SQLCipher then wraps the allocator that it finds.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroizing;

/// A buffer for content of the database. It is left out of core dumps as SQLite's blocks are, and wiped when it is
/// dropped.
pub(crate) struct Undumped(Zeroizing<Vec<u8>>);

impl Undumped {
    /// An empty buffer. It must not get more than its capacity, or its content would be moved to other memory.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::of(Vec::with_capacity(capacity))
    }

    #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
    fn of(mut bytes: Vec<u8>) -> Self {
        #[cfg(target_os = "linux")]
        if bytes.capacity() > 0 {
            linux::keep_out(bytes.as_mut_ptr().cast(), bytes.capacity());
        }
        Self(Zeroizing::new(bytes))
    }
}

impl Deref for Undumped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Undumped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// Sets this up once per process, before SQLite is used. It has no effect where SQLite was in use. Only Linux can leave
/// memory out of dumps.
pub(crate) fn begin() {
    #[cfg(target_os = "linux")]
    linux::begin();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        ffi::{c_int, c_void},
        sync::{Once, OnceLock},
    };

    use rusqlite::ffi;

    /// Smaller blocks hold neither a page (4,096 bytes and its header) nor the slots of a connection.
    const SMALLEST: c_int = 4096;

    type Malloc = unsafe extern "C" fn(c_int) -> *mut c_void;

    /// SQLite's own allocation function.
    static SYSTEM: OnceLock<Malloc> = OnceLock::new();

    pub(crate) fn begin() {
        static BEGUN: Once = Once::new();
        BEGUN.call_once(|| {
            // SAFETY: a struct of pointers that may be null; SQLite fills it, and copies what it is given. Neither
            // option is for an initialized SQLite, which refuses them.
            unsafe {
                let mut methods: ffi::sqlite3_mem_methods = std::mem::zeroed();
                let got = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods);
                let Some(system) = methods.xMalloc.filter(|_| got == ffi::SQLITE_OK) else {
                    return;
                };
                let _ = SYSTEM.set(system);
                methods.xMalloc = Some(malloc);
                if ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut methods)
                    != ffi::SQLITE_OK
                {
                    tracing::debug!(
                        "the pages of databases may be in core dumps: SQLite was in use"
                    );
                }
            }
        });
    }

    /// SAFETY (of calling it): as for SQLite's own, a size above zero.
    unsafe extern "C" fn malloc(size: c_int) -> *mut c_void {
        let Some(system) = SYSTEM.get() else { return std::ptr::null_mut() };
        // SAFETY: the size is what SQLite asks for.
        let block = unsafe { system(size) };
        if size >= SMALLEST && !block.is_null() {
            keep_out(block, usize::try_from(size).unwrap_or_default());
        }
        block
    }

    /// The pages of memory that a block touches, whole. Their other content is left out of dumps, too, and stays so.
    pub(crate) fn keep_out(block: *mut c_void, size: usize) {
        let page = rustix::param::page_size();
        let before = block.addr() % page;
        let length = (before + size).next_multiple_of(page);
        // SAFETY: these pages are mapped, since the block lies in them; the advice changes no content. A system that
        // does not know it refuses it, and the block serves all the same.
        unsafe {
            let start = block.byte_sub(before);
            let _ = rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxDontDump);
        }
    }
}
