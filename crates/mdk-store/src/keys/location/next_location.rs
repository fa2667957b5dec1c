//! The place of the next key.

use super::{
    Home, Kind, check_new,
    generate::random_id,
    generation::{GENERATION, NEW},
    locate,
};
use crate::{DatabaseKey, KeyringKey, OpenError, files::Place, keys::key_metadata::KeySlot};

/// The place where the next key of a re-key goes: beside the present one, if it is the same place.
///
/// The next key file has the name of the present one in the end, which is removed for that. Where the present one may
/// be needed by another database, or has a random name already because of that, the next one gets a random name, too.
/// `named` says that `source` was given for the next key, and is not that of the present one.
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
    // Whatever is made now is this database's alone.
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

/// Whether what the record says of the present key may complete the place of the next one. Whoever names another service
/// means another place, of which it says nothing.
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
