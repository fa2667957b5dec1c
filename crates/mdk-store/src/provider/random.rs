//! Random bytes of a page: its initialization vector.
//!
//! They come from the operating system. OpenSSL has a generator for each thread, made when it is first asked and freed when
//! the thread ends; that takes a lock of the process, and longer than the call.

use std::{
    ffi::{c_int, c_void},
    slice,
};

use rusqlite::ffi;

/// As SQLCipher has it.
pub(super) unsafe extern "C" fn fill(_ctx: *mut c_void, buffer: *mut c_void, size: c_int) -> c_int {
    let Ok(size) = usize::try_from(size) else { return ffi::SQLITE_ERROR };
    if buffer.is_null() {
        return ffi::SQLITE_ERROR;
    }
    // SAFETY: SQLCipher gives room for that many bytes, and nobody else uses it meanwhile. It may never have been written
    // to; bytes of any value are valid, and only writing follows.
    let room = unsafe {
        buffer.cast::<u8>().write_bytes(0, size);
        slice::from_raw_parts_mut(buffer.cast::<u8>(), size)
    };
    match getrandom::fill(room) {
        Ok(()) => ffi::SQLITE_OK,
        Err(_) => ffi::SQLITE_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    #[test]
    fn it_fills_what_it_was_given_and_no_more() {
        let mut seen = std::collections::HashSet::new();
        for size in [16, 80, 300] {
            let mut buffer = vec![0u8; size + 8];
            let at = buffer.as_mut_ptr().cast();
            for _ in 0..50 {
                // SAFETY: there is room for that many bytes.
                let code = unsafe { fill(null_mut(), at, size as c_int) };
                assert_eq!(code, ffi::SQLITE_OK);
                let (filled, rest) = buffer.split_at(size);
                assert_eq!(rest, [0; 8]);
                assert!(seen.insert(filled.to_vec()), "twice the same");
                assert_ne!(filled[size - 8..], [0; 8], "to its end");
            }
        }
    }

    #[test]
    fn what_it_cannot_fill_is_an_error() {
        // SAFETY: nothing is written.
        unsafe {
            assert_eq!(fill(null_mut(), null_mut(), 16), ffi::SQLITE_ERROR);
            assert_eq!(fill(null_mut(), null_mut(), -1), ffi::SQLITE_ERROR);
        }
    }
}
