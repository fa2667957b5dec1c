//! One value that the client keeps in a database, read while nobody has it open.

use std::path::Path;

use rusqlite::OptionalExtension as _;

use super::{VaultError, log::Log, look, scratch::Scratch, verify::identity};
use crate::{DatabaseKey, OpenError, StoreError, client_state, key_source};

/// The value that stands under `name` in the client's state. Changes nothing, as [`verify`](super::verify()) does.
///
/// # Errors
/// As [`verify`](super::verify()); [`VaultError::Store`]: it cannot be read.
pub fn remembered(
    path: &Path,
    key: &DatabaseKey,
    name: &str,
) -> Result<Option<Vec<u8>>, VaultError> {
    look::check_keys(path, [key])?;
    let source = look::Source::take_to_read(path)?;
    if source.is_plain()? {
        return Err(OpenError::NotEncrypted.into());
    }
    source.require_first_page()?;
    let key = key_source::existing(&source.place, key)?;
    let log = Log::read(source.log_file.as_ref(), &source.file)?;
    let with_log = !log.pages.is_empty();
    let copy = match with_log && source.place.is_read_only() {
        true => Some(Scratch::of(&source.place)?),
        false => None,
    };
    let place = copy.as_ref().map_or(&source.place, |copy| &copy.place);
    let conn = look::connect(place, place.name(), Some(&key), with_log)?;
    identity(&conn)?;
    let found = conn.query_row(client_state::STATE, [name], |row| row.get(0)).optional();
    Ok(found.map_err(StoreError::from)?)
}
