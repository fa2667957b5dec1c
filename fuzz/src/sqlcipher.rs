//! What the backup format of mdk-store needs of that crate.

pub(crate) mod undumped;
