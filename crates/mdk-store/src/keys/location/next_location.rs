//! The place of the next key.

use super::{
    Home, Kind, check_new,
    generate::random_id,
    generation::{GENERATION, NEW},
    locate,
};
use crate::{DatabaseKey, KeyringKey, OpenError, files::Place, keys::key_metadata::KeySlot};

/// The place of the next key of a re-key: beside the present key, if both have the same place.
///
/// The next key file gets the name of the present one in the end, and the present one is removed for that. The next key
/// gets a random name if another database may need the present one, or if the present one has a random name for that
/// reason. `named`: `source` was given for the next key, and is not the source of the present one.
pub(crate) fn locate_next(
    place: &Place,
    source: &DatabaseKey,
    current: &KeySlot,
    named: bool,
) -> Result<Home, OpenError> {
    if named {
        check_new(source)?;
    }
    let bare = KeySlot { generation: None, file: None, ..current.clone() };
    let known = Some(&bare).filter(|slot| !named || completes(slot, source));
    let mut home = locate(place, source, known, true)?;
    // A key that is made now belongs to this database alone.
    home.slot.shared = false;
    if !home.keeps_keys() || !home.slot.same_place(&bare) {
        return Ok(home);
    }
    let generation = match home.kind {
        Kind::Keyring { .. } => random_generation()?,
        Kind::File(_) | Kind::Wrapped(..) if current.shared || current.generation.is_some() => {
            random_generation()?
        }
        _ => NEW.to_owned(),
    };
    home.set_generation(&generation);
    Ok(home)
}

/// Whether the record's entry of the present key may complete the place of the next one. A caller that names another
/// service means another place, about which the entry says nothing.
fn completes(slot: &KeySlot, source: &DatabaseKey) -> bool {
    match source {
        DatabaseKey::Keyring(key) => {
            key.service == KeyringKey::default().service
                || slot.service.as_ref() == Some(&key.service)
        }
        _ => true,
    }
}

fn random_generation() -> Result<String, OpenError> {
    Ok(random_id()?[..GENERATION].to_owned())
}
