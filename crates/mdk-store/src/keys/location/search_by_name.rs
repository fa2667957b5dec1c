//! Keys of a database whose record is lost.
//!
//! A re-key gives a key in a keyring, and at times a key file, a new name. That name is made from the one its owner
//! knows, and only the record has it in full. So keys of such names are looked at, too.

use mdk_wire::Secret;

use super::{
    Home, Kind,
    generation::{entry_name, is_generation},
    locate,
};
use crate::{DatabaseKey, OpenError, files::Place, keys::key_metadata::KeySlot};

/// The most keys that are tried besides the one that has the name itself.
const MOST: usize = 32;

/// The places of other keys whose names may have been made from the name of this one.
pub(crate) fn others_of_name(place: &Place, source: &DatabaseKey) -> Result<Vec<Home>, OpenError> {
    let of = |generation: String| {
        let mut home = locate(place, source, None, false)?;
        home.set_generation(&generation);
        Ok(home)
    };
    locate(place, source, None, false)?.generations()?.into_iter().map(of).collect()
}

/// The entry for a record with the place of this key, if the source still has it.
pub(crate) fn place_of(place: &Place, source: &DatabaseKey, key: &Secret<32>) -> Option<KeySlot> {
    let is_here = |home: &mut Home| matches!(home.look(), Ok(Some(found)) if found == *key);
    let mut home = locate(place, source, None, false).ok()?;
    if is_here(&mut home) {
        return Some(home.slot);
    }
    let others = others_of_name(place, source).ok()?;
    others.into_iter().find_map(|mut home| is_here(&mut home).then_some(home.slot))
}
impl Home {
    /// The suffixes of other keys whose names may have been made from this one's.
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

    /// Makes this the key of that generation.
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
