//! Key files. They are made whole or not at all, and never replaced while their key counts.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use mdk_wire::Secret;
use zeroize::Zeroizing;

use super::{
    generation::{NEW, is_generation},
    passphrase_file,
};
use crate::{
    FileRole, OpenError,
    files::{self, Place, names},
    keys::{key_metadata::KeySlot, text_format},
};

/// The longest key file.
const MAX_LEN: u64 = 512;

/// A file for one key. Reading it makes nothing.
pub(super) struct KeyFile {
    /// The path with its directory resolved, as far as that exists.
    path: PathBuf,
    generation: Option<String>,
    /// The place in which [`Self::make`] has made it.
    made: Option<Place>,
}

/// The directory of a database.
fn directory(place: &Place) -> PathBuf {
    place.path(OsStr::new(""))
}

/// The longest suffix that the name may get: the suffix of another key beside it, while it is written.
const LONGEST: &str = ".12345678.tmp";

const NOT_TEXT: &str =
    "it is not UTF-8, so the record beside the database cannot name it; use another path";

/// A path of a side record.
pub(super) fn resolve(place: &Place, path: &str) -> PathBuf {
    directory(place).join(path)
}

/// The content of a plain key file.
pub(super) fn line(key: &Secret<32>) -> Zeroizing<Vec<u8>> {
    let text = text_format::encode(key);
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
        let parent = files::resolved(parent).map_err(|_| bad)?;
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

    /// Fails for a path that cannot be recorded, and for a name that leaves no room for the name of the next key.
    pub(super) fn check_new(&self, place: &Place) -> Result<(), OpenError> {
        let role = FileRole::Key;
        if self.text(place).is_none() {
            return Err(OpenError::BadName { role, why: NOT_TEXT });
        }
        names::fits(self.path.file_name().unwrap_or_default(), LONGEST, role)
    }

    /// The same file with the generation in the side record, and the record's entry, if the record names this file.
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
            // The file was moved to another directory, and its generation with it.
            let moved = Self::new(&self.path)?.with_generation(Some(&generation));
            if moved.is_there()? {
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
            Some(parent) if files::is_missing(parent) => Ok(None),
            _ => Place::of(&self.path, FileRole::Key).map(Some),
        }
    }

    /// The content of the file.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
        let Some(place) = self.place()? else { return Ok(None) };
        let name = self.name(&place);
        let text = read(&place, &name)?.filter(|text| !is_wiped(text));
        // A re-key was killed after its file had got the name.
        if text.is_none() && self.takes_the_name() {
            return read(&place, place.name());
        }
        Ok(text)
    }

    /// Warns where others can write to the directory of the file. The file is read all the same: containers choose
    /// their own mounts. A file that others put in its place belongs to them, and is refused.
    pub(super) fn warn(&self) {
        if let Ok(Some(place)) = self.place()
            && open_to_others(&place).is_some()
        {
            tracing::warn!("others can write to the directory of the key file, and can remove it");
        }
    }

    /// The suffixes of the names of other files that may hold a later key.
    pub(super) fn generations(&self) -> Vec<String> {
        let (Some(parent), Some(own)) = (self.path.parent(), self.path.file_name()) else {
            return Vec::new();
        };
        let generation = |name: OsString| {
            let rest = name.to_str()?.strip_prefix(own.to_str()?)?.strip_prefix('.')?;
            (rest == NEW || is_generation(rest)).then(|| rest.to_owned())
        };
        let names = std::fs::read_dir(parent).into_iter().flatten().flatten();
        names.filter_map(|entry| generation(entry.file_name())).collect()
    }

    /// Whether something has its name.
    pub(super) fn is_there(&self) -> Result<bool, OpenError> {
        let Some(place) = self.place()? else { return Ok(false) };
        Ok(place.inspect(&self.name(&place), FileRole::Key)?.is_some())
    }

    /// Writes the file under a temporary name and renames it, so that it is whole or not there. Then reads it back.
    /// `source` is the source of the key, for errors.
    pub(super) fn make(&mut self, source: &'static str, text: &[u8]) -> Result<(), OpenError> {
        let place = Place::of(&self.path, FileRole::Key)?;
        if let Some(mode) = open_to_others(&place) {
            place.remove_made_dirs();
            return Err(OpenError::DirectoryTooWide { role: FileRole::Key, mode });
        }
        let name = self.name(&place);
        // A wiped file counts as no key for reading. But nothing tells whose key was there, or how it was lost.
        if read(&place, &name)?.is_some_and(|text| is_wiped(&text)) {
            return Err(OpenError::KeyMalformed { source });
        }
        let temp = files::with_suffix(&name, ".tmp");
        // A leftover of a crash is part of a key, and opens nothing. A whole key is somebody's.
        match read(&place, &temp)? {
            None => {}
            Some(left) if is_spent(&left) => place.remove(&temp),
            Some(_) => return Err(OpenError::BadPath { role: FileRole::Key }),
        }
        let (mut begun, mut named) = (false, false);
        let made = place
            .create_new(&temp, FileRole::Key)
            .and_then(|mut file| {
                begun = true;
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
            if named {
                place.remove(&name);
            } else if begun {
                place.remove(&temp);
            }
            place.remove_made_dirs();
            return made;
        }
        self.made = Some(place);
        made
    }

    /// Takes back what [`Self::make`] has made, unless it was replaced meanwhile.
    pub(super) fn unmake(&self, is_ours: IsOurs<'_>) {
        if let Some(place) = &self.made {
            let name = self.name(place);
            match dispose(place, &name, is_ours) {
                Ok(_) | Err(OpenError::PathChanged { .. }) => {}
                Err(_) => place.remove(&name),
            }
            let _ = place.sync_dir();
            place.remove_made_dirs();
        }
    }

    /// Overwrites and removes the file, and the leftovers of a killed [`Self::make`]. Returns whether it is gone. A
    /// file that is not ours stays and counts as gone.
    pub(super) fn remove(&self, is_ours: IsOurs<'_>) -> bool {
        let Ok(place) = self.place() else { return false };
        let Some(place) = place else { return true };
        let removed = self
            .remove_temporary(is_ours)
            .and_then(|()| dispose(&place, &self.name(&place), is_ours))
            .and_then(|_| place.sync_dir());
        removed.is_ok()
    }

    /// Removes the leftover of a killed [`Self::make`]: a key that was never used.
    pub(super) fn remove_temporary(&self, is_ours: IsOurs<'_>) -> Result<(), OpenError> {
        let Some(place) = self.place()? else { return Ok(()) };
        match dispose(&place, &files::with_suffix(&self.name(&place), ".tmp"), is_ours) {
            // This software puts only files there, so anything else is not its own.
            Ok(_) | Err(OpenError::Symlink { .. } | OpenError::NotAFile { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the file with the future name of this one may be overwritten for it, or is not there.
    pub(super) fn may_take_the_name(&self, is_ours: IsOurs<'_>) -> Result<bool, OpenError> {
        let Some(place) = self.place()? else { return Ok(true) };
        Ok(read(&place, place.name())?.is_none_or(|text| is_spent(&text) || is_ours(&text)))
    }

    /// Whether it will have the name of the file before it.
    fn takes_the_name(&self) -> bool {
        self.generation.as_deref() == Some(NEW)
    }

    /// Overwrites the file with the future name of this one, and takes the name. Returns whether it has it: a file that
    /// is not ours keeps the name.
    pub(super) fn settle(&self, is_ours: IsOurs<'_>) -> Result<bool, OpenError> {
        let Some(place) = self.place()?.filter(|_| self.takes_the_name()) else {
            return Ok(true);
        };
        let name = self.name(&place);
        if place.inspect(&name, FileRole::Key)?.is_some() {
            if !dispose(&place, place.name(), is_ours)? {
                return Ok(false);
            }
            place.rename_new(&name, place.name(), FileRole::Key)?;
        }
        place.sync_dir()?;
        Ok(true)
    }
}

/// The mode of a directory that others can write to. They can remove its files, and put a file in place of one.
#[cfg(unix)]
fn open_to_others(place: &Place) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(directory(place)).ok()?.permissions().mode() & 0o7777;
    (mode & 0o022 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Place) -> Option<u32> {
    None
}

/// Tells by the content of a file whether it is the expected one.
pub(super) type IsOurs<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Whether the content of a file opens nothing: it was overwritten, or is a part of an unfinished write.
pub(super) fn is_spent(text: &[u8]) -> bool {
    is_wiped(text) || text_format::is_part(text) || passphrase_file::is_part(text)
}

/// Whether it was overwritten by [`dispose`], wholly or up to where a kill or a loss of power tore the write. A key, or
/// somebody's text, never begins with so many zeros and goes on in text.
fn is_wiped(text: &[u8]) -> bool {
    const ENOUGH: usize = 8;
    let zeros = text.iter().take_while(|&&byte| byte == 0).count();
    let rest = &text[zeros..];
    let is_text = |byte: &u8| byte.is_ascii_graphic() || b"\r\n".contains(byte);
    zeros > 0 && (rest.is_empty() || zeros >= ENOUGH && rest.iter().all(is_text))
}

/// Overwrites and removes a file, if it is ours or holds nothing. Returns whether it is gone.
///
/// The file is overwritten with zeros. After a kill half-way the zeros tell it from somebody else's file.
fn dispose(place: &Place, name: &OsStr, is_ours: IsOurs<'_>) -> Result<bool, OpenError> {
    let role = FileRole::Key;
    let Some(found) = place.inspect(name, role)? else { return Ok(true) };
    let text = contents(&found.file)?;
    if !is_spent(&text) && !is_ours(&text) {
        return Ok(false);
    }
    let (mut file, created) = place.open_or_create(name, role)?;
    if created {
        // Somebody else has removed it meanwhile.
        place.remove(name);
        return Ok(true);
    }
    if !place.is_same(name, &found.file) {
        return Err(OpenError::PathChanged { role });
    }
    let overwritten = file.write_all(&vec![0; text.len()]).and_then(|()| file.sync_all());
    overwritten.map_err(|e| files::io_error("overwriting", role, &e))?;
    drop((file, found));
    place.remove(name);
    match place.inspect(name, role)? {
        None => Ok(true),
        Some(_) => Err(files::io_error("removing", role, &std::io::ErrorKind::Other.into())),
    }
}

fn read(place: &Place, name: &OsStr) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
    let Some(found) = place.inspect(name, FileRole::Key)? else { return Ok(None) };
    if found.mode & 0o077 != 0 {
        return Err(OpenError::KeyFileTooWide { mode: found.mode });
    }
    contents(&found.file).map(Some)
}

fn contents(file: &File) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN as usize + 1));
    file.take(MAX_LEN + 1)
        .read_to_end(&mut text)
        .map_err(|e| files::io_error("reading", FileRole::Key, &e))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::is_wiped;

    #[test]
    fn a_torn_overwriting_is_told_from_a_key() {
        let text = b"mdk-key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        for torn in 0..=text.len() {
            let left = [&vec![0; torn][..], &text[torn..]].concat();
            assert_eq!(is_wiped(&left), torn >= 8, "{torn}");
        }
        let mut raw = [0; 32];
        raw[31] = 200;
        assert!(!is_wiped(&raw), "a key of plain bytes");
        assert!(!is_wiped(b"") && !is_wiped(b"a note\n"));
    }
}
