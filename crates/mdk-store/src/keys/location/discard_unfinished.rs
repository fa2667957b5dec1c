//! The key of a database whose making was killed, when another key continues that making.

use super::{Home, Kind, passphrase_file, recorded};
use crate::{
    OpenError,
    files::Place,
    keys::{key_metadata::KeySlot, text_format},
};

/// Removes the key of an unfinished making. Everything that was encrypted with it is gone. Returns whether nothing is
/// left of the key. A key without proof stays: anyone who can write to the directory can write a record that names it.
pub(crate) fn discard(place: &Place, begun: &KeySlot) -> Result<bool, OpenError> {
    // A key of the original is the business of the original.
    let Some(home) = recorded(place, begun).filter(|_| !begun.shared) else { return Ok(true) };
    match &home.kind {
        Kind::Keyring { ring, name, .. } => match ring.get(name) {
            Ok(Some(key)) if begun.is_begun_by(&key, place) => Ok(ring.remove(name, &key)),
            Ok(Some(key)) => Ok(!begun.is_of(&key)),
            other => Ok(super::is_gone(other)),
        },
        Kind::File(file) => {
            let key = |text: &[u8]| text_format::decode_own(text, "file").ok();
            let is_ours = |text: &[u8]| key(text).is_some_and(|key| begun.is_begun_by(&key, place));
            file.remove_temporary(&is_ours)?;
            match file.read() {
                Ok(Some(text)) if is_ours(&text) => Ok(file.remove(&is_ours)),
                Ok(Some(text)) => Ok(!key(&text).is_some_and(|key| begun.is_of(&key))),
                Ok(None) => Ok(true),
                Err(_) => Ok(false),
            }
        }
        Kind::Wrapped(file, ..) => {
            // The file cannot be read without its passphrase. Its name belongs to this database, and its mark shows
            // that nobody has put another one there.
            let is_ours = |text: &[u8]| is_marked(begun, text);
            file.remove_temporary(&is_ours)?;
            Ok(file.remove(&is_ours))
        }
        Kind::Given(_) => Ok(true),
    }
}

impl Home {
    /// Whether it is the key file of a passphrase that `begun` names, and another passphrase would open it. Then it is
    /// forgotten.
    pub(crate) fn forget_begun(&mut self, begun: &KeySlot) -> bool {
        let Kind::Wrapped(file, ..) = &self.kind else { return false };
        let ours = begun.same_place(&self.slot)
            && matches!(file.read(), Ok(Some(text)) if is_marked(begun, &text));
        if ours {
            self.slot.file = None;
        }
        ours
    }
}

fn is_marked(begun: &KeySlot, text: &[u8]) -> bool {
    begun.file.as_ref().is_some_and(|mark| *mark == passphrase_file::mark(text))
}
