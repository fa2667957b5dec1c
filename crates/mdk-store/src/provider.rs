//! What is ours of SQLCipher's provider, the functions by which it encrypts and authenticates every page. An application
//! may fetch and change them (`sqlcipher_get_provider`).

mod page_hmac;
mod random;
mod unused;

use std::{
    ffi::{c_int, c_void},
    sync::OnceLock,
};

use rusqlite::ffi;

type Random = unsafe extern "C" fn(ctx: *mut c_void, buffer: *mut c_void, size: c_int) -> c_int;

type Hmac = unsafe extern "C" fn(
    ctx: *mut c_void,
    algorithm: c_int,
    key: *const u8,
    key_size: c_int,
    first: *const u8,
    first_size: c_int,
    second: *const u8,
    second_size: c_int,
    output: *mut u8,
) -> c_int;

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

/// The beginning of `struct sqlcipher_provider`.
#[repr(C)]
struct Provider {
    others: [*const c_void; 4],
    random: Option<Random>,
    hmac: Option<Hmac>,
    kdf: *const c_void,
    cipher: Option<Cipher>,
}

unsafe extern "C" {
    /// The provider that every connection uses; null before SQLite is initialized.
    fn sqlcipher_get_provider() -> *mut Provider;
    #[cfg(unix)]
    fn OPENSSL_thread_stop();
}

/// Frees what OpenSSL keeps for this thread, which may have been in the store and is about to end. OpenSSL would do it
/// later, under a lock of the process: a child that is forked in that moment would wait for the lock for ever.
#[cfg(unix)]
pub fn end_thread() {
    // SAFETY: may be called at any time, by any thread; what is freed is made anew where it is needed.
    unsafe { OPENSSL_thread_stop() }
}

/// SQLCipher's own functions.
struct Originals {
    hmac: Hmac,
    cipher: Cipher,
}

static ORIGINALS: OnceLock<Originals> = OnceLock::new();

/// Puts our functions before those of SQLCipher, once a process. To be called before a connection has its key. Whether
/// they are there.
pub(crate) fn install() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        // SAFETY: may be called at any time, by any thread.
        if unsafe { ffi::sqlite3_initialize() } != ffi::SQLITE_OK {
            return false;
        }
        // SAFETY: SQLite is initialized; the provider lives until the process ends, and no connection uses it yet.
        let Some(provider) = (unsafe { sqlcipher_get_provider().as_mut() }) else { return false };
        let (Some(hmac), Some(cipher)) = (provider.hmac, provider.cipher) else { return false };
        ORIGINALS.get_or_init(|| Originals { hmac, cipher });
        provider.random = Some(random::fill);
        provider.hmac = Some(page_hmac::hmac);
        provider.cipher = Some(unused::clean_and_encrypt);
        true
    })
}
