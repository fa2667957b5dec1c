//! Keys of files that were encrypted or announced.

use mdk_store::MessageRow;
use mdk_wire::v2::Attachment;
use mdk_wire::{GroupId, Secret};

use crate::ctx::Ctx;
use crate::model::error::{Error, Result};

impl Ctx<'_, '_> {
    /// As [`Ctx::keep_file_keys`], when the secret is at hand.
    pub(crate) fn put_file_keys(
        &self,
        row: &MessageRow,
        attachments: &[Attachment],
        secret: &Secret<32>,
    ) -> Result<()> {
        let mut kept: Vec<[u8; 32]> = Vec::with_capacity(attachments.len());
        for attachment in attachments {
            let file = attachment.reference();
            if !kept.contains(&file) {
                self.tx.put_file_key(&row.group, row.seq, &file, &attachment.key(secret))?;
                kept.push(file);
            }
        }
        Ok(())
    }

    // rule: 2.10-18 a file is sent in the epoch that it was encrypted in: in another nobody could open it
    /// Whether everybody who reads a message that is sent under `secret` can open these files.
    pub(crate) fn check_attachments(
        &self,
        id: &GroupId,
        attachments: &[Attachment],
        secret: &Secret<32>,
    ) -> Result<()> {
        for attachment in attachments {
            let (file, key) = (attachment.reference(), attachment.key(secret));
            if !self.memory.recent.keys(id, &file).any(|known| *known == key)
                && !self.tx.file_keys(id, &file)?.contains(&key)
            {
                return Err(Error::MediaStale);
            }
        }
        Ok(())
    }
}
