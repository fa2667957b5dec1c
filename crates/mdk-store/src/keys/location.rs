//! Finds the key of a database, and makes, stores and removes keys. Other code decides which key counts
//! (`store/create.rs`, `vault/rekey.rs`). A key that exists is never replaced here.

mod discard_unfinished;
mod generate;
mod generation;
mod key_file;
mod next_location;
mod passphrase_file;

pub(crate) use self::passphrase_file::check_new_passphrase;
mod recorded;
mod search_by_name;
mod supplied;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use mdk_wire::{Secret, SecretVec};
use zeroize::Zeroizing;

use crate::{
    DatabaseKey, FileRole, KeyringStore, OpenError,
    files::{self, Place, names},
    keys::{
        environment,
        key_metadata::{self, KeySlot},
        keyring::{self, Keyring},
        text_format,
    },
};
pub(crate) use discard_unfinished::discard as discard_begun;
pub(crate) use generate::fresh;
use generate::random_id;
pub(crate) use generation::NEW;
use generation::{entry_name, is_generation};
use key_file::KeyFile;
pub(crate) use next_location::locate_next;
pub(crate) use recorded::{Presence, is_kept, known_source, present, recorded};
pub(crate) use search_by_name::{others_of_name, place_of};
pub use supplied::on_signal;

/// The place of one key.
pub(crate) struct Home {
    /// The entry of the side record. Its `check` is empty until the key is known.
    pub(crate) slot: KeySlot,
    kind: Kind,
}

enum Kind {
    Keyring {
        ring: Keyring,
        name: String,
        create: bool,
    },
    File(KeyFile),
    /// A file that is opened with a passphrase, and its future content. The passphrase is `None` where it is not known
    /// and the file may only be removed.
    Wrapped(KeyFile, Option<SecretVec>, Option<Zeroizing<Vec<u8>>>),
    Given(DatabaseKey),
}

/// The place that `source` means for this database. `known` is the entry of the side record: it completes a keyring key
/// without an id, and says which of the keys of a re-key it is. `new` allows a fresh key id.
pub(crate) fn locate(
    place: &Place,
    source: &DatabaseKey,
    known: Option<&KeySlot>,
    new: bool,
) -> Result<Home, OpenError> {
    let kind = source.source();
    let known = known.filter(|slot| slot.source == kind);
    let mut slot = KeySlot { source: kind.to_owned(), ..KeySlot::default() };
    let generation = known.and_then(|slot| slot.generation.clone());
    let kind = match source {
        DatabaseKey::Keyring(key) => {
            keyring::check_id("service", &key.service)?;
            let known = match &key.key_id {
                None => known,
                Some(id) => {
                    keyring::check_id("key id", id)?;
                    known.filter(|slot| {
                        slot.key_id.as_ref() == Some(id)
                            && slot.service.as_ref() == Some(&key.service)
                    })
                }
            };
            let id = match (&key.key_id, known.and_then(|slot| slot.key_id.clone())) {
                (Some(id), _) => id.clone(),
                (None, Some(id)) => id,
                (None, None) if new => random_id()?,
                (None, None) => return Err(OpenError::KeyMissing { source: source.source() }),
            };
            let recorded = known.and_then(|slot| slot.store.as_deref());
            let store = match (key.store, recorded.and_then(keyring::store_from_name)) {
                (KeyringStore::Platform, Some(store)) => store,
                (store, _) => store,
            };
            let service = known.and_then(|slot| slot.service.as_ref()).unwrap_or(&key.service);
            let ring = Keyring::new(store, service, key.allow_volatile, key.timeout)?;
            slot.generation = known.and_then(|slot| slot.generation.clone());
            slot.shared = known.is_some_and(|slot| slot.shared);
            slot.store = Some(keyring::store_name(ring.store).to_owned());
            slot.service = Some(ring.service.clone());
            let name = entry_name(&id, slot.generation.as_deref());
            slot.key_id = Some(id);
            Kind::Keyring { ring, name, create: key.create }
        }
        DatabaseKey::File(path) => {
            let file = KeyFile::new(path)?;
            refuse_names_of_database(place, path)?;
            if new {
                file.check_new(place)?;
            }
            slot.path = file.text(place);
            let (file, known) = file.known_as(place, known)?;
            slot.generation = file.generation().map(str::to_owned);
            slot.shared = known.is_some_and(|slot| slot.shared);
            Kind::File(file)
        }
        DatabaseKey::Passphrase(passphrase) => {
            passphrase_file::check_passphrase(passphrase)?;
            slot.generation = generation;
            let file = KeyFile::beside(place)?.with_generation(slot.generation.as_deref());
            Kind::Wrapped(file, Some(passphrase.clone()), None)
        }
        DatabaseKey::Env(name) | DatabaseKey::Taken { name, .. } => {
            environment::check_variable(name)?;
            slot.key_id = Some(name.clone());
            Kind::Given(source.clone())
        }
        DatabaseKey::Secret(name) => {
            supplied::check_secret(name)?;
            slot.key_id = Some(name.clone());
            Kind::Given(source.clone())
        }
        DatabaseKey::Fd(_) | DatabaseKey::Callback(_) | DatabaseKey::Raw(_) => {
            Kind::Given(source.clone())
        }
    };
    Ok(Home { slot, kind })
}

