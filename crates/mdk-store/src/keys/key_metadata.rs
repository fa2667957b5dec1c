//! The record of where the key is: `NAME.keyinfo` beside the database. It names the key and never holds it.
//!
//! The record names the keyring before there is a key, remembers a random key id, and tells about an interrupted first
//! open or re-key. A database without a record still opens with a key that is named in full
//! (`location/search_by_name.rs`).

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::{Component, Path},
};

use hmac::{Hmac, Mac};
use mdk_wire::{Secret, secret::apart};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    FileRole, OpenError,
    files::{self, Place, names},
    sqlcipher::{MAGIC, SALT, read_at},
};

/// The purposes for which an entry is bound: the other key of a re-key, or the key of a database that is being made.
const OTHER: &[u8] = b"mdk key of a re-key 1";
const BEGUN: &[u8] = b"mdk key of a new database 1";
/// The bytes of an HMAC that bind an entry.
const BINDING: usize = 16;
/// The suffix of the record while it is written.
const TEMP: &str = ".keyinfo.tmp";
/// The version of the format.
const FORMAT: u32 = 1;
/// Room for ids of 512 bytes, escaped, twice, and paths; all of it four times.
pub(crate) const MAX_LEN: u64 = 128 * 1024;

/// The content of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub(crate) stage: DatabaseStage,
    /// The key of the database.
    pub(crate) key: KeySlot,
    /// The other key of a re-key that is not finished. Page 1 says which of the two counts; the other one goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other_key: Option<KeySlot>,
    /// A key that this record named before. It was left in its place, because nothing shows that it is this database's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<KeySlot>,
    /// The time of the last re-key, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rekeyed_at: Option<u64>,
    /// The salt at the beginning of the database, in hexadecimal. The salt is no secret, and no page can be
    /// authenticated without it. Damage to these 16 bytes would otherwise cost all intact pages behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    /// The directory in which this was written, as [`Place::directory_id`]. A copy has the directory of the original
    /// here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    /// The name of the database that this was written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

/// The stage of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DatabaseStage {
    /// A first open has begun. A key that matches this record is ours, and nothing that counts is encrypted with it.
    Creating,
    /// The same for a database whose content comes from elsewhere, from a backup for example. An empty database is not
    /// taken for it until the content is there.
    Filling,
    /// The same for a database that takes the place of a plain one. A file under the temporary name of an encryption is
    /// its own.
    Encrypting,
    /// The database exists.
    Ready,
    /// The database exists, and the plain one whose place it took may still be there under the temporary name.
    ReadyWithPlainCopy,
}

impl DatabaseStage {
    /// Whether the database is still being made.
    pub(crate) fn is_begun(self) -> bool {
        matches!(self, Self::Creating | Self::Filling | Self::Encrypting)
    }

    /// Whether an encryption in place is under way. This is written before the encryption makes a file, and taken back
    /// when that file is gone.
    pub(crate) fn is_encrypting(self) -> bool {
        matches!(self, Self::Encrypting | Self::ReadyWithPlainCopy)
    }
}

/// The place of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct KeySlot {
    /// As [`DatabaseKey::source`](crate::DatabaseKey::source).
    pub(crate) source: String,
    /// The keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// The key id in the keyring; the name of the secret or of the variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
    /// The generation that a re-key sets: it tells apart the keys of one id, or is `new` for a key file that has not
    /// its name yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<String>,
    /// The key file. A relative path begins at the directory of the database: the file lies in it, and moves with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Another database may need this key: the record is a copy, or the key was found here and not made. The key is
    /// never removed, and no other one takes its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
    /// The first bytes of the SHA-256 of a passphrase's key file. They tell it from others, which cannot be opened
    /// without their passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// A check value that tells keys apart and nothing about them.
    pub(crate) check: String,
    /// The proof that this was written with the key of the database: see [`KeySlot::bind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<String>,
}

impl KeySlot {
    /// Whether `key` is the key of this entry.
    pub(crate) fn is_of(&self, key: &Secret<32>) -> bool {
        self.check == check(key)
    }

