//! Keys that are given to us. They are never made, stored or removed here.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{self, Handle},
    keys::{
        environment::{self, MAX_NAME},
        text_format,
    },
};

/// The folder in which Docker and Podman mount secrets.
const RUN_SECRETS: &str = "/run/secrets";

/// See [`on_signal`].
static ASK: OnceLock<fn() -> bool> = OnceLock::new();

/// Sets the question for a signal that arrives while a key is read from a descriptor. `true` ends the reading with
/// [`OpenError::CallbackFailed`]. Only the first question counts. Without one the reading goes on.
pub fn on_signal(ask: fn() -> bool) {
    let _ = ASK.set(ask);
}

/// Reads the key.
pub(super) fn read(source: &DatabaseKey) -> Result<Secret<32>, OpenError> {
    match source {
        DatabaseKey::Raw(key) | DatabaseKey::Taken { key, .. } => Ok(key.clone()),
        DatabaseKey::Env(name) => environment::variable(name),
        DatabaseKey::Secret(name) => secret(name),
        DatabaseKey::Fd(fd) => {
            text_format::decode_any(&contents(Handle::of(fd.take()?))?, true, "fd")
        }
        DatabaseKey::Callback(callback) => {
            // The error or the panic of a callback may hold a secret.
            let given = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback()));
            let Ok(Ok(bytes)) = given else { return Err(OpenError::CallbackFailed) };
            let found = bytes.expose().len();
            Secret::from_slice(bytes.expose()).ok_or(OpenError::KeyLength { found })
        }
        other => Err(OpenError::KeyMissing { source: other.source() }),
    }
}

/// Checks the name of a secret: a file name, not a path.
pub(super) fn check_secret(name: &str) -> Result<(), OpenError> {
    let path = name.contains(['/', '\\', '\0']) || name == "." || name == "..";
    if name.is_empty() || name.len() > MAX_NAME || path {
        return Err(OpenError::BadIdentifier { which: "secret name", limit: MAX_NAME });
    }
    Ok(())
}

fn secret(name: &str) -> Result<Secret<32>, OpenError> {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty());
    let dir = dir.map_or_else(|| PathBuf::from(RUN_SECRETS), PathBuf::from);
    let file = open_secret(&dir.join(name))?;
    text_format::decode_any(&contents(file)?, true, "secret")
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
    read_all(file, || ASK.get().is_some_and(|ask| ask()))
}

/// Reads to the end, or as far as a key may reach. A pipe may send nothing for long. After a signal `ask` tells whether
/// to stop waiting.
fn read_all(mut input: impl Read, ask: impl Fn() -> bool) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut text = Zeroizing::new(vec![0; text_format::MAX_LEN + 1]);
    let mut length = 0;
    while length < text.len() {
        match input.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(e) if e.kind() == ErrorKind::Interrupted => {
                if ask() {
                    return Err(OpenError::CallbackFailed);
                }
            }
            Err(e) => return Err(files::io_error("reading", FileRole::Key, &e)),
        }
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A pipe on which signals arrive before each piece.
    struct Slow<'a>(&'a [&'a str], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let Some((piece, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buf[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    #[test]
    fn a_signal_ends_the_reading_of_a_key_if_somebody_says_so() {
        let pieces = ["mdk-", "key", "-1"];
        let text = read_all(Slow(&pieces, false), || false).unwrap();
        assert_eq!(*text, b"mdk-key-1");
        let asked = Cell::new(0);
        let at_the_second = || asked.replace(asked.get() + 1) == 1;
        let error = read_all(Slow(&pieces, false), at_the_second).unwrap_err();
        assert_eq!((error, asked.get()), (OpenError::CallbackFailed, 2));
        let long = ["x".repeat(text_format::MAX_LEN), "y".into(), "z".into()];
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let text = read_all(Slow(&long, false), || false).unwrap();
        assert_eq!(text.len(), text_format::MAX_LEN + 1);
    }
}
