//! Where the key of a database is, how it is read, made and removed; and what stands beside the database about that.

pub(crate) mod database_key;
mod environment;
pub(crate) mod key_metadata;
pub(crate) mod keyring;
pub(crate) mod location;
pub(crate) mod text_format;
