//! The page format of SQLCipher 4, without SQLCipher: authenticating, decrypting and encrypting single pages.
//!
//! A page of 4096 bytes ends with 80 reserved ones: an IV of 16 and an HMAC-SHA512 of 64. AES-256-CBC without padding
//! covers what stands before. Page 1 begins with 16 bytes of salt in the clear, which stand where a plain file has
//! its magic. The HMAC covers ciphertext, IV and the page number (32 bits, little endian); its key is derived from the
//! database key and the salt. <https://www.zetetic.net/sqlcipher/design/>
//!
//! SQLCipher itself takes a page of zeros for an empty one without asking its HMAC. Here such a page is damaged.

mod parallel;
#[cfg(test)]
mod tests;

use std::fs::File;

use aes::{Aes256, cipher::KeyInit};
use cbc::cipher::{BlockDecrypt, BlockEncryptMut, InnerIvInit, inout::InOutBuf};
use hmac::{Hmac, Mac};
use mdk_wire::{LockedBox, Secret};
use sha2::Sha512;
use zeroize::Zeroize;

pub(crate) use parallel::read_at;

use super::{Progress, Stage, VaultError};
use crate::{FileRole, OpenError, undumped::Undumped};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Bytes at the end of a page that hold IV and HMAC.
pub(crate) const RESERVE: usize = 80;
/// Bytes of a page that SQLite uses.
pub(crate) const USABLE: usize = PAGE - RESERVE;
/// Bytes of a salt.
pub(crate) const SALT: usize = 16;
/// What a plain file begins with.
pub(crate) const MAGIC: &[u8; SALT] = b"SQLite format 3\0";
/// The page that SQLite never uses, because its locks stand there (byte 2^30). It is written by nobody.
pub(crate) const LOCK_PAGE: u32 = (1 << 30) / PAGE as u32 + 1;

const IV: usize = 16;
const CONTENT: usize = PAGE - RESERVE;
const SIGNED: usize = CONTENT + IV;

/// The keys of one file: what its pages are encrypted and authenticated with.
pub(crate) struct PageKey {
    // Its first bytes are the key of the database itself.
    inner: LockedBox<Inner>,
    salt: [u8; SALT],
}

struct Inner {
    aes: Aes256,
    mac: Hmac<Sha512>,
}

impl PageKey {
    /// The keys of a file with this salt under a raw database key.
    pub(crate) fn new(key: &Secret<32>, salt: &[u8; SALT]) -> Self {
        let inner = LockedBox::new(|| {
            let mac_salt = salt.map(|b| b ^ 0x3a);
            let mac_key = Secret::<32>::init(|mac_key| {
                pbkdf2::pbkdf2_hmac::<Sha512>(key.expose(), &mac_salt, 2, mac_key);
            });
            Inner {
                aes: Aes256::new(key.expose().into()),
                mac: <Hmac<Sha512> as Mac>::new_from_slice(mac_key.expose())
                    .expect("any length is a key"),
            }
        });
        Self { inner, salt: *salt }
    }

    /// The keys of the encrypted file that begins with `page`.
    pub(crate) fn of_page_1(key: &Secret<32>, page: &[u8]) -> Self {
        let salt = page[..SALT].try_into().expect("the range has the length of a salt");
        Self::new(key, salt)
    }

    /// The keys of the encrypted file whose first 16 bytes are `salt`, if they authenticate `page`. A single flipped bit of
    /// the salt, which would make every page look damaged, is found and undone: the second value says so.
    pub(crate) fn find(
        key: &Secret<32>,
        salt: &[u8; SALT],
        number: u32,
        page: &[u8],
    ) -> Option<(Self, bool)> {
        let flipped = (0..SALT * 8).map(|bit| {
            let mut salt = *salt;
            salt[bit / 8] ^= 1 << (bit % 8);
            (salt, true)
        });
        std::iter::once((*salt, false)).chain(flipped).find_map(|(salt, repaired)| {
            let key = Self::new(key, &salt);
            key.check(number, page).then_some((key, repaired))
        })
    }