    /// Notes that this key and `key` are keys of the same database. The key before a re-key is bound under the key
    /// after it, and the other way round. Anyone who can write to the directory can write a record. An entry without
    /// proof could cost another database its key.
    pub(crate) fn bind(&mut self, key: &Secret<32>) {
        self.bound = Some(self.binding(key, OTHER, b""));
    }

    /// Whether the entry was bound under this key, and is unchanged since.
    pub(crate) fn is_bound_by(&self, key: &Secret<32>) -> bool {
        self.is_bound_as(key, OTHER, b"")
    }

    /// Notes that the database of this name is being made with `key`, which is the key of this entry.
    pub(crate) fn begin(&mut self, key: &Secret<32>, place: &Place) {
        self.bound = Some(self.binding(key, BEGUN, place.name().as_encoded_bytes()));
    }

    /// Whether this is the key of a database of this name whose making has begun.
    pub(crate) fn is_begun_by(&self, key: &Secret<32>, place: &Place) -> bool {
        self.is_of(key) && self.is_bound_as(key, BEGUN, place.name().as_encoded_bytes())
    }

    fn is_bound_as(&self, key: &Secret<32>, purpose: &[u8], name: &[u8]) -> bool {
        let bound = self.bound.as_deref().and_then(|bound| hex::decode(bound).ok());
        bound.filter(|bound| bound.len() == BINDING).is_some_and(|bound| {
            apart(|| self.digest(key, purpose, name).verify_truncated_left(&bound).is_ok())
        })
    }

    fn binding(&self, key: &Secret<32>, purpose: &[u8], name: &[u8]) -> String {
        let mac = apart(|| self.digest(key, purpose, name).finalize().into_bytes());
        hex::encode(&mac[..BINDING])
    }

    /// Whether it was bound at all. Earlier versions did not bind entries.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    /// The entry as the key that counts, without its proof.
    pub(crate) fn unbound(self) -> Self {
        Self { bound: None, ..self }
    }

    fn digest(&self, key: &Secret<32>, purpose: &[u8], name: &[u8]) -> Hmac<Sha256> {
        let plain = serde_json::to_vec(&self.clone().unbound()).expect("strings serialize");
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(key.expose()).expect("any length is a key");
        // The text of an entry begins and ends with a brace, and has no byte 0.
        [purpose, &plain, &[0], name].into_iter().for_each(|part| mac.update(part));
        mac
    }

    /// Whether both name the same place, with any key in it.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        let place = |slot: &Self| Self {
            check: String::new(),
            file: None,
            shared: false,
            bound: None,
            ..slot.clone()
        };
        place(self) == place(other)
    }

    /// Makes a path relative. Earlier versions wrote every path in full.
    fn shorten(&mut self, place: &Place) {
        let directory = place.path(OsStr::new(""));
        let within =
            self.path.as_ref().and_then(|path| Path::new(path).strip_prefix(directory).ok());
        if let Some(within) = within.and_then(Path::to_str) {
            self.path = Some(within.to_owned());
        }
    }

    /// Whether the key is a file in the directory of the database. A copy of the directory has a copy of it, too.
    pub(crate) fn lies_within(&self) -> bool {
        let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        self.path.as_ref().is_some_and(|path| Path::new(path).components().all(normal))
    }
}

impl Record {
    /// A record of a database with this key.
    pub(crate) fn new(place: &Place, stage: DatabaseStage, key: KeySlot) -> Self {
        let new = Self {
            format: FORMAT,
            stage,
            key,
            other_key: None,
            left: None,
            rekeyed_at: None,
            salt: None,
            directory: None,
            database: None,
        };
        new.at(place)
    }

    /// The same record, written for this place.
    fn at(mut self, place: &Place) -> Self {
        self.directory = place.directory_id();
        self.database = Some(place.name().to_string_lossy().into_owned());
        self
    }

