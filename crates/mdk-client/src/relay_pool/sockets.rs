//! How many connections there may be.

use mdk_wire::budget::relay::{SOCKET_SHARE, SOCKETS};

/// How many connections the process may have: a share of the files that it may have open.
pub(crate) fn sockets() -> usize {
    (open_files() / SOCKET_SHARE).min(SOCKETS)
}

#[cfg(unix)]
fn open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}
