//! One value that the client keeps in a database, read while nobody has it open.

use std::path::Path;

use rusqlite::OptionalExtension as _;

use super::{VaultError, look, verify::identity};
use crate::{
    DatabaseKey, OpenError, StoreError,
    recovery::existing_key,
    sqlcipher::{ReadOnly, is_sound, open_read_only},
    store::tables::client_state,
};

/// The value of `name` in the client's state. Changes nothing, as [`verify`](super::verify()) does.
///
/// # Errors
/// As [`verify`](super::verify()); [`VaultError::Store`]: it cannot be read.
pub fn remembered(
    path: &Path,
    key: &DatabaseKey,
    name: &str,
) -> Result<Option<Vec<u8>>, VaultError> {
    look::check_keys(path, [key])?;
    let source = look::Source::take(path)?;
    if source.is_plain()? {
        return Err(OpenError::NotEncrypted.into());
    }
    source.require_first_page()?;
    let (place, with_log) = (&source.place, source.has_log());
    let key = existing_key(place, key)?;
    let conn =
        open_read_only(&ReadOnly { with_log, ..ReadOnly::keyed(place, place.name(), &key) })?;
    identity(&conn)?;
    let found = conn.query_row(client_state::STATE, [name], |row| row.get(0)).optional();
    let found = found.map_err(StoreError::from)?;
    if is_sound(&conn) { Ok(found) } else { Err(StoreError::Corrupt.into()) }
}
