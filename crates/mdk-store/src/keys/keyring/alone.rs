//! A lock for all processes of a user. Only one at a time looks for a key in a keyring and makes it, because no keyring
//! can do both in one step.
//!
//! The lock is a file in a folder that is the same for all of them. Variables name the home and the runtime folder, and
//! cron jobs and services lack these or have other ones. Where the lock cannot be made, the work goes on without it:
//! the key is looked at once more before its database counts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    FileRole, OpenError,
    files::{OwnerLock, Place},
};

/// The lock of a name in a service; `None` where there is no place for it.
///
/// # Errors
/// [`OpenError::Busy`] when another process has it for the whole timeout.
pub(super) fn alone(
    service: &str,
    name: &str,
    wait: Duration,
) -> Result<Option<OwnerLock>, OpenError> {
    let folder = folder();
    let place = Place::of(&folder.join(file(service, name)), FileRole::Lock);
    if !is_ours(&folder) {
        return Ok(None);
    }
    match place.and_then(|place| OwnerLock::take(&place, wait)) {
        Ok(lock) => Ok(Some(lock)),
        Err(busy @ OpenError::Busy { .. }) => Err(busy),
        Err(error) => {
            tracing::debug!(%error, "keys are made without a lock");
            Ok(None)
        }
    }
}

#[cfg(unix)]
fn folder() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    PathBuf::from(format!("/tmp/mdk-keyring-{user}"))
}

/// Whether nobody else has put the folder there. Another user could take the lock for good.
#[cfg(unix)]
fn is_ours(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(folder);
    let user = rustix::process::geteuid().as_raw();
    found.is_ok_and(|meta| meta.is_dir() && meta.uid() == user && meta.mode() & 0o022 == 0)
}

#[cfg(not(unix))]
fn folder() -> PathBuf {
    std::env::temp_dir().join("mdk-keyring")
}

#[cfg(not(unix))]
fn is_ours(folder: &Path) -> bool {
    folder.is_dir()
}

/// One of 256 files, so that their number does not grow with each database.
fn file(service: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(service);
    hash.update([0]);
    hash.update(name);
    format!("{:02x}", hash.finalize()[0])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time() {
        let name = format!("a test in process {}", std::process::id());
        let short = Duration::from_millis(1);
        let first = alone("service", &name, short).unwrap();
        assert!(first.is_some());
        assert!(matches!(alone("service", &name, short), Err(OpenError::Busy { .. })));
        drop(first);
        assert!(alone("service", &name, short).unwrap().is_some());
    }
}