    /// Whether the page stands here with what was written into it.
    pub(crate) fn check(&self, number: u32, page: &[u8]) -> bool {
        self.mac(number, page).verify_slice(&page[SIGNED..PAGE]).is_ok()
    }

    /// Decrypts a page in place, if it is authentic; else it is left as it is. The reserved bytes become zeros.
    pub(crate) fn decrypt(&self, number: u32, page: &mut [u8]) -> bool {
        if !self.check(number, page) {
            return false;
        }
        self.decrypt_unchecked(number, page);
        true
    }

    fn decrypt_unchecked(&self, number: u32, page: &mut [u8]) {
        let start = start(number);
        let mut plain = [0u8; PAGE];
        plain[start..CONTENT].copy_from_slice(&page[start..CONTENT]);
        let (blocks, _) = InOutBuf::from(&mut plain[start..CONTENT]).into_chunks();
        self.inner.aes.decrypt_blocks_inout(blocks);
        // CBC: each block still has the ciphertext before it upon it, the first one the IV.
        xor(&mut plain[start..start + IV], &page[CONTENT..SIGNED]);
        xor(&mut plain[start + IV..CONTENT], &page[start..CONTENT - IV]);
        if number == 1 {
            plain[..SALT].copy_from_slice(MAGIC);
        }
        page[..PAGE].copy_from_slice(&plain);
        plain.zeroize();
    }

    /// Encrypts a plain page in place under `iv`, which must never come again under this key.
    pub(crate) fn encrypt(&self, number: u32, page: &mut [u8], iv: &[u8; IV]) {
        let start = start(number);
        page[CONTENT..SIGNED].copy_from_slice(iv);
        let (blocks, _) = InOutBuf::from(&mut page[start..CONTENT]).into_chunks();
        cbc::Encryptor::<&Aes256>::inner_iv_init(&self.inner.aes, iv.into())
            .encrypt_blocks_inout_mut(blocks);
        if number == 1 {
            page[..SALT].copy_from_slice(&self.salt);
        }
        let mac = self.mac(number, page).finalize().into_bytes();
        page[SIGNED..PAGE].copy_from_slice(&mac);
    }

    fn mac(&self, number: u32, page: &[u8]) -> Hmac<Sha512> {
        let mut mac = self.inner.mac.clone();
        mac.update(&page[start(number)..SIGNED]);
        mac.update(&number.to_le_bytes());
        mac
    }
}

fn start(number: u32) -> usize {
    if number == 1 { SALT } else { 0 }
}

fn xor(to: &mut [u8], with: &[u8]) {
    to.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}

/// Random bytes from the operating system.
pub(crate) fn random(buf: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(buf).map_err(|_| VaultError::Io {
        action: "getting random bytes for",
        role: FileRole::Database,
        kind: std::io::ErrorKind::Other,
    })
}

pub(crate) fn io(action: &'static str, error: &std::io::Error) -> VaultError {
    VaultError::Io { action, role: FileRole::Database, kind: error.kind() }
}

/// How many whole pages a file has, and how many bytes follow them.
pub(crate) fn layout(file: &File) -> Result<(u64, u64), VaultError> {
    let size = file.metadata().map_err(|e| io("looking at", &e))?.len();
    Ok((size / PAGE as u64, size % PAGE as u64))
}

