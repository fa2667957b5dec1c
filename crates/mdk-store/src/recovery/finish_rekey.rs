//! The work after a database was opened: an interrupted re-key is finished or undone, and the record is brought up to
//! date.

use std::time::{SystemTime, UNIX_EPOCH};

use mdk_wire::Secret;

use super::{
    key_lookup::FoundKey,
    state::{Keys, Metadata, OtherKey},
    what_to_do::{Fate, Step, after_opening, fate},
};
use crate::{
    FileRole,
    files::{
        OwnerLock, Place,
        names::{rekey_name, remove_side_cars},
    },
    keys::{
        key_metadata::{DatabaseStage, KeySlot, Record},
        location,
    },
};

/// Puts the files in order beside a database that `found` has just opened. Work that cannot be done now is done at the
/// next opening; the database is good either way. Returns the record as it is then.
pub(crate) fn put_in_order(
    place: &Place,
    lock: &OwnerLock,
    record: Option<Record>,
    found: FoundKey,
) -> Record {
    let metadata = record.as_ref().map_or(Metadata::Missing, |record| record.stage.into());
    let two = record.as_ref().is_some_and(|record| record.other_key.is_some());
    let keys = if two { Keys::Two } else { Keys::One };
    let FoundKey { mut home, key, role } = found;
    match (after_opening(metadata, keys, role), record) {
        (Step::TakeOther, Some(record)) => end_rekey(place, lock, record, true, &key),
        (Step::DropOther, Some(record)) => end_rekey(place, lock, record, false, &key),
        (Step::NoteMove, Some(mut moved)) => {
            if let Some(other) = &mut moved.other_key
                && !moved.key.is_of(&key)
            {
                std::mem::swap(other, &mut moved.key);
            }
            moved.note_salt(place);
            moved.key.path = home.slot.path.clone();
            moved.key.generation = home.slot.generation.clone();
            // The key was found here, so it may be the key of the database that this is a copy of.
            moved.key.shared = true;
            note(place, &moved);
            moved
        }
        (Step::NoteSalt, Some(mut record)) => {
            if record.note_salt(place) {
                note(place, &record);
            }
            record
        }
        (_, before) => {
            let begun = before.as_ref().is_some_and(|record| {
                record.stage.is_begun()
                    && record.key.is_begun_by(&key, place)
                    && record.key.same_place(&home.slot)
            });
            // A key that was not made for this very database may belong to another one. The key of a passphrase is
            // beside the database.
            home.slot.shared |= !begun && matches!(home.slot.source.as_str(), "file" | "keyring");
            // The leftover of an interrupted encryption is still to be overwritten.
            let stage = match before.as_ref().is_some_and(|record| record.stage.is_encrypting()) {
                true => DatabaseStage::ReadyWithPlainCopy,
                false => DatabaseStage::Ready,
            };
            let mut record = Record::new(place, stage, home.slot.clone());
            record.note_salt(place);
            record.left = before.and_then(|before| before.other_key.or(before.left));
            note(place, &record);
            record
        }
    }
}

/// Writes the record of a database that is open. If that fails, the next opening does it.
fn note(place: &Place, record: &Record) {
    if record.write(place).is_err() {
        tracing::warn!("the record of where the key is could not be written");
    }
}

/// Ends a re-key. The key that has opened the database stays, and the other one goes with its file. `is_other`: the key
/// that opened is the one that the record calls the other. `key` is its value. A caller that has lost the lock leaves
/// it all to the next owner.
pub(crate) fn end_rekey(
    place: &Place,
    lock: &OwnerLock,
    mut record: Record,
    is_other: bool,
    key: &Secret<32>,
) -> Record {
    if !lock.is_intact() {
        return record;
    }
    let Some(mut other) = record.other_key.take() else { return record };
    if is_other {
        std::mem::swap(&mut record.key, &mut other);
        record.rekeyed_at = Some(now());
    }
    record.note_salt(place);
    let name = rekey_name(place);
    remove_side_cars(place, &name);
    let wiped = place.wipe(&name, FileRole::Database).and_then(|()| place.sync_dir()).is_ok();
    let fate = fate_of(&record, &other, key);
    let takes_name = record.key.generation.as_deref() == Some(location::NEW);
    let mut named = false;
    let gone = match fate {
        Fate::Kept | Fate::Foreign => true,
        // Both keys have the same file in the end: taking the name removes the old key. A file that somebody else has
        // put there stays, and so does the new key where it is.
        Fate::Ours if takes_name && !record.key.shared => {
            let home = location::recorded(place, &record.key);
            let settled = home.and_then(|home| home.settle(&other).ok());
            named = settled == Some(true);
            settled.is_some()
        }
        Fate::Ours => location::recorded(place, &other).is_none_or(|home| home.retire()),
    };
    if !wiped || !gone || !lock.is_intact() {
        tracing::warn!("the other key or the other file of a re-key could not be removed yet");
        record.other_key = Some(other);
        if !lock.is_intact() {
            return record;
        }
    } else {
        if named {
            record.key.generation = None;
        }
        if fate == Fate::Foreign {
            record.left = Some(other);
        }
        record.key = record.key.unbound();
    }
    note(place, &record);
    record
}

/// The fate of the other key of a re-key. `key` is the one that has just opened the database.
fn fate_of(record: &Record, other: &KeySlot, key: &Secret<32>) -> Fate {
    let counts = other.is_of(key) || other.same_place(&record.key) || !location::is_kept(other);
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
