//! The unused part of a page is overwritten before the page is written. A first page that SQLCipher could not work with
//! is not read.
//!
//! A page has room between the list of its cells and the first cell. When SQLite moves cells to balance a tree it
//! leaves copies of them there. `PRAGMA secure_delete` overwrites a deleted row only in its place, so a copy of it
//! stays. That part is overwritten before a page is encrypted. Layout of a page: SQLite's file format, section 1.6.
//!
//! The first page has the size of all pages. Anyone with the key can write one with another size than SQLCipher was
//! told. SQLite would believe it, and SQLCipher would write over the end of a smaller buffer. Such a page is not
//! decrypted.

use std::{
    ffi::{c_int, c_void},
    ops::Range,
    sync::OnceLock,
};

use rusqlite::ffi;

use super::{PAGE, SALT, USABLE};

type Cipher = unsafe extern "C" fn(
    ctx: *mut c_void,
    mode: c_int,
    key: *const u8,
    key_size: c_int,
    iv: *const u8,
    input: *const u8,
    size: c_int,
    output: *mut u8,
) -> c_int;

/// The beginning of `struct sqlcipher_provider`, the functions by which SQLCipher encrypts and authenticates every
/// page.
#[repr(C)]
struct Provider {
    others: [*const c_void; 7],
    cipher: Option<Cipher>,
}

unsafe extern "C" {
    /// The provider that every connection uses; null before SQLite is initialized. An application may fetch and change
    /// it.
    fn sqlcipher_get_provider() -> *mut Provider;
}

/// SQLCipher's own function.
static ORIGINAL: OnceLock<Cipher> = OnceLock::new();

/// Puts our function before it, once per process. It must be called before a connection has its key. Returns whether it
/// is there.
pub(crate) fn install() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        // SAFETY: may be called at any time, by any thread.
        if unsafe { ffi::sqlite3_initialize() } != ffi::SQLITE_OK {
            return false;
        }
        // SAFETY: SQLite is initialized; the provider lives until the process ends, and no connection uses it yet.
        let Some(provider) = (unsafe { sqlcipher_get_provider().as_mut() }) else { return false };
        let Some(cipher) = provider.cipher else { return false };
        ORIGINAL.get_or_init(|| cipher);
        provider.cipher = Some(clean_and_cipher);
        true
    })
}

/// SQLCipher's number of the mode that encrypts.
const ENCRYPT: c_int = 1;
/// The offsets in the first page of the page size, and of the bytes of each page that SQLite does not use.
const PAGE_SIZE_AT: usize = 16;
const RESERVE_AT: usize = 20;
/// The offset of the tree in the first page.
const FILE_HEADER: usize = 100;

/// The signature is SQLCipher's.
unsafe extern "C" fn clean_and_cipher(
    ctx: *mut c_void,
    mode: c_int,
    key: *const u8,
    key_size: c_int,
    iv: *const u8,
    input: *const u8,
    size: c_int,
    output: *mut u8,
) -> c_int {
    let Some(original) = ORIGINAL.get() else { return ffi::SQLITE_ERROR };
    if mode == ENCRYPT
        && !input.is_null()
        && let Ok(size) = usize::try_from(size)
    {
        // SAFETY: that many bytes of the page that SQLite has in its cache, whose owner writes it just now and holds
        // the lock of its connection. The changed bytes have no meaning to anybody.
        let page = unsafe { std::slice::from_raw_parts_mut(input.cast_mut(), size) };
        if let Some(unused) = unused(page) {
            page[unused].fill(0);
        }
    }
    // SAFETY: what we were given, handed on.
    let code = unsafe { original(ctx, mode, key, key_size, iv, input, size, output) };
    if mode != ENCRYPT && code == ffi::SQLITE_OK && usize::try_from(size) == Ok(USABLE - SALT) {
        // SAFETY: the original has just written so many bytes there.
        let page = unsafe { std::slice::from_raw_parts(output, USABLE - SALT) };
        if !is_first_page(page) {
            return ffi::SQLITE_ERROR;
        }
    }
    code
}

/// Whether a first page, given without its salt, has the page size that SQLCipher was told, and its reserve.
fn is_first_page(page: &[u8]) -> bool {
    let size = page.get(PAGE_SIZE_AT - SALT..).and_then(<[u8]>::first_chunk);
    let reserve = page.get(RESERVE_AT - SALT).copied().map(usize::from);
    size.is_some_and(|size| usize::from(u16::from_be_bytes(*size)) == PAGE)
        && reserve == Some(PAGE - USABLE)
}

/// The unused part of a page, which is given without the bytes that SQLCipher adds. `None`: the page is not one of a
/// tree, as far as its content shows.
fn unused(page: &[u8]) -> Option<Range<usize>> {
    let skipped = USABLE.checked_sub(page.len())?;
    let header = match skipped {
        0 => 0,
        SALT => FILE_HEADER - SALT,
        _ => return None,
    };
    let word = |at: usize| Some(u16::from_be_bytes(*page.get(at..)?.first_chunk()?));
    let cells = word(header + 3)?;
    let list = header
        + match page.get(header)? {
            // A page without a cell is not one of a tree. A map of pointers, which our files do not have, may begin
            // like that.
            2 | 5 if cells > 0 => 12,
            10 | 13 => 8,
            _ => return None,
        };
    let end = list + 2 * usize::from(cells);
    let first = word(header + 5)?;
    let start = usize::from(first).checked_sub(skipped)?;
    if end > start || start > page.len() {
        return None;
    }
    // The loop is simple, so that a compiler can make it wide. An index has hundreds of cells, and this runs for every
    // page that is written.
    let (mut lowest, mut highest) = (u16::MAX, 0);
    for cell in page.get(list..end)?.as_chunks().0 {
        let cell = u16::from_be_bytes(*cell);
        (lowest, highest) = (lowest.min(cell), highest.max(cell));
    }
    let free = word(header + 1)?;
    if free != 0 {
        (lowest, highest) = (lowest.min(free), highest.max(free));
    }
    if lowest < first || usize::from(highest) >= USABLE {
        return None;
    }
    Some(end..start)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
