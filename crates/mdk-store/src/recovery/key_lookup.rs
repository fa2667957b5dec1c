//! Finds the key that opens a database, among all that may. `what_to_do.rs` has the action that follows, as a table.

use mdk_wire::Secret;

use super::{
    state::{KeyRole, Keys, KeysFound},
    what_to_do::{NoKey, none_fits},
};
use crate::{
    DatabaseKey, OpenError,
    files::Place,
    keys::{
        key_metadata::{self, KeySlot, Record},
        location::{self, Home, known_source, locate, recorded},
    },
    sqlcipher::key_fits,
};

/// The key of a database, as far as it is known before the opening.
pub(crate) struct FoundKey {
    pub(crate) home: Home,
    pub(crate) key: Secret<32>,
    pub(crate) role: KeyRole,
}

impl FoundKey {
    fn new(record: Option<&Record>, home: Home, key: Secret<32>) -> Self {
        let moved = |slot: &KeySlot| {
            slot.source == "file" && home.slot.source == "file" && slot.path != home.slot.path
        };
        let role = match record.map(|record| (&record.key, record.other_key.as_ref())) {
            Some((slot, _)) if slot.is_of(&key) && moved(slot) => KeyRole::Moved,
            Some((slot, _)) if slot.is_of(&key) => KeyRole::Recorded,
            Some((_, Some(slot))) if slot.is_of(&key) && moved(slot) => KeyRole::Moved,
            Some((_, Some(slot))) if slot.is_of(&key) => KeyRole::Other,
            _ => KeyRole::Another,
        };
        Self { home, key, role }
    }
}

/// The key of a database that exists. Changes nothing.
pub(crate) fn existing_key(place: &Place, source: &DatabaseKey) -> Result<Secret<32>, OpenError> {
    find_key(place, source, key_metadata::read(place)?.as_ref()).map(|found| found.key)
}

/// The same, with the record's word on it.
///
/// Connecting says whether a single key in its usual place fits. Page 1 says it where there may be several keys. With
/// two keys in the record, both are looked for where the caller says. If one of them is there, both are also looked for
/// where the record says. Without a record, keys of the same name are looked at, too.
pub(crate) fn find_key(
    place: &Place,
    source: &DatabaseKey,
    record: Option<&Record>,
) -> Result<FoundKey, OpenError> {
    let missing = OpenError::KeyMissing { source: source.source() };
    let other = record.and_then(|record| record.other_key.as_ref());
    let named = locate(place, source, record.map(|record| &record.key), false);
    // A given key is read once: a file descriptor gives it only once.
    let given = named.as_ref().is_ok_and(|home| !home.keeps_keys());
    let single = if record.is_some() { other.is_none() } else { given };
    if single {
        let mut home = named?;
        let key = home.look()?.ok_or(missing)?;
        return Ok(FoundKey::new(record, home, key));
    }
    let mut search =
        Search { place, record, found: KeysFound::default(), first: None, error: None };
    if let Some(found) = search.look(named) {
        return Ok(found);
    }
    let Some((record, other)) = record.zip(other) else {
        return search.by_name(source)?.ok_or(search.error.unwrap_or(missing));
    };
    if !given && let Some(found) = search.look(locate(place, source, Some(other), false)) {
        return Ok(found);
    }
    // A caller with one of the two keys may have the other from its place. No other caller may.
    if search.found.recorded || search.found.other {
        for home in [other, &record.key].into_iter().filter_map(|slot| recorded(place, slot)) {
            if let Some(found) = search.look(Ok(home)) {
                return Ok(found);
            }
        }
    }
    let absent = if search.found.recorded { other } else { &record.key };
    Err(match none_fits(Keys::Two, search.found) {
        NoKey::NotADatabase => OpenError::NotADatabase,
        NoKey::OtherNeeded => OpenError::RekeyInterrupted { source: known_source(absent) },
        NoKey::WrongKey => OpenError::WrongKey,
        NoKey::Unreachable | NoKey::Missing => search.error.unwrap_or(missing),
    })
}

/// An error about a file that a key does not open. If the record names that very key, the file was damaged or replaced.
pub(crate) fn of_wrong_key(
    record: Option<&Record>,
    key: &Secret<32>,
    error: OpenError,
) -> OpenError {
    let recorded = record.is_some_and(|record| record.key.is_of(key));
    let found = KeysFound { recorded, another: !recorded, ..KeysFound::default() };
    match (error, none_fits(Keys::One, found)) {
        (OpenError::WrongKey, NoKey::NotADatabase) => OpenError::NotADatabase,
        (error, _) => error,
    }
}

/// Keys that are tried one after the other.
struct Search<'a> {
    place: &'a Place,
    record: Option<&'a Record>,
    found: KeysFound,
    /// The first key that was found.
    first: Option<(Home, Secret<32>)>,
    /// The error of the first place that gave no key.
    error: Option<OpenError>,
}

impl Search<'_> {
    fn look(&mut self, home: Result<Home, OpenError>) -> Option<FoundKey> {
        match home.and_then(|mut home| Ok(home.look()?.map(|key| (home, key)))) {
            Ok(Some((home, key))) => return self.try_key(home, key),
            Ok(None) => {}
            Err(error) => self.note(error),
        }
        None
    }

    fn try_key(&mut self, home: Home, key: Secret<32>) -> Option<FoundKey> {
        let fits = key_fits(self.place, self.place.name(), &key);
        let found = FoundKey::new(self.record, home, key);
        if fits == Ok(true) {
            return Some(found);
        }
        if let Err(error) = fits {
            self.note(error);
        }
        let slots = self.record.map(|record| (&record.key, record.other_key.as_ref()));
        let is_of = |slot: Option<&KeySlot>| slot.is_some_and(|slot| slot.is_of(&found.key));
        self.found.recorded |= is_of(slots.map(|(slot, _)| slot));
        self.found.other |= is_of(slots.and_then(|(_, slot)| slot));
        self.found.another = true;
        self.first.get_or_insert((found.home, found.key));
        None
    }

    fn note(&mut self, error: OpenError) {
        self.found.unreachable = true;
        self.error.get_or_insert(error);
    }

    /// The key of the database among those whose names a re-key may have made from this one's, or the first that was
    /// found. The end of a log may hold another page 1; the opening decides whether that is the right one.
    fn by_name(&mut self, source: &DatabaseKey) -> Result<Option<FoundKey>, OpenError> {
        // A keyring that does not answer is not asked again.
        let silent = matches!(
            self.error,
            Some(
                OpenError::KeyringTimeout { .. }
                    | OpenError::KeyringUnavailable
                    | OpenError::KeyringLocked
                    | OpenError::VolatileStore
            )
        );
        if !silent {
            for mut home in location::others_of_name(self.place, source)? {
                match home.look() {
                    Ok(Some(key)) if key_fits(self.place, self.place.name(), &key) == Ok(true) => {
                        return Ok(Some(FoundKey::new(self.record, home, key)));
                    }
                    Err(error @ OpenError::KeyringTimeout { .. }) => return Err(error),
                    // The key is somebody else's, or no key at all.
                    _ => {}
                }
            }
        }
        Ok(self.first.take().map(|(home, key)| FoundKey::new(self.record, home, key)))
    }
}
