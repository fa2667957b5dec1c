//! Encrypted files of messages, and group images (protocol/files.md 2.10; protocol/components.md 2.2).
//!
//! A file's key comes from a secret of the epoch in which its message was said. Those secrets are dropped after five
//! epochs, so each valid attachment's key is kept with its message, from the transaction that stores the message to the
//! one that takes its content away. Messages without attachments cost nothing here.

use mdk_store::{MessageRow, MessageStatus};
use mdk_wire::v2::attachment::AEAD_TAG_BYTES;
use mdk_wire::v2::{Attachment, limits};
use mdk_wire::{GroupId, Random as _, Secret, kind as nostr_kind};
use sha2::{Digest as _, Sha256};

use crate::media::recent_files::Recent;
use crate::media::{file_type, picture};
use crate::model::config::Config;
use crate::model::error::{Error, Result};

/// MLS-Exporter context of the secret that file keys come from (protocol/wire.md 2.1).
pub(crate) const ENCRYPTED_MEDIA: &[u8] = b"encrypted-media";

/// An encrypted file, to be stored somewhere and then sent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptedMedia {
    /// The ciphertext to upload.
    pub data: Vec<u8>,
    /// The attachment for the message; it still lacks the places where the ciphertext lies.
    pub attachment: Attachment,
    /// The epoch in which the message has to be sent.
    pub epoch: u64,
}

impl std::fmt::Debug for EncryptedMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedMedia({} bytes)", self.data.len())
    }
}

/// The attachments of a message.
// rule: 2.10-16 attachments belong to chat messages
pub(crate) fn attachments(kind: u16, tags: &[Vec<String>]) -> Vec<Attachment> {
    if kind != nostr_kind::CHAT {
        return Vec::new();
    }
    // rule: 2.10-15 an attachment that is not valid is left out by itself; the message stays
    let claimed = tags.iter().filter(|tag| Attachment::is_imeta(tag));
    claimed.filter_map(|tag| Attachment::from_tag(tag).ok()).take(limits::ATTACHMENTS).collect()
}

/// Whether keys may be kept for a message.
pub(crate) fn has_imeta(row: &MessageRow) -> bool {
    row.kind == nostr_kind::CHAT && row.tags.iter().any(|tag| Attachment::is_imeta(tag))
}

/// A file made ready for encryption, which happens outside of any transaction.
pub(crate) struct Ready {
    file: Vec<u8>,
    attachment: Attachment,
}

/// Checks a file to send, and takes the place, the time and the maker out of a picture.
pub(crate) fn ready(
    config: &Config,
    data: &[u8],
    filename: &str,
    mime_type: Option<&str>,
) -> Result<Ready> {
    check_size(config, data.len())?;
    if filename.len() > limits::ATTACHMENT_FILENAME_BYTES {
        let limit = limits::ATTACHMENT_FILENAME_BYTES;
        return Err(Error::too_large("filename", limit, filename.len()));
    }
    if filename.is_empty() {
        return Err(Error::empty("filename", "empty"));
    }
    if filename.contains('\0') {
        return Err(Error::input("filename", "with a NUL character"));
    }
    let mime_type = file_type::mime_type(data, filename, mime_type)?;
    let picture = picture::prepare(data, &mime_type, config.strip_image_metadata)?;
    let attachment = Attachment {
        filename: filename.to_owned(),
        mime_type,
        size: Some(picture.data.len() as u64),
        sha256: Sha256::digest(&picture.data).into(),
        ciphertext_sha256: [0; 32],
        nonce: [0; 12],
        locators: Vec::new(),
        dimensions: picture.dimensions,
        thumbhash: picture.thumbhash,
    };
    Ok(Ready { file: picture.data, attachment })
}

impl Ready {
    /// Encrypts it for one epoch.
    pub(crate) fn encrypt(
        self,
        group: &GroupId,
        (epoch, secret): (u64, Secret<32>),
        recent: &mut Recent,
    ) -> Result<EncryptedMedia> {
        let Self { file, mut attachment } = self;
        mdk_wire::OsRandom.fill(&mut attachment.nonce);
        let key = attachment.key(&secret);
        let data = attachment.seal(&key, file).map_err(Error::bug("encrypting a file"))?;
        recent.add(group, &attachment, key);
        Ok(EncryptedMedia { data, attachment, epoch })
    }
}

/// Opens the fetched bytes of an attachment, with the keys that messages brought for it.
pub(crate) fn decrypt(
    config: &Config,
    group: &GroupId,
    attachment: &Attachment,
    data: &[u8],
    mut keys: Vec<Secret<32>>,
    recent: &Recent,
) -> Result<Vec<u8>> {
    check_size(config, data.len().saturating_sub(AEAD_TAG_BYTES))?;
    if !attachment.is_ciphertext(data) {
        return Err(Error::MediaCorrupt("the data is not what the sender uploaded"));
    }
    keys.extend(recent.keys(group, &attachment.reference()).cloned());
    if keys.is_empty() {
        return Err(Error::Media("no message of this group that is still there carries this file"));
    }
    keys.iter()
        .find_map(|key| attachment.open(key, data))
        .ok_or(Error::MediaCorrupt("the file is not what its message says"))
}

pub(crate) fn check_size(config: &Config, actual: usize) -> Result<()> {
    let (limit, actual) = (config.max_media_bytes, actual as u64);
    if actual > limit {
        return Err(Error::MediaTooLarge { what: "bytes", limit, actual });
    }
    Ok(())
}

/// Whether the files of a message that comes can be kept: it is not erased, and its time is not over.
pub(crate) fn is_kept(row: &MessageRow, late: bool) -> bool {
    !late && matches!(row.status, MessageStatus::Valid | MessageStatus::Parked)
}
