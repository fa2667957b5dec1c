//! Pages of SQLCipher 4, decrypted and encrypted by hand: for what only somebody with the key could have written
//! (<https://www.zetetic.net/sqlcipher/design/>).

use aes::Aes256;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, Mac};
use sha2::Sha512;

const PAGE: usize = 4096;
const CONTENT: usize = PAGE - 80;
const SIGNED: usize = CONTENT + 16;

pub struct Codec {
    key: [u8; 32],
    mac: Hmac<Sha512>,
    salt: [u8; 16],
}

impl Codec {
    /// Of the file that begins with these bytes.
    pub fn new(key: [u8; 32], file: &[u8]) -> Self {
        let salt: [u8; 16] = file[..16].try_into().unwrap();
        let mut mac_key = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha512>(&key, &salt.map(|byte| byte ^ 0x3a), 2, &mut mac_key);
        Self { key, mac: Hmac::new_from_slice(&mac_key).unwrap(), salt }
    }

    fn tag(&self, number: u32, page: &[u8]) -> [u8; 64] {
        let mut mac = self.mac.clone();
        mac.update(&page[start(number)..SIGNED]);
        mac.update(&number.to_le_bytes());
        mac.finalize().into_bytes().into()
    }

    pub fn decrypt(&self, number: u32, page: &mut [u8]) {
        assert_eq!(self.tag(number, page)[..], page[SIGNED..PAGE]);
        let iv: [u8; 16] = page[CONTENT..SIGNED].try_into().unwrap();
        cbc::Decryptor::<Aes256>::new(&self.key.into(), &iv.into())
            .decrypt_padded_mut::<NoPadding>(&mut page[start(number)..CONTENT])
            .unwrap();
    }

    pub fn encrypt(&self, number: u32, page: &mut [u8]) {
        let (iv, begin) = ([3; 16], start(number));
        cbc::Encryptor::<Aes256>::new(&self.key.into(), &iv.into())
            .encrypt_padded_mut::<NoPadding>(&mut page[begin..CONTENT], CONTENT - begin)
            .unwrap();
        page[CONTENT..SIGNED].copy_from_slice(&iv);
        if number == 1 {
            page[..16].copy_from_slice(&self.salt);
        }
        let tag = self.tag(number, page);
        page[SIGNED..PAGE].copy_from_slice(&tag);
    }
}

fn start(number: u32) -> usize {
    if number == 1 { 16 } else { 0 }
}
