//! Key files: made whole or not at all, never replaced while their key counts.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use crate::{
    FileRole, OpenError,
    files::{self, Place},
    key_text,
};

/// The longest key file.
const MAX_LEN: u64 = 512;

/// A file for one key. Looking at it makes nothing.
pub(super) struct KeyFile {
    /// Its directory resolved, as far as that exists.
    path: PathBuf,
    generation: Option<String>,
    /// Where [`Self::make`] has made it.
    made: Option<Place>,
}

/// The content of a plain key file.
pub(super) fn line(key: &Secret<32>) -> Zeroizing<Vec<u8>> {
    let text = key_text::encode(key);
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

impl KeyFile {
    pub(super) fn new(path: &Path) -> Result<Self, OpenError> {
        let bad = OpenError::BadPath { role: FileRole::Key };
        let name = path.file_name().ok_or(bad.clone())?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let path = match std::fs::canonicalize(parent) {
            Ok(parent) => parent.join(name),
            Err(_) => std::path::absolute(path).map_err(|_| bad)?,
        };
        Ok(Self { path, generation: None, made: None })
    }

    /// The key file of a passphrase: `NAME.key` beside the database.
    pub(super) fn beside(place: &Place) -> Result<Self, OpenError> {
        Self::new(&place.path(&files::with_suffix(place.name(), ".key")))
    }

    pub(super) fn with_generation(mut self, generation: Option<&str>) -> Self {
        self.set_generation(generation);
        self
    }

    pub(super) fn set_generation(&mut self, generation: Option<&str>) {
        self.generation = generation.map(str::to_owned);
    }

    /// Its path, for the side record.
    pub(super) fn text(&self) -> Option<String> {
        self.path.to_str().map(str::to_owned)
    }

    /// Its name in `place`, which is its directory.
    fn name(&self, place: &Place) -> OsString {
        match &self.generation {
            None => place.name().to_owned(),
            Some(generation) => files::with_suffix(place.name(), &format!(".{generation}")),
        }
    }

    /// Its directory, if that exists.
    fn place(&self) -> Result<Option<Place>, OpenError> {
        match self.path.parent() {
            Some(parent) if !parent.exists() => Ok(None),
            _ => Place::of(&self.path, FileRole::Key).map(Some),
        }
    }

    /// What stands in it.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
        let Some(place) = self.place()? else { return Ok(None) };
        let name = self.name(&place);
        let text = read(&place, &name)?;
        // A re-key that was killed when its file had its name already.
        if text.is_none() && self.generation.is_some() {
            return read(&place, place.name());
        }
        Ok(text)
    }

    /// Whether something has its name.
    pub(super) fn exists(&self) -> Result<bool, OpenError> {
        let Some(place) = self.place()? else { return Ok(false) };
        Ok(place.inspect(&self.name(&place), FileRole::Key)?.is_some())
    }

    /// Writes it under a temporary name and renames it, so that it is whole or not there; then reads it back.
    pub(super) fn make(&mut self, text: &[u8]) -> Result<(), OpenError> {
        let place = Place::of(&self.path, FileRole::Key)?;
        let name = self.name(&place);
        let temp = files::with_suffix(&name, ".tmp");
        // Left over from a crash: the key in it has encrypted nothing, for it comes into use after the rename. What does not
        // begin as a key does is somebody else's.
        match read(&place, &temp)? {
            None => {}
            Some(left) if left.iter().zip(text).take(8).all(|(a, b)| a == b) => place.remove(&temp),
            Some(_) => return Err(OpenError::BadPath { role: FileRole::Key }),
        }
        let mut named = false;
        let made = place
            .create_new(&temp, FileRole::Key)
            .and_then(|mut file| {
                file.write_all(text)
                    .and_then(|()| file.sync_all())
                    .map_err(|e| files::io_error("writing", FileRole::Key, &e))
            })
            .and_then(|()| place.rename_new(&temp, &name, FileRole::Key))
            .and_then(|()| {
                named = true;
                place.sync_dir()
            })
            .and_then(|()| match read(&place, &name)? {
                Some(back) if *back == text => Ok(()),
                _ => Err(OpenError::KeyReadBack),
            });
        if made.is_err() {
            place.remove(&temp);
            if named {
                place.remove(&name);
            }
            place.remove_made_dirs();
            return made;
        }
        self.made = Some(place);
        made
    }

    /// Takes back what [`Self::make`] has made.
    pub(super) fn unmake(&self) {
        if let Some(place) = &self.made {
            let name = self.name(place);
            if place.wipe(&name, FileRole::Key).is_err() {
                place.remove(&name);
            }
            let _ = place.sync_dir();
            place.remove_made_dirs();
        }
    }

    /// Removes what a kill has left of [`Self::make`]: a key that was never used.
    pub(super) fn remove_temporary(&self) {
        if let Ok(Some(place)) = self.place() {
            let temp = files::with_suffix(&self.name(&place), ".tmp");
            // That it cannot be done, or is not there, is fine: nothing depends on it.
            let _ = place.wipe(&temp, FileRole::Key);
        }
    }

    /// Overwrites and removes it. Whether it is gone.
    pub(super) fn wipe(&self) -> bool {
        match self.place() {
            Ok(None) => true,
            Ok(Some(place)) => {
                let name = self.name(&place);
                place.wipe(&name, FileRole::Key).and_then(|()| place.sync_dir()).is_ok()
            }
            Err(_) => false,
        }
    }

    /// Wipes the file whose name this one shall have, and takes the name.
    pub(super) fn settle(&self) -> Result<(), OpenError> {
        let Some(place) = self.place()?.filter(|_| self.generation.is_some()) else {
            return Ok(());
        };
        let name = self.name(&place);
        if place.inspect(&name, FileRole::Key)?.is_some() {
            place.wipe(place.name(), FileRole::Key)?;
            place.rename_new(&name, place.name(), FileRole::Key)?;
        }
        place.sync_dir()
    }
}

fn read(place: &Place, name: &OsStr) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
    let Some(found) = place.inspect(name, FileRole::Key)? else { return Ok(None) };
    if found.mode & 0o077 != 0 {
        return Err(OpenError::KeyFileTooWide { mode: found.mode });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN as usize + 1));
    found
        .file
        .take(MAX_LEN + 1)
        .read_to_end(&mut text)
        .map_err(|e| files::io_error("reading", FileRole::Key, &e))?;
    Ok(Some(text))
}
