//! The key of a database whose record is lost.
//!
//! A re-key gives a key in a keyring, and at times a key file, a name that is made from the one its owner knows and that
//! only the record has in full. So what is called so is looked at, too. Page 1 says which key it is.

use mdk_wire::Secret;

use super::{Home, Kind, entry_name, is_generation, locate};
use crate::{DatabaseKey, OpenError, files::Place, side_record::KeySlot, sqlcipher::key_fits};

/// How many keys are tried besides the one that has the name itself.
const MOST: usize = 32;

/// The place of the key of a database without a record, and the key. Changes nothing.
pub(crate) fn find(place: &Place, source: &DatabaseKey) -> Result<(Home, Secret<32>), OpenError> {
    // What cannot be read here is for the opening to judge.
    search(place, source, &|key| key_fits(place, place.name(), key).unwrap_or(false))
}

/// What a record would say of the place of this key, if the source still has it.
pub(crate) fn place_of(place: &Place, source: &DatabaseKey, key: &Secret<32>) -> Option<KeySlot> {
    let (home, found) = search(place, source, &|found| found == key).ok()?;
    (found == *key).then_some(home.slot)
}

fn search(
    place: &Place,
    source: &DatabaseKey,
    is_it: &dyn Fn(&Secret<32>) -> bool,
) -> Result<(Home, Secret<32>), OpenError> {
    let mut home = locate(place, source, None, false)?;
    let named = home.look();
    match &named {
        Ok(Some(key)) if !home.keeps_keys() || is_it(key) => {
            return Ok((home, key.clone()));
        }
        // A keyring that does not answer is not asked again.
        Err(
            error @ (OpenError::KeyringTimeout { .. }
            | OpenError::KeyringUnavailable
            | OpenError::KeyringLocked
            | OpenError::VolatileStore),
        ) => return Err(error.clone()),
        _ => {}
    }
    for generation in home.generations()? {
        let mut other = locate(place, source, None, false)?;
        other.set_generation(&generation);
        match other.look() {
            Ok(Some(key)) if is_it(&key) => return Ok((other, key)),
            Err(error @ OpenError::KeyringTimeout { .. }) => return Err(error),
            // Somebody else's, or no key at all.
            _ => {}
        }
    }
    // The end of a log may hold another page 1: whether it is the right one is for the opening to say.
    named?.map(|key| (home, key)).ok_or(OpenError::KeyMissing { source: source.source() })
}

impl Home {
    /// What the names of other keys end in that may have been made from this one's.
    fn generations(&self) -> Result<Vec<String>, OpenError> {
        let mut found = match &self.kind {
            Kind::Keyring { ring, name, .. } => {
                let begin = format!("{name}#");
                let names = ring.names(move |found| {
                    let generation = found.strip_prefix(&begin)?;
                    is_generation(generation).then(|| generation.to_owned())
                });
                names?
            }
            Kind::File(file) | Kind::Wrapped(file, ..) => file.generations(),
            Kind::Given(_) => Vec::new(),
        };
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST);
        Ok(found)
    }

    /// This is the key of that generation.
    pub(super) fn set_generation(&mut self, generation: &str) {
        match &mut self.kind {
            Kind::Keyring { name, .. } => {
                let id = self.slot.key_id.as_deref().unwrap_or_default();
                *name = entry_name(id, Some(generation));
            }
            Kind::File(file) | Kind::Wrapped(file, ..) => file.set_generation(Some(generation)),
            Kind::Given(_) => {}
        }
        self.slot.generation = Some(generation.to_owned());
    }
}