/// Writes the database in `from`, encrypted under `old`, into the empty file `to`, encrypted under `new` with a fresh
/// salt and fresh IVs, and syncs it. Returns the number of bytes. Every page is authenticated before it is used.
///
/// The write-ahead log is not looked at: it must have been moved into the file before.
pub(crate) fn reencrypt(
    from: &File,
    old: &Secret<32>,
    to: &File,
    new: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<u64, VaultError> {
    let (pages, rest) = layout(from)?;
    if pages == 0 || rest != 0 || pages > u64::from(u32::MAX) {
        return Err(VaultError::Damaged);
    }
    let mut salt = [0u8; SALT];
    parallel::read_at(from, &mut salt, 0).map_err(|e| io("reading", &e))?;
    if &salt == MAGIC {
        return Err(OpenError::NotEncrypted.into());
    }
    let old = PageKey::new(old, &salt);
    // A key that opens nothing is more likely than a file of which page 1 alone is damaged. It is looked at before several
    // threads find out at once.
    let mut head = vec![0u8; PAGE];
    parallel::read_at(from, &mut head, 0).map_err(|e| io("reading", &e))?;
    if !old.check(1, &head) {
        return Err(OpenError::WrongKey.into());
    }
    random(&mut salt)?;
    let new = PageKey::new(new, &salt);
    let work = |first: u32, chunk: &mut [u8]| {
        let mut ivs = vec![0u8; chunk.len() / PAGE * IV];
        random(&mut ivs)?;
        for ((page, iv), number) in
            chunk.chunks_exact_mut(PAGE).zip(ivs.chunks_exact(IV)).zip(first..)
        {
            if number == LOCK_PAGE {
                page.fill(0);
                continue;
            }
            if !old.decrypt(number, page) {
                return Err(VaultError::Damaged);
            }
            new.encrypt(number, page, iv.try_into().expect("the chunk has the length of an IV"));
        }
        Ok(())
    };
    parallel::run(from, Some(to), pages, Stage::Writing, progress, work, |()| {})?;
    to.sync_all().map_err(|e| io("syncing", &e))?;
    Ok(pages * PAGE as u64)
}

/// The numbers of all pages that `key` does not authenticate, ascending.
pub(crate) fn bad_pages(
    file: &File,
    key: &PageKey,
    progress: &mut Progress<'_>,
) -> Result<Vec<u32>, VaultError> {
    let (pages, _) = layout(file)?;
    let pages = pages.min(u64::from(u32::MAX));
    let work = |first: u32, chunk: &mut [u8]| {
        Ok((first..)
            .zip(chunk.chunks_exact(PAGE))
            .filter(|&(number, page)| number != LOCK_PAGE && !key.check(number, page))
            .map(|(number, _)| number)
            .collect::<Vec<u32>>())
    };
    let mut bad = Vec::new();
    parallel::run(file, None, pages, Stage::Checking, progress, work, |part| bad.extend(part))?;
    bad.sort_unstable();
    Ok(bad)
}

/// Whether the copy `to` is whole and says what `from` says: every page of it is authentic, and in plain it is the page of
/// `from`. With that every row is the same, and it costs less than to read the rows.
pub(crate) fn same(
    from: &File,
    old: &Secret<32>,
    to: &File,
    new: &Secret<32>,
    progress: &mut Progress<'_>,
) -> Result<bool, VaultError> {
    let (pages, rest) = layout(from)?;
    if layout(to)? != (pages, rest) || rest != 0 || pages == 0 {
        return Ok(false);
    }
    let key_of = |file: &File, key: &Secret<32>| {
        let mut salt = [0u8; SALT];
        parallel::read_at(file, &mut salt, 0).map_err(|e| io("reading", &e))?;
        Ok::<_, VaultError>(PageKey::new(key, &salt))
    };
    let (old, new) = (key_of(from, old)?, key_of(to, new)?);
    let work = |first: u32, chunk: &mut [u8]| {
        let mut copy = Undumped::zeros(chunk.len());
        let at = u64::from(first - 1) * PAGE as u64;
        parallel::read_at(to, &mut copy, at).map_err(|e| io("reading", &e))?;
        let mut pages = chunk.chunks_exact_mut(PAGE).zip(copy.chunks_exact_mut(PAGE)).zip(first..);
        Ok(pages.all(|((page, copy), number)| {
            if number == LOCK_PAGE {
                return true;
            }
            // If this one is not authentic any more, it is not the same any more.
            old.decrypt_unchecked(number, page);
            new.decrypt(number, copy) && page[..CONTENT] == copy[..CONTENT]
        }))
    };
    let mut same = true;
    parallel::run(from, None, pages, Stage::Comparing, progress, work, |part| same &= part)?;
    Ok(same)
}
