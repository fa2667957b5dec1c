//! The header: which key derivation with which parameters. The key that it derives authenticates it.

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use mdk_wire::{Secret, secret::apart};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ArchiveError;

/// The first bytes of every archive.
pub(crate) const MAGIC: &[u8; 10] = b"mdk-backup";
/// Version of the format, key derivation and cipher.
const VERSION: u8 = 1;
/// Argon2id, version 0x13 (RFC 9106).
const ARGON2ID: u8 = 1;
/// Base-two logarithm of the chunk size: 64 KiB.
pub(crate) const CHUNK_BITS: u8 = 16;

const SALT: usize = 32;
pub(crate) const PREFIX: usize = 19;
const MAC: usize = 32;
const FIELDS: usize = MAGIC.len() + 2 + 12 + SALT + PREFIX + 1;
/// Length of a header in bytes.
pub(crate) const HEADER: usize = FIELDS + MAC;

/// The cost of deriving the key. Every guess at the passphrase costs the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory in KiB.
    pub(crate) memory: u32,
    /// Passes over it.
    pub(crate) passes: u32,
    /// Lanes.
    pub(crate) lanes: u32,
}

/// The archives that a reader accepts. A cheap one would have been easy to guess. A dear one is an attack on the
/// reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) least: Cost,
    pub(crate) most: Cost,
    pub(crate) chunk_bits: u8,
}

impl Cost {
    /// The cost of a backup that we write: 64 MiB and 3 passes.
    pub(crate) const DEFAULT: Self = Self { memory: 64 * 1024, passes: 3, lanes: 1 };
}

impl Bounds {
    /// The costs that a restore accepts: from the default to 256 MiB, 10 passes and 4 lanes.
    pub(crate) const DEFAULT: Self = Self {
        least: Cost::DEFAULT,
        most: Cost { memory: 256 * 1024, passes: 10, lanes: 4 },
        chunk_bits: CHUNK_BITS,
    };

    fn accept(&self, cost: Cost) -> bool {
        (self.least.memory..=self.most.memory).contains(&cost.memory)
            && (self.least.passes..=self.most.passes).contains(&cost.passes)
            && (self.least.lanes..=self.most.lanes).contains(&cost.lanes)
    }
}

/// The fields of a header and their exact bytes.
pub(crate) struct Header {
    bytes: [u8; HEADER],
    cost: Cost,
}

/// The keys that a passphrase and a header give.
pub(crate) struct Keys {
    pub(super) chunks: Secret<32>,
    header: Secret<32>,
}

impl Header {
    /// A new header with its keys. `random` must never repeat.
    pub(crate) fn new(
        cost: Cost,
        chunk_bits: u8,
        random: &[u8; SALT + PREFIX],
        passphrase: &[u8],
    ) -> Result<(Self, Keys), ArchiveError> {
        let mut fields = Vec::with_capacity(HEADER);
        fields.extend_from_slice(MAGIC);
        fields.extend_from_slice(&[VERSION, ARGON2ID]);
        for number in [cost.memory, cost.passes, cost.lanes] {
            fields.extend_from_slice(&number.to_be_bytes());
        }
        fields.extend_from_slice(random);
        fields.push(chunk_bits);
        let mut bytes = [0; HEADER];
        bytes[..FIELDS].copy_from_slice(&fields);
        let mut header = Self { bytes, cost };
        let keys = header.derive(passphrase)?;
        let mac = apart(|| header.mac(&keys).finalize().into_bytes());
        header.bytes[FIELDS..].copy_from_slice(&mac);
        Ok((header, keys))
    }

    /// Reads a header. Its costs are in `bounds`; its MAC is still to be checked.
    pub(crate) fn decode(bytes: &[u8; HEADER], bounds: &Bounds) -> Result<Self, ArchiveError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ArchiveError::NotABackup)?;
        let number = |at: usize| {
            u32::from_be_bytes(rest[at..at + 4].try_into().expect("four bytes of a fixed array"))
        };
        let cost = Cost { memory: number(2), passes: number(6), lanes: number(10) };
        let known = rest[0] == VERSION && rest[1] == ARGON2ID;
        if !known || bytes[FIELDS - 1] != bounds.chunk_bits || !bounds.accept(cost) {
            return Err(ArchiveError::NotABackup);
        }
        Ok(Self { bytes: *bytes, cost })
    }

    /// The bytes of the header.
    pub(crate) fn bytes(&self) -> &[u8; HEADER] {
        &self.bytes
    }

    /// Bytes of content in a chunk.
    pub(super) fn chunk(&self) -> usize {
        1 << self.bytes[FIELDS - 1]
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes[FIELDS - 1 - PREFIX..FIELDS - 1]
    }

    /// Derives the keys. Takes the memory and the time that the header says.
    pub(crate) fn derive(&self, passphrase: &[u8]) -> Result<Keys, ArchiveError> {
        apart(|| self.keys(passphrase))
    }

    fn keys(&self, passphrase: &[u8]) -> Result<Keys, ArchiveError> {
        let Cost { memory, passes, lanes } = self.cost;
        let params =
            Params::new(memory, passes, lanes, Some(64)).map_err(|_| ArchiveError::NotABackup)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let salt = &self.bytes[FIELDS - 1 - PREFIX - SALT..FIELDS - 1 - PREFIX];
        let mut out = Zeroizing::new([0u8; 64]);
        argon
            .hash_password_into(passphrase, salt, out.as_mut())
            .map_err(|_| ArchiveError::OutOfMemory)?;
        let half = |at: usize| Secret::init(|key| key.copy_from_slice(&out[at..at + 32]));
        Ok(Keys { chunks: half(0), header: half(32) })
    }

    fn mac(&self, keys: &Keys) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(keys.header.expose())
            .expect("HMAC takes keys of any length");
        mac.update(&self.bytes[..FIELDS]);
        mac
    }

    /// Whether the header was made with these keys. Compared in constant time.
    pub(crate) fn is_authentic(&self, keys: &Keys) -> bool {
        apart(|| self.mac(keys).verify_slice(&self.bytes[FIELDS..]).is_ok())
    }
}
