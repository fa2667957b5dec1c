//! Keys of files that were encrypted or announced.

use mdk_store::{MessageRow, Tx};
use mdk_wire::v2::Attachment;
use mdk_wire::{GroupId, Secret};

use crate::media::recent_files::Recent;
use crate::model::error::{Error, Result};

/// Keeps the keys of a message's files, which come from this secret.
pub(crate) fn put_file_keys(
    tx: &Tx<'_>,
    row: &MessageRow,
    attachments: &[Attachment],
    secret: &Secret<32>,
) -> Result<()> {
    let mut kept: Vec<[u8; 32]> = Vec::with_capacity(attachments.len());
    for attachment in attachments {
        let file = attachment.reference();
        if !kept.contains(&file) {
            tx.put_file_key(&row.group, row.seq, &file, &attachment.key(secret))?;
            kept.push(file);
        }
    }
    Ok(())
}

// rule: 2.10-18 a file is sent in the epoch that it was encrypted in: in another nobody could open it
/// Whether everybody who reads a message that is sent under `secret` can open these files.
pub(crate) fn check_attachments(
    tx: &Tx<'_>,
    recent: &Recent,
    id: &GroupId,
    attachments: &[Attachment],
    secret: &Secret<32>,
) -> Result<()> {
    for attachment in attachments {
        let (file, key) = (attachment.reference(), attachment.key(secret));
        if !recent.keys(id, &file).any(|known| *known == key)
            && !tx.file_keys(id, &file)?.contains(&key)
        {
            return Err(Error::MediaStale);
        }
    }
    Ok(())
}
