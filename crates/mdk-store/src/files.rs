//! Files that are private from birth: modes, owners, links, directories and the owner lock.
//!
//! On Unix every file is reached through a descriptor of its directory, is created with mode 0600 and never followed
//! through a symbolic link. On Windows files and directories get a protected access list at creation; that part was
//! never run on Windows, see `files/windows.rs`.

#[cfg(any(windows, test))]
mod acl;
mod file_system;
pub(crate) mod names;
mod open_databases;
mod owner_lock;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(unix, windows)))]
compile_error!("files can be kept private on Unix and on Windows only");

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

pub(crate) use file_system::Verdict;
pub use open_databases::open_to_read;
pub(crate) use open_databases::{Handle, Id, InProcess, InUse, open, refuse_forked};
pub(crate) use owner_lock::OwnerLock;
pub use owner_lock::let_go_in_child;
#[cfg(unix)]
pub(crate) use unix::Place;
#[cfg(windows)]
pub(crate) use windows::Place;

use crate::{FileRole, OpenError};

/// A file that exists and passed the checks of its kind, owner and links.
pub(crate) struct Found {
    pub(crate) file: Handle,
    pub(crate) size: u64,
    pub(crate) mode: u32,
}

/// An [`OpenError`] from an error of the operating system. The text of that error may hold a path and is left out.
pub(crate) fn io_error(action: &'static str, role: FileRole, error: &io::Error) -> OpenError {
    OpenError::Io { action, role, kind: error.kind() }
}

/// Whether there is no such directory. A directory that cannot be seen may exist.
pub(crate) fn is_missing(directory: &Path) -> bool {
    matches!(directory.try_exists(), Ok(false))
}

/// The future path of a directory, after its missing parts have been made.
pub(crate) fn resolved(directory: &Path) -> io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    for there in directory.ancestors() {
        if let (Ok(found), Ok(missing)) = (there.canonicalize(), directory.strip_prefix(there)) {
            return Ok(found.join(missing));
        }
    }
    Ok(directory)
}

/// `name` followed by `suffix`.
pub(crate) fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}
