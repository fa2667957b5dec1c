//! Keys that are given to us: never made, stored or removed here.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{self, Handle},
    key_text,
};

/// Where Docker and Podman mount secrets.
const RUN_SECRETS: &str = "/run/secrets";
/// Longest name of a file or of a variable.
const MAX_NAME: usize = 255;

/// Reads the key.
pub(super) fn read(source: &DatabaseKey) -> Result<Secret<32>, OpenError> {
    match source {
        DatabaseKey::Raw(key) => Ok(key.clone()),
        DatabaseKey::Env(name) => variable(name),
        DatabaseKey::Secret(name) => secret(name),
        DatabaseKey::Fd(fd) => key_text::decode_any(&contents(Handle::of(fd.take()?))?, true, "fd"),
        DatabaseKey::Callback(callback) => {
            // What it says or panics with may hold a secret.
            let given = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback()));
            let Ok(Ok(bytes)) = given else { return Err(OpenError::CallbackFailed) };
            let found = bytes.expose().len();
            Secret::from_slice(bytes.expose()).ok_or(OpenError::KeyLength { found })
        }
        other => Err(OpenError::KeyMissing { source: other.source() }),
    }
}

/// Checks the name of a variable.
pub(super) fn check_variable(name: &str) -> Result<(), OpenError> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(['=', '\0']) {
        return Err(OpenError::BadIdentifier { which: "variable name", limit: MAX_NAME });
    }
    Ok(())
}

/// Checks the name of a secret: a file name, not a path.
pub(super) fn check_secret(name: &str) -> Result<(), OpenError> {
    let path = name.contains(['/', '\\', '\0']) || name == "." || name == "..";
    if name.is_empty() || name.len() > MAX_NAME || path {
        return Err(OpenError::BadIdentifier { which: "secret name", limit: MAX_NAME });
    }
    Ok(())
}

fn variable(name: &str) -> Result<Secret<32>, OpenError> {
    let text = match std::env::var(name).map(Zeroizing::new) {
        Ok(text) => text,
        Err(std::env::VarError::NotPresent) => {
            return Err(OpenError::KeyMissing { source: "env" });
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            return Err(OpenError::KeyMalformed { source: "env" });
        }
    };
    key_text::decode_any(text.as_bytes(), false, "env")
}

fn secret(name: &str) -> Result<Secret<32>, OpenError> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    let dir = dir.map_or_else(|| PathBuf::from(RUN_SECRETS), PathBuf::from);
    let file = open_secret(&dir.join(name))?;
    key_text::decode_any(&contents(file)?, true, "secret")
}

/// Opens a secret. Orchestrators put links there and let root own the files, so links are followed.
fn open_secret(path: &Path) -> Result<Handle, OpenError> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => OpenError::KeyMissing { source: "secret" },
        _ => files::io_error("opening", FileRole::Key, &e),
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(OpenError::NotAFile { role: FileRole::Key });
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = meta.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(OpenError::ForeignOwner { role: FileRole::Key });
        }
        if meta.mode() & 0o022 != 0 {
            return Err(OpenError::KeyFileTooWide { mode: meta.mode() & 0o7777 });
        }
    }
    files::open(path).map_err(failed)
}

fn contents(file: Handle) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let limit = key_text::MAX_LEN + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(limit));
    file.take(limit as u64)
        .read_to_end(&mut text)
        .map_err(|e| files::io_error("reading", FileRole::Key, &e))?;
    Ok(text)
}
