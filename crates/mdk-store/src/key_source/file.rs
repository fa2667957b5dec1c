//! Key files: made whole or not at all, never replaced while their key counts.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use super::NEW;
use crate::{
    FileRole, OpenError,
    files::{self, Place},
    key_text,
    side_record::KeySlot,
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

/// The directory of a database.
fn directory(place: &Place) -> PathBuf {
    place.path(OsStr::new(""))
}

/// A directory as it will be found once what is missing of it has been made.
fn resolved(directory: &Path) -> std::io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    for there in directory.ancestors() {
        if let (Ok(found), Ok(missing)) = (there.canonicalize(), directory.strip_prefix(there)) {
            return Ok(found.join(missing));
        }
    }
    Ok(directory)
}

/// A path of a side record.
pub(super) fn resolve(place: &Place, path: &str) -> PathBuf {
    directory(place).join(path)
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
        let parent = resolved(parent).map_err(|_| bad)?;
        let path = parent.join(name);
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

    /// The file that a side record names.
    pub(super) fn recorded(place: &Place, path: &str) -> Result<Self, OpenError> {
        Self::new(&resolve(place, path))
    }

    /// Its path, for the side record: relative if it lies in the directory of the database.
    pub(super) fn text(&self, place: &Place) -> Option<String> {
        self.path.strip_prefix(directory(place)).unwrap_or(&self.path).to_str().map(str::to_owned)
    }

    /// The same with the generation that the side record has for it, and what that says about it, if it names it.
    pub(super) fn known_as<'a>(
        self,
        place: &Place,
        known: Option<&'a KeySlot>,
    ) -> Result<(Self, Option<&'a KeySlot>), OpenError> {
        let recorded = |slot: &KeySlot| slot.path.as_ref().map(|path| resolve(place, path));
        let path = known.and_then(recorded);
        if path.as_ref() == Some(&self.path) {
            let generation = known.and_then(|slot| slot.generation.as_deref());
            return Ok((self.with_generation(generation), known));
        }
        let (moved, before) = (self.path.file_name(), path.as_ref().and_then(|p| p.file_name()));
        if let Some(generation) = known.and_then(|slot| slot.generation.clone())
            && moved == before
        {
            // It was moved to another directory, its generation with it.
            let moved = Self::new(&self.path)?.with_generation(Some(&generation));
            if moved.exists()? {
                return Ok((moved, None));
            }
        }
        Ok((self, None))
    }

    pub(super) fn generation(&self) -> Option<&str> {
        self.generation.as_deref()
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
        if text.is_none() && self.takes_the_name() {
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

    /// Removes what a kill has left of [`Self::make`], a key that was never used, or of [`Self::remove_whole`]. Whether it
    /// is gone.
    pub(super) fn remove_temporary(&self) -> bool {
        let wiped = self.wipe_named(|name| files::with_suffix(name, ".tmp"));
        // What is no file was not put there by this software.
        matches!(wiped, Ok(()) | Err(OpenError::Symlink { .. } | OpenError::NotAFile { .. }))
    }

    /// Overwrites and removes a file whose key was recognised, under its temporary name: after a kill half-way nothing else
    /// would tell what was overwritten from what somebody else has put there. Whether it is gone.
    pub(super) fn remove_whole(&self) -> bool {
        let Ok(Some(place)) = self.place() else { return false };
        let name = self.name(&place);
        let moved = place
            .rename_new(&name, &files::with_suffix(&name, ".tmp"), FileRole::Key)
            .and_then(|()| place.sync_dir());
        moved.is_ok() && self.remove_temporary()
    }

    /// Overwrites and removes it. Whether it is gone.
    pub(super) fn wipe(&self) -> bool {
        self.wipe_named(OsStr::to_owned).is_ok()
    }

    fn wipe_named(&self, of_name: impl Fn(&OsStr) -> OsString) -> Result<(), OpenError> {
        let Some(place) = self.place()? else { return Ok(()) };
        place.wipe(&of_name(&self.name(&place)), FileRole::Key)?;
        place.sync_dir()
    }

    /// Whether it is one that will have the name of the file before it.
    fn takes_the_name(&self) -> bool {
        self.generation.as_deref() == Some(NEW)
    }

    /// Wipes the file whose name this one shall have, and takes the name.
    pub(super) fn settle(&self) -> Result<(), OpenError> {
        let Some(place) = self.place()?.filter(|_| self.takes_the_name()) else {
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
