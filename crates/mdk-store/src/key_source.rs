//! Fetching the key of a database, and making one on first open. A key that exists is never changed or deleted.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mdk_wire::Secret;
use zeroize::Zeroizing;

use crate::{
    DatabaseKey, FileRole, OpenError,
    files::{self, Place},
};

/// First line of a key file: format and version.
const PREFIX: &str = "mdk-key-1:";
/// Prefix, 44 base64 characters and a line end, with room for a `\r\n`.
const MAX_LEN: u64 = 64;

/// A key source that is looked at but not changed yet.
pub(crate) enum KeyState {
    /// The key is there.
    Present(Secret<32>),
    /// There is none yet; one may be made here.
    Absent(PathBuf),
}

/// What a first open needs to know about where its key came from.
pub(crate) struct NewKey {
    pub(crate) key: Secret<32>,
    /// Where the key file was created by this very call; it is taken back if the call fails.
    created: Option<Place>,
}

impl NewKey {
    /// Takes back a key that this call created, because the database was not.
    pub(crate) fn undo(&self) {
        if let Some(place) = &self.created {
            place.remove(place.name());
            place.remove_made_dirs();
        }
    }
}

/// Looks for the key.
pub(crate) fn find(source: &DatabaseKey) -> Result<KeyState, OpenError> {
    match source {
        DatabaseKey::Raw(key) => Ok(KeyState::Present(key.clone())),
        DatabaseKey::File(path) => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            // Looking must not make the directory.
            if parent.is_some_and(|p| !p.exists()) {
                return Ok(KeyState::Absent(path.clone()));
            }
            let place = Place::of(path, FileRole::Key)?;
            match place.inspect(place.name(), FileRole::Key)? {
                Some(found) => {
                    if found.mode & 0o077 != 0 {
                        return Err(OpenError::KeyFileTooWide { mode: found.mode });
                    }
                    read(found.file).map(KeyState::Present)
                }
                None => Ok(KeyState::Absent(path.clone())),
            }
        }
    }
}

/// The key for a new database: the one that is there, or a fresh one, stored and read back.
pub(crate) fn obtain(state: KeyState) -> Result<NewKey, OpenError> {
    let place = match state {
        KeyState::Present(key) => return Ok(NewKey { key, created: None }),
        KeyState::Absent(path) => Place::of(&path, FileRole::Key)?,
    };
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| OpenError::Io {
        action: "getting random bytes for",
        role: FileRole::Key,
        kind: std::io::ErrorKind::Other,
    })?;
    let key = Secret::new(*bytes);
    if let Err(error) = create(&place, &key) {
        place.remove_made_dirs();
        return Err(error);
    }
    let made = NewKey { key, created: Some(place) };
    check(&made).inspect_err(|_| made.undo())?;
    Ok(made)
}

/// Writes the key under a temporary name and renames it, so that a key file is whole or not there.
fn create(place: &Place, key: &Secret<32>) -> Result<(), OpenError> {
    let temp = files::with_suffix(place.name(), ".tmp");
    // Left over from a crash: the key in it has encrypted nothing, for a database is made only after the rename.
    place.remove(&temp);
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN as usize));
    text.push_str(PREFIX);
    STANDARD.encode_string(key.expose(), &mut text);
    text.push('\n');
    let written = place
        .create_new(&temp, FileRole::Key)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|e| files::io_error("writing", FileRole::Key, &e))
        })
        .and_then(|()| place.rename_new(&temp, place.name(), FileRole::Key));
    if let Err(error) = written {
        place.remove(&temp);
        return Err(error);
    }
    Ok(())
}

/// Syncs the directory of a new key file and compares what stands in it.
fn check(made: &NewKey) -> Result<(), OpenError> {
    let Some(place) = &made.created else {
        return Ok(());
    };
    place.sync_dir()?;
    let found = place.inspect(place.name(), FileRole::Key)?.ok_or(OpenError::KeyReadBack)?;
    match read(found.file) {
        Ok(back) if back == made.key => Ok(()),
        _ => Err(OpenError::KeyReadBack),
    }
}

/// Reads and decodes a key file.
fn read(file: std::fs::File) -> Result<Secret<32>, OpenError> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN as usize + 1));
    file.take(MAX_LEN + 1)
        .read_to_end(&mut text)
        .map_err(|e| files::io_error("reading", FileRole::Key, &e))?;
    decode(&text).ok_or(OpenError::KeyFileMalformed)
}

fn decode(text: &[u8]) -> Option<Secret<32>> {
    if text.len() as u64 > MAX_LEN {
        return None;
    }
    let body = text.trim_ascii_end().strip_prefix(PREFIX.as_bytes())?;
    // The decoder may want room for one group more than there is.
    let mut out = Zeroizing::new([0u8; 48]);
    let len = STANDARD.decode_slice(body, out.as_mut()).ok()?;
    Some(Secret::new(out.get(..len)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_read_strictly() {
        let body = STANDARD.encode([7u8; 32]);
        assert!(decode(format!("{PREFIX}{body}\n").as_bytes()).is_some());
        assert!(decode(format!("{PREFIX}{body}").as_bytes()).is_some());
        for bad in [
            String::new(),
            body.clone(),
            format!("mdk-key-2:{body}"),
            format!("{PREFIX}{body}x"),
            format!("{PREFIX}{}", STANDARD.encode([7u8; 31])),
            format!("{PREFIX}{}", STANDARD.encode([7u8; 33])),
            format!("{PREFIX}{body}\n{}", " ".repeat(64)),
        ] {
            assert!(decode(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
