//! The record beside a database as the source of its key.

use std::{path::Path, time::Duration};

use mdk_wire::Secret;

use super::{
    Home, Kind,
    generation::entry_name,
    key_file::{KeyFile, resolve},
    passphrase_file, read_file,
};
use crate::{
    DatabaseKey, FileRole, KeyringKey, OpenError,
    files::{self, Place},
    keys::{
        key_metadata::{self, KeySlot},
        keyring::{self, Keyring},
    },
};

impl DatabaseKey {
    /// The key of the database at `path` as the record beside it names it, for a caller that names none. Without a
    /// record it is the default: the keyring.
    ///
    /// # Errors
    /// [`OpenError::KeyNotGiven`] for a source that must be given each time: a passphrase, a descriptor, a callback,
    /// the key itself. Any error of reading the record.
    pub fn recorded(path: &Path) -> Result<Self, OpenError> {
        let keyring = Self::Keyring(KeyringKey::default());
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The check must not make the directory.
        if parent.is_some_and(files::is_missing) {
            return Ok(keyring);
        }
        let place = Place::of(path, FileRole::Database)?;
        let Some(record) = key_metadata::read(&place)? else { return Ok(keyring) };
        let nameable = |slot: &KeySlot| match (slot.source.as_str(), &slot.path, &slot.key_id) {
            ("keyring", ..) => Some(keyring.clone()),
            ("file", Some(path), _) => Some(Self::File(resolve(&place, path))),
            ("secret", _, Some(name)) => Some(Self::Secret(name.clone())),
            ("env", _, Some(name)) => Some(Self::Env(name.clone())),
            _ => None,
        };
        // Each of the two keys leads to the other while a re-key moves the key.
        [Some(&record.key), record.other_key.as_ref()]
            .into_iter()
            .flatten()
            .find_map(nameable)
            .ok_or(OpenError::KeyNotGiven { source: known_source(&record.key) })
    }
}

/// The kind of source that a record names.
pub(crate) fn known_source(slot: &KeySlot) -> &'static str {
    ["keyring", "file", "fd", "secret", "passphrase", "callback", "env"]
        .into_iter()
        .find(|known| *known == slot.source)
        .unwrap_or("raw")
}

/// Whether this software keeps the keys of such a source, so that it could remove them.
pub(crate) fn is_kept(slot: &KeySlot) -> bool {
    matches!(slot.source.as_str(), "keyring" | "file" | "passphrase")
}

/// The place in the side record, as far as it can be reached without further input.
pub(crate) fn recorded(place: &Place, slot: &KeySlot) -> Option<Home> {
    recorded_within(place, slot, crate::KeyringKey::default().timeout)
}

fn recorded_within(place: &Place, slot: &KeySlot, timeout: Duration) -> Option<Home> {
    let generation = slot.generation.as_deref();
    let kind = match slot.source.as_str() {
        "keyring" => {
            let store = keyring::store_from_name(slot.store.as_deref()?)?;
            let (service, id) = (slot.service.as_deref()?, slot.key_id.as_deref()?);
            // The maker of the record has agreed to a volatile store.
            let ring = Keyring::new(store, service, true, timeout).ok()?;
            Kind::Keyring { ring, name: entry_name(id, generation), create: false }
        }
        "file" => {
            let file = KeyFile::recorded(place, slot.path.as_deref()?).ok()?;
            Kind::File(file.with_generation(generation))
        }
        "passphrase" => {
            Kind::Wrapped(KeyFile::beside(place).ok()?.with_generation(generation), None, None)
        }
        _ => return None,
    };
    Some(Home { slot: slot.clone(), kind })
}

/// The content of the place that the side record names for the key.
pub(crate) enum Presence {
    /// The key of the record.
    There,
    Missing,
    /// Another key; its value, if it can be had without a passphrase.
    Another(Option<Secret<32>>),
    /// The place cannot be asked without further input.
    Unknown,
}

/// Whether the key that the side record names is there. Content that cannot be a key is an error.
pub(crate) fn present(
    place: &Place,
    slot: &KeySlot,
    timeout: Duration,
) -> Result<Presence, OpenError> {
    let judged = |key: Option<Secret<32>>| match key {
        None => Presence::Missing,
        Some(key) if slot.is_of(&key) => Presence::There,
        Some(key) => Presence::Another(Some(key)),
    };
    match recorded_within(place, slot, timeout).map(|home| home.kind) {
        Some(Kind::Keyring { ring, name, .. }) => ring.get(&name).map(judged),
        Some(Kind::File(file)) => read_file(&file).map(judged),
        Some(Kind::Wrapped(file, ..)) => match file.read()? {
            None => Ok(Presence::Missing),
            Some(text) if !passphrase_file::is_whole(&text) => {
                Err(OpenError::KeyMalformed { source: "passphrase" })
            }
            // Earlier versions did not record the mark that tells the file from another one.
            Some(text)
                if slot.file.as_ref().is_some_and(|mark| *mark != passphrase_file::mark(&text)) =>
            {
                Ok(Presence::Another(None))
            }
            Some(_) => Ok(Presence::There),
        },
        Some(Kind::Given(_)) | None => Ok(Presence::Unknown),
    }
}
