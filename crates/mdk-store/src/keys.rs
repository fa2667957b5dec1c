//! The key of a database: its place, how it is read, made and removed, and the record of that beside the database.

pub(crate) mod database_key;
mod environment;
pub(crate) mod key_metadata;
pub(crate) mod keyring;
pub(crate) mod location;
pub(crate) mod text_format;