/// Refuses a source that may not guard a new key. It is called where a key is about to be made, or named for a re-key.
pub(crate) fn check_new(source: &DatabaseKey) -> Result<(), OpenError> {
    match source {
        DatabaseKey::Passphrase(passphrase) => {
            passphrase_file::check_passphrase(passphrase)?;
            passphrase_file::check_new_passphrase(passphrase)
        }
        _ => Ok(()),
    }
}

/// The files that a key file may have: itself, the next key, and both while they are written.
fn names_of(key: &OsStr) -> [OsString; 4] {
    ["", ".tmp", ".new", ".new.tmp"].map(|suffix| files::with_suffix(key, suffix))
}

/// Whether `name` is one of the files of a key file `key`, or of a key that a re-key has put beside a key of another
/// database.
pub(crate) fn is_of_key(key: &OsStr, name: &OsStr) -> bool {
    let generation = || {
        let rest = name.to_str()?.strip_prefix(key.to_str()?)?.strip_prefix('.')?;
        Some(is_generation(rest.strip_suffix(".tmp").unwrap_or(rest)))
    };
    names_of(key).iter().any(|own| name == own) || generation().unwrap_or(false)
}

/// Refuses the names of the database's own files. The database makes, replaces and removes these, and a key in one
/// would be lost.
fn refuse_names_of_database(place: &Place, path: &Path) -> Result<(), OpenError> {
    let refused = OpenError::BadPath { role: FileRole::Key };
    let Some(name) = path.file_name() else { return Err(refused) };
    let folder = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).canonicalize().ok()
    };
    let beside = folder(path).is_some_and(|dir| Some(dir) == folder(&place.path(place.name())));
    let taken = names_of(name).iter().any(|name| names::is_of_database(place.name(), name));
    if beside && taken { Err(refused) } else { Ok(()) }
}

/// Refuses a file descriptor that gives no key any more. This comes before anything else is looked at.
pub(crate) fn check_open(source: &DatabaseKey) -> Result<(), OpenError> {
    match source {
        DatabaseKey::Fd(fd) => fd.check(),
        _ => Ok(()),
    }
}

impl Home {
    /// The key, if it is there.
    pub(crate) fn look(&mut self) -> Result<Option<Secret<32>>, OpenError> {
        let key = match &self.kind {
            Kind::Keyring { ring, name, .. } => ring.get(name)?,
            Kind::File(file) => {
                file.warn();
                read_file(file)?
            }
            Kind::Wrapped(file, Some(passphrase), _) => match file.read()? {
                Some(text) => {
                    self.slot.file = Some(passphrase_file::mark(&text));
                    Some(passphrase_file::unwrap(&text, passphrase)?)
                }
                None => None,
            },
            Kind::Wrapped(_, None, _) => None,
            Kind::Given(source) => Some(supplied::read(source)?),
        };
        if let Some(key) = &key {
            self.slot.check = key_metadata::check(key);
        }
        Ok(key)
    }

    /// Notes that this key will be here. The record says so before the key is made.
    pub(crate) fn note_expected(&mut self, key: &Secret<32>) -> Result<(), OpenError> {
        self.slot.check = key_metadata::check(key);
        if let Kind::Wrapped(_, Some(passphrase), draft @ None) = &mut self.kind
            && self.slot.file.is_none()
        {
            let text = passphrase_file::wrap(key, passphrase)?;
            self.slot.file = Some(passphrase_file::mark(&text));
            *draft = Some(text);
        }
        Ok(())
    }

    /// Whether keys are made and kept here, and are not given.
    pub(crate) fn keeps_keys(&self) -> bool {
        !matches!(self.kind, Kind::Given(_))
    }