    /// Notes which keys of the record another database may need, too.
    ///
    /// Only the place tells a copy from its original. A key file in the directory of the database was copied with it,
    /// so there the name of the database is enough. Any other key belongs to the database for which the record was
    /// written, in the very directory in which it was written. A database without this proof is taken for a copy.
    fn note_shared(&mut self, place: &Place) {
        let here = Self::new(place, self.stage, KeySlot::default());
        let named = self.database == here.database;
        let own = named && self.directory.is_some() && self.directory == here.directory;
        let Self { key, other_key, left, .. } = self;
        let others = [other_key, left].map(Option::as_mut);
        for slot in [Some(key)].into_iter().chain(others).flatten() {
            slot.shorten(place);
            slot.shared |= match slot.source.as_str() {
                "keyring" => !own,
                "file" => !(own || named && slot.lies_within()),
                // The key is kept beside the database under a name made from the database's, or it is not kept by us.
                _ => false,
            };
        }
    }

    /// The salt of the database at the time of writing.
    pub(crate) fn salt(&self) -> Option<[u8; SALT]> {
        let mut salt = [0; SALT];
        hex::decode_to_slice(self.salt.as_ref()?, &mut salt).ok().map(|()| salt)
    }

    /// Notes the salt of the database that has just been opened: only then is it known to be the right one. Returns
    /// whether it differs from the salt before, because an earlier version wrote the record, or the file was put back.
    pub(crate) fn note_salt(&mut self, place: &Place) -> bool {
        let salt = salt_of(place);
        let differs = salt.is_some() && salt != self.salt;
        self.salt = salt.or(self.salt.take());
        differs
    }

    /// Writes the record beside the database, whole and durable, in place of the one that is there.
    pub(crate) fn write(&self, place: &Place) -> Result<(), OpenError> {
        let (name, temp) = (name(place), temp_name(place));
        let written = self.clone().at(place);
        let mut text =
            serde_json::to_string_pretty(&written).expect("strings and numbers serialize");
        text.push('\n');
        names::refuse_foreign(place, TEMP)?;
        place.remove(&temp);
        let written = place
            .create_new(&temp, FileRole::KeyRecord)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|e| files::io_error("writing", FileRole::KeyRecord, &e))
            })
            .and_then(|()| place.replace(&temp, &name, FileRole::KeyRecord))
            .and_then(|()| place.sync_dir());
        written.inspect_err(|_| place.remove(&temp))
    }
}

/// The salt of the encrypted database that is there, if it can be read.
fn salt_of(place: &Place) -> Option<String> {
    let found = place.inspect(place.name(), FileRole::Database).ok()??;
    let mut head = [0; SALT];
    read_at(&found.file, &mut head, 0).ok()?;
    (head != *MAGIC).then(|| hex::encode(head))
}

/// The first 8 bytes of an HMAC under the key: too little to find the key, enough to tell two apart.
pub(crate) fn check(key: &Secret<32>) -> String {
    let digest = || {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key.expose()).expect("any length is a key");
        mac.chain_update(b"mdk key check 1").finalize().into_bytes()
    };
    hex::encode(&apart(digest)[..8])
}

/// The name of the record of a database.
pub(crate) fn name(place: &Place) -> OsString {
    files::with_suffix(place.name(), ".keyinfo")
}

/// The name under which a record is written.
pub(crate) fn temp_name(place: &Place) -> OsString {
    files::with_suffix(place.name(), TEMP)
}

/// Removes the record.
pub(crate) fn remove(place: &Place) {
    place.remove(&name(place));
}

/// Removes the leftover of a crash while a record was written.
pub(crate) fn remove_leftover(place: &Place) {
    if names::refuse_foreign(place, TEMP).is_ok() {
        place.remove(&temp_name(place));
    }
}

/// Reads the record, if there is one.
pub(crate) fn read(place: &Place) -> Result<Option<Record>, OpenError> {
    let Some(found) = place.inspect_and_narrow(&name(place), FileRole::KeyRecord)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    found
        .file
        .take(MAX_LEN + 1)
        .read_to_end(&mut text)
        .map_err(|e| files::io_error("reading", FileRole::KeyRecord, &e))?;
    let mut record = parse(&text).ok_or(OpenError::KeyRecordMalformed)?;
    record.note_shared(place);
    Ok(Some(record))
}

/// The record in this text; `None` if it cannot be understood.
pub(crate) fn parse(text: &[u8]) -> Option<Record> {
    let record = serde_json::from_slice::<Record>(text).ok()?;
    (text.len() as u64 <= MAX_LEN && record.format == FORMAT).then_some(record)
}
