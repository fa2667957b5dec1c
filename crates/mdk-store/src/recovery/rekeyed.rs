//! A re-key that was interrupted: which key counts, and finishing or undoing it.

use mdk_wire::Secret;

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    state::OtherKey,
    table::{Fate, fate},
};
use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{OwnerLock, Place},
    key_source::{self, Home},
    names::{rekey_name, remove_side_cars},
    side_record::{KeySlot, Record},
    sqlcipher::key_fits,
};

/// Which key the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one from before.
    Old,
    /// The pending one.
    New,
}

/// Finds the key of a database whose record has a pending one, and says which it is. Changes nothing.
///
/// Both keys are looked for where the caller says; if one of them is there, then also where the record says. Page 1
/// decides.
pub(crate) fn interrupted_key(
    place: &Place,
    source: &DatabaseKey,
    record: &Record,
) -> Result<(Secret<32>, Side), OpenError> {
    let Some(pending) = &record.pending else {
        return Err(OpenError::KeyMissing { source: source.source() });
    };
    let (old, new, any, error) = (false, false, false, None);
    let mut search = Search { place, record, pending, old, new, any, error };
    let given = key_source::locate(place, source, Some(&record.key), false);
    // A key that is given is read once: a file descriptor gives it once only.
    let again = !given.as_ref().is_ok_and(|home| !home.keeps_keys());
    if let Some(found) = search.look(given) {
        return Ok(found);
    }
    if again
        && let Some(found) = search.look(key_source::locate(place, source, Some(pending), false))
    {
        return Ok(found);
    }
    // Whoever has one of the two keys may have the other from where it is; nobody else.
    if search.old || search.new {
        for home in
            [pending, &record.key].into_iter().filter_map(|s| key_source::recorded(place, s))
        {
            if let Some(found) = search.look(Ok(home)) {
                return Ok(found);
            }
        }
        if search.old && search.new {
            return Err(OpenError::NotADatabase);
        }
        return Err(OpenError::RekeyInterrupted { source: key_source::known_source(pending) });
    }
    Err(match search.error {
        Some(error) => error,
        None if search.any => OpenError::WrongKey,
        None => OpenError::KeyMissing { source: source.source() },
    })
}

/// Keys that are tried one after the other.
struct Search<'a> {
    place: &'a Place,
    record: &'a Record,
    pending: &'a KeySlot,
    /// The key from before the re-key was found.
    old: bool,
    /// The pending one was found.
    new: bool,
    any: bool,
    error: Option<OpenError>,
}

impl Search<'_> {
    fn look(&mut self, home: Result<Home, OpenError>) -> Option<(Secret<32>, Side)> {
        let fits = |key: &Secret<32>| key_fits(self.place, self.place.name(), key);
        let looked = home.and_then(|mut home| home.look());
        match looked.and_then(|key| key.map(|key| Ok((fits(&key)?, key))).transpose()) {
            Ok(Some((fits, key))) => {
                // No re-key has the same key twice.
                let new = self.pending.is_of(&key) && !self.record.key.is_of(&key);
                if fits {
                    return Some((key, if new { Side::New } else { Side::Old }));
                }
                self.any = true;
                self.new |= new;
                self.old |= self.record.key.is_of(&key);
            }
            Ok(None) => {}
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        None
    }
}

/// Finishes a re-key whose new key counts, or undoes one whose old key does. What cannot be done now is done at the next
/// opening; the database is good either way. `key` is the one that has opened it. Whoever has lost the lock leaves it all to
/// the next owner.
pub(crate) fn settle_interrupted(
    place: &Place,
    lock: &OwnerLock,
    mut record: Record,
    side: Side,
    key: &Secret<32>,
) -> Record {
    if !lock.is_intact() {
        return record;
    }
    let Some(pending) = record.pending.take() else { return record };
    match side {
        Side::New => {
            let old = std::mem::replace(&mut record.key, pending.unbound());
            record.retiring = Some(old);
            record.rekeyed_at = Some(now());
            record.note_salt(place);
            // Before anything of the old key goes.
            if record.write(place).is_err() {
                tracing::warn!("a re-key is done, but its record could not be written");
                return record;
            }
            clean_up(place, lock, record, key)
        }
        Side::Old => {
            let name = rekey_name(place);
            remove_side_cars(place, &name);
            place.remove(&name);
            let gone = match fate_of(&record, &pending, key) {
                Fate::Kept => true,
                Fate::Foreign => {
                    record.left = Some(pending.clone());
                    true
                }
                Fate::Ours => {
                    key_source::recorded(place, &pending).is_none_or(|home| home.retire())
                }
            };
            if !gone {
                tracing::warn!("the new key of a re-key that was undone could not be removed");
                record.pending = Some(pending);
                return record;
            }
            record.key = record.key.unbound();
            if record.write(place).is_err() {
                tracing::warn!("a re-key is undone, but its record could not be written");
            }
            record
        }
    }
}

/// What becomes of a key that the record calls the other one of a re-key. `key` is the one that has just opened the database.
fn fate_of(record: &Record, other: &KeySlot, key: &Secret<32>) -> Fate {
    let counts = other.is_of(key) || other.same_place(&record.key) || !key_source::is_kept(other);
    let fate = fate(OtherKey { counts, shared: other.shared, bound: other.is_bound_by(key) });
    if fate == Fate::Foreign {
        tracing::warn!("the record speaks of a key that is not shown to be this database's");
    }
    fate
}

/// Now, in Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// After a re-key: overwrites and removes the old file, removes the old key, and gives a new key file its name. `key` is
/// the one that has opened the database.
pub(crate) fn clean_up(
    place: &Place,
    lock: &OwnerLock,
    mut record: Record,
    key: &Secret<32>,
) -> Record {
    if !lock.is_intact() {
        return record;
    }
    let name = rekey_name(place);
    remove_side_cars(place, &name);
    let wiped = place.wipe(&name, FileRole::Database).and_then(|()| place.sync_dir()).is_ok();
    let (mut named, mut left) = (false, None);
    let settled = match &record.retiring {
        None => true,
        // A copy of a database whose re-key was done, but not tidied up: that is the business of the original.
        Some(_) if record.key.shared => true,
        Some(old) => match fate_of(&record, old, key) {
            Fate::Kept => true,
            Fate::Foreign => {
                left = Some(old.clone());
                true
            }
            Fate::Ours if record.key.generation.as_deref() == Some(key_source::NEW) => {
                // Both have the same file in the end: taking the name removes the old key. If somebody has put another
                // file there, that stays, and so does the new key where it is.
                let home = key_source::recorded(place, &record.key);
                let settled = home.and_then(|home| home.settle(old).ok());
                named = settled == Some(true);
                settled.is_some()
            }
            Fate::Ours => key_source::recorded(place, old).is_none_or(|home| home.retire()),
        },
    };
    if !wiped || !settled || !lock.is_intact() {
        tracing::warn!("the old key or the old file of a re-key could not be removed yet");
        return record;
    }
    if named {
        record.key.generation = None;
    }
    if left.is_some() {
        record.left = left;
    }
    record.retiring = None;
    if record.write(place).is_err() {
        tracing::warn!("a re-key is done, but its record could not be completed");
    }
    record
}