    /// Whether the key has a file of its own.
    pub(crate) fn stands_in_file(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Wrapped(..))
    }

    /// Whether a key may be made here.
    pub(crate) fn may_create(&self) -> bool {
        !matches!(self.kind, Kind::Keyring { create: false, .. } | Kind::Given(_))
    }

    /// Stores a key where none is, reads it back and compares. On failure no key is left, unless a keyring has gone
    /// away meanwhile: see [`Self::unmake`].
    pub(crate) fn make(&mut self, key: &Secret<32>) -> Result<(), OpenError> {
        match &mut self.kind {
            Kind::Keyring { ring, name, .. } => ring.put_new(name, key),
            Kind::File(file) => file.make("file", &key_file::line(key)),
            Kind::Wrapped(file, _, Some(text)) => file.make("passphrase", text),
            Kind::Wrapped(..) | Kind::Given(_) => Ok(()),
        }
    }

    /// Whether this is the content of the key file that the slot names.
    fn is_ours(&self, text: &[u8]) -> bool {
        self.is_of_slot(&self.slot, text)
    }

    /// The same for another slot of this place.
    fn is_of_slot(&self, slot: &KeySlot, text: &[u8]) -> bool {
        match (&self.kind, &slot.file) {
            (Kind::Wrapped(..), Some(mark)) => *mark == passphrase_file::mark(text),
            // Either an earlier version recorded the file, or nothing did. The name belongs to this database, and so
            // does its file.
            (Kind::Wrapped(..), None) => passphrase_file::is_whole(text),
            _ => text_format::decode_own(text, "file").is_ok_and(|key| slot.is_of(&key)),
        }
    }

    /// Checks once more that the key is still ours. The keyrings cannot create exclusively, so another program may have
    /// looked at the same moment.
    pub(crate) fn confirm(&self, key: &Secret<32>) -> Result<(), OpenError> {
        match &self.kind {
            Kind::Keyring { ring, name, .. } if ring.get(name)?.as_ref() != Some(key) => {
                Err(OpenError::KeyReadBack)
            }
            _ => Ok(()),
        }
    }

    /// Removes a key that this very call has made or tried to make. Returns whether it is known to be gone: a keyring
    /// that cannot be reached any more may keep it.
    pub(crate) fn unmake(&self, key: &Secret<32>) -> bool {
        match &self.kind {
            Kind::Keyring { ring, name, .. } => return ring.forget(name, key),
            Kind::File(file) | Kind::Wrapped(file, ..) => file.unmake(&|text| self.is_ours(text)),
            Kind::Given(_) => {}
        }
        true
    }

    /// Removes the key of the slot, if it is still there. Returns whether it is gone. A key that another database may
    /// need is left alone, and counts as gone: it is not this database's any more.
    pub(crate) fn retire(&self) -> bool {
        if self.slot.shared {
            return true;
        }
        match &self.kind {
            Kind::Keyring { ring, name, .. } => match ring.get(name) {
                Ok(Some(key)) if self.slot.is_of(&key) => ring.remove(name, &key),
                found => is_gone(found),
            },
            Kind::File(file) | Kind::Wrapped(file, ..) => file.remove(&|text| self.is_ours(text)),
            Kind::Given(_) => true,
        }
    }

    /// Whether a key, or something else, is in the place of the new key.
    pub(crate) fn is_taken(&self) -> Result<bool, OpenError> {
        match &self.kind {
            Kind::Keyring { ring, name, .. } => match ring.get(name) {
                Err(OpenError::KeyMalformed { .. } | OpenError::KeyLength { .. }) => Ok(true),
                found => found.map(|key| key.is_some()),
            },
            Kind::File(file) | Kind::Wrapped(file, ..) => file.is_there(),
            Kind::Given(_) => Ok(false),
        }
    }

    /// Removes the leftover of a lost re-key where the next wrapped key is made: that name belongs to this database. A
    /// file with the name of another key file, or one that is no key file of a passphrase, may be anybody's.
    pub(crate) fn clear_next(&self) -> Result<(), OpenError> {
        match &self.kind {
            Kind::Wrapped(file, ..)
                if self.slot.generation.is_some() && !file.remove(&passphrase_file::is_whole) =>
            {
                let kind = std::io::ErrorKind::Other;
                Err(files::io_error("removing", FileRole::Key, &kind.into()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a key file that is made as `new` will get its name: that name belongs to the key `old`, or is free.
    pub(crate) fn will_settle(&self, old: &KeySlot) -> Result<bool, OpenError> {
        match &self.kind {
            Kind::File(file) | Kind::Wrapped(file, ..)
                if self.slot.generation.as_deref() == Some(NEW) =>
            {
                file.may_take_the_name(&|text| self.is_of_slot(old, text))
            }
            _ => Ok(true),
        }
    }

    /// Gives a key file that was made as `new` its name. The file of the key `old`, which had the name, goes. Returns
    /// whether it has the name: a file of another key stays.
    pub(crate) fn settle(&self, old: &KeySlot) -> Result<bool, OpenError> {
        match &self.kind {
            Kind::File(file) | Kind::Wrapped(file, ..) => {
                file.settle(&|text| self.is_of_slot(old, text))
            }
            _ => Ok(true),
        }
    }
}

fn read_file(file: &KeyFile) -> Result<Option<Secret<32>>, OpenError> {
    file.read()?.map(|text| text_format::decode_own(&text, "file")).transpose()
}

/// Whether this result of a read shows that the old key is gone from its place.
fn is_gone(found: Result<Option<Secret<32>>, OpenError>) -> bool {
    use OpenError::{KeyLength, KeyMalformed};
    matches!(found, Ok(_) | Err(KeyMalformed { .. } | KeyLength { .. }))
}
