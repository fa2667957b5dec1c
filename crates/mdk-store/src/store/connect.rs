//! A connection with the schema of this version.

use std::ffi::OsStr;

use mdk_wire::Secret;

use super::schema::migrate;
use crate::{
    OpenError,
    files::Place,
    sqlcipher::{configure, configure::open_configured, connection::Conn},
};

/// Opens a file, configures the connection and brings the schema to the newest version. `fresh`: the file was created
/// for this call and is still empty.
pub(crate) fn connect(
    place: &Place,
    name: &OsStr,
    key: &Secret<32>,
    fresh: bool,
) -> Result<Conn, OpenError> {
    open_configured(place, name, key, fresh, |conn| migrate(conn, fresh))
}

/// A database in memory: not encrypted, gone when dropped.
pub(crate) fn in_memory() -> Result<Conn, OpenError> {
    let mut conn = configure::open_in_memory()?;
    migrate(&mut conn, true)?;
    Ok(conn)
}
