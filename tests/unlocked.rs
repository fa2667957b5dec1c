//! Pages of these test programs are not locked.
//!
//! SQLCipher locks each allocation by a call to the system. That is half of what tests of whole groups cost, and not what
//! they are about: tests/vault shows that the product locks its pages. A program's own `mlock` goes before that of libc.
#![cfg(target_os = "linux")]

use std::ffi::{c_int, c_void};

// SAFETY: the signatures of mlock(2) and munlock(2); nothing else in the program has these names.
#[unsafe(no_mangle)]
extern "C" fn mlock(_address: *const c_void, _length: usize) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn munlock(_address: *const c_void, _length: usize) -> c_int {
    0
}
