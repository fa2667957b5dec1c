//! Keys of files that were encrypted or announced.

use std::collections::VecDeque;

use mdk_store::MessageRow;
use mdk_wire::v2::Attachment;
use mdk_wire::{GroupId, Secret};

use crate::ctx::Ctx;
use crate::media::attachments::{MOST_RECENT, attachments, has_imeta};
use crate::model::error::{Error, Result};
use crate::model::state_id::Auth;

/// Keys of files that were encrypted here and that no message carries yet. In memory only: who restarts encrypts again.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<(GroupId, [u8; 32], Secret<32>)>);

impl Recent {
    pub(crate) fn add(&mut self, group: &GroupId, attachment: &Attachment, key: Secret<32>) {
        if self.0.len() >= MOST_RECENT {
            self.0.pop_front();
        }
        self.0.push_back((group.clone(), attachment.reference(), key));
    }

    pub(crate) fn keys(
        &self,
        group: &GroupId,
        file: &[u8; 32],
    ) -> impl Iterator<Item = &Secret<32>> {
        let same = move |(g, f, _): &&(GroupId, [u8; 32], Secret<32>)| g == group && f == file;
        self.0.iter().filter(same).map(|(_, _, key)| key)
    }

    /// A message carries them: their keys are kept with it.
    pub(crate) fn forget(&mut self, group: &GroupId, attachments: &[Attachment]) {
        let files: Vec<[u8; 32]> = attachments.iter().map(Attachment::reference).collect();
        self.0.retain(|(g, file, _)| g != group || !files.contains(file));
    }

    /// The group was deleted.
    pub(crate) fn forget_group(&mut self, group: &GroupId) {
        self.0.retain(|(g, ..)| g != group);
    }
}

impl Ctx<'_, '_> {
    // rule: 2.10-17 a file's secret is that of the state in which its message was said
    /// Keeps the keys of what a message carries, with the secret of the state `auth` that it was said in.
    pub(crate) fn keep_file_keys(&mut self, row: &MessageRow, auth: &Auth) -> Result<()> {
        if !has_imeta(row) {
            return Ok(());
        }
        let attachments = attachments(row.kind, &row.tags);
        if attachments.is_empty() {
            return Ok(());
        }
        match self.media_secret_at(&row.group, auth)? {
            Some(secret) => self.put_file_keys(row, &attachments, &secret),
            None => {
                tracing::warn!("the state of a message with files is gone: they cannot be opened");
                Ok(())
            }
        }
    }

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
            if !self.recent.keys(id, &file).any(|known| *known == key)
                && !self.tx.file_keys(id, &file)?.contains(&key)
            {
                return Err(Error::MediaStale);
            }
        }
        Ok(())
    }
}
