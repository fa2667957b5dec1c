//! Files that are private from birth: modes, owners, links, directories and the owner lock.
//!
//! On Unix every file is reached through a descriptor of its directory, is created with mode 0600 and never followed
//! through a symbolic link. Elsewhere only the standard library is used: files inherit the access rules of their
//! directory, and owners and links are not checked.

mod lock;
#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::{ffi::OsStr, ffi::OsString, fs::File, io};

pub(crate) use lock::OwnerLock;
#[cfg(not(unix))]
pub(crate) use portable::Place;
#[cfg(unix)]
pub(crate) use unix::Place;

use crate::{FileRole, OpenError};

/// A file that exists and passed the checks of its kind, owner and links.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) mode: u32,
}

/// An [`OpenError`] from an error of the operating system, without its text, which may hold a path.
pub(crate) fn io_error(action: &'static str, role: FileRole, error: &io::Error) -> OpenError {
    OpenError::Io { action, role, kind: error.kind() }
}

/// `name` followed by `suffix`.
pub(crate) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}
