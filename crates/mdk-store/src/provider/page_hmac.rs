//! HMAC-SHA-512 of a page (RFC 2104) on OpenSSL's SHA-512 as it is.
//!
//! SQLCipher asks OpenSSL for an HMAC by its name, page by page: what is looked up, allocated and copied for that takes
//! a tenth of what the hash does, and a message writes five to seven pages.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    slice,
};

use openssl_sys::{SHA512_CTX, SHA512_Final, SHA512_Init, SHA512_Update};
use rusqlite::ffi;
use zeroize::Zeroize as _;

use super::ORIGINALS;

/// What SQLCipher calls HMAC-SHA-512.
const HMAC_SHA512: c_int = 2;
/// Bytes of a block of SHA-512.
const BLOCK: usize = 128;
/// Bytes of its result.
const DIGEST: usize = 64;
/// RFC 2104, section 2.
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// As SQLCipher has it: the second part may be null, `output` has room for the result.
pub(super) unsafe extern "C" fn hmac(
    ctx: *mut c_void,
    algorithm: c_int,
    key: *const u8,
    key_size: c_int,
    first: *const u8,
    first_size: c_int,
    second: *const u8,
    second_size: c_int,
    output: *mut u8,
) -> c_int {
    let size = |at: *const u8, size: c_int| match at.is_null() {
        true => Some(0),
        false => usize::try_from(size).ok(),
    };
    let sizes = (size(key, key_size), size(first, first_size), size(second, second_size));
    if let (HMAC_SHA512, (Some(key_size @ 1..=BLOCK), Some(first_size), Some(second_size))) =
        (algorithm, sizes)
        && !first.is_null()
        && !output.is_null()
    {
        let part = |at: *const u8, size: usize| match size {
            0 => &[][..],
            // SAFETY: SQLCipher gives a pointer that is not null to that many bytes, which nobody changes meanwhile.
            _ => unsafe { slice::from_raw_parts(at, size) },
        };
        let parts = [part(first, first_size), part(second, second_size)];
        return match page_hmac(part(key, key_size), parts) {
            // SAFETY: there is room for the result of this algorithm. It may lie behind the last part, as it does in a
            // page, but is written only now.
            Some(mac) => unsafe {
                output.copy_from_nonoverlapping(mac.as_ptr(), DIGEST);
                ffi::SQLITE_OK
            },
            None => ffi::SQLITE_ERROR,
        };
    }
    let Some(originals) = ORIGINALS.get() else { return ffi::SQLITE_ERROR };
    // SAFETY: what we were given, handed on.
    unsafe {
        (originals.hmac)(
            ctx,
            algorithm,
            key,
            key_size,
            first,
            first_size,
            second,
            second_size,
            output,
        )
    }
}

/// With a key that is not longer than a block. `None`: OpenSSL failed.
fn page_hmac(key: &[u8], [first, second]: [&[u8]; 2]) -> Option<[u8; DIGEST]> {
    let mut pad = [INNER; BLOCK];
    for (pad, key) in pad.iter_mut().zip(key) {
        *pad ^= key;
    }
    let inner = sha512([&pad, first, second]);
    for pad in &mut pad {
        *pad ^= INNER ^ OUTER;
    }
    let mac = inner.and_then(|inner| sha512([&pad, &inner, &[]]));
    pad.zeroize();
    mac
}

fn sha512(parts: [&[u8]; 3]) -> Option<[u8; DIGEST]> {
    let mut context = MaybeUninit::<SHA512_CTX>::uninit();
    let at = context.as_mut_ptr();
    let mut digest = [0; DIGEST];
    // SAFETY: `at` is valid for writing, is initialized by the first call, and is not used after the last one fails or
    // ends; each part is a slice; the digest has the length of SHA-512.
    let done = unsafe {
        SHA512_Init(at) == 1
            && parts.iter().all(|part| SHA512_Update(at, part.as_ptr().cast(), part.len()) == 1)
            && SHA512_Final(digest.as_mut_ptr(), at) == 1
    };
    // It knows the key.
    slice::from_mut(&mut context).zeroize();
    done.then_some(digest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ptr::null;

    use ::hmac::{Hmac, Mac as _};
    use proptest::prelude::*;
    use sha2::Sha512;

    use super::super::install;
    use super::*;

    type Function = super::super::Hmac;

    /// What a function of a provider makes of that: its code and what it wrote.
    fn call(
        function: Function,
        algorithm: c_int,
        key: &[u8],
        parts: [Option<&[u8]>; 2],
    ) -> (c_int, Vec<u8>) {
        let at = |part: Option<&[u8]>| part.map_or(null(), <[u8]>::as_ptr);
        let size = |part: Option<&[u8]>| c_int::try_from(part.map_or(0, <[u8]>::len)).unwrap();
        let [first, second] = parts;
        let mut output = vec![0xaa; DIGEST + 8];
        // SAFETY: pointers and lengths of slices; there is room for the longest result.
        let code = unsafe {
            function(
                std::ptr::null_mut(),
                algorithm,
                key.as_ptr(),
                size(Some(key)),
                at(first),
                size(first),
                at(second),
                size(second),
                output.as_mut_ptr(),
            )
        };
        (code, output)
    }

    fn original() -> Function {
        assert!(install());
        ORIGINALS.get().unwrap().hmac
    }

    /// RFC 4231, sections 4.2, 4.3 and 4.4.
    #[test]
    fn the_vectors_of_the_standard() {
        for (key, data, begins) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "87aa7cdea5ef619d4ff0b4241a1d6cb0"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "164b7a7bfcf819e2e395fbe73b56e0a3",
            ),
            (vec![0xaa; 20], vec![0xdd; 50], "fa73b0089d56a284efb0f0756c890be9"),
        ] {
            let mac = page_hmac(&key, [&data, &[]]).unwrap();
            assert_eq!(hex::encode(mac).get(..32).unwrap(), begins);
        }
    }

    /// Whatever SQLCipher may ask for: ours and its own give the same, and so does a library that has nothing to do
    /// with either. Of other algorithms, longer keys and what has no first part, SQLCipher's own judges.
    #[test]
    fn it_is_the_one_of_sqlcipher() {
        let original = original();
        let data: Vec<u8> = (0u32..5_000).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in [0, 1, HMAC_SHA512] {
            for key in [1, 20, 32, 64, 127, 128, 129, 200] {
                for (first, second) in [
                    (Some(4_032), Some(4)),
                    (Some(4_016), Some(4)),
                    (Some(0), Some(4)),
                    (Some(5_000), None),
                    (Some(127), Some(1)),
                    (None, Some(4)),
                    (None, None),
                ] {
                    let part = |size: Option<usize>| size.map(|size| &data[..size]);
                    let (key, parts) = (&data[100..100 + key], [part(first), part(second)]);
                    let ours = call(hmac, algorithm, key, parts);
                    assert_eq!(ours, call(original, algorithm, key, parts));
                    assert_eq!(ours.0 == ffi::SQLITE_OK, first.is_some());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_one_of_another_library(
            key in proptest::collection::vec(any::<u8>(), 1..=BLOCK),
            first in proptest::collection::vec(any::<u8>(), 0..5_000),
            second in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut other = Hmac::<Sha512>::new_from_slice(&key).unwrap();
            other.update(&first);
            other.update(&second);
            let mac = page_hmac(&key, [&first, &second]).unwrap();
            prop_assert_eq!(&mac[..], &other.finalize().into_bytes()[..]);
        }
    }
}
