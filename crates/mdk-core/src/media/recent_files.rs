//! Keys of files that were encrypted here and that no message carries yet.

use std::collections::VecDeque;

use mdk_wire::v2::Attachment;
use mdk_wire::{GroupId, Secret};

/// Files encrypted by us of which the key is remembered until a message carries them.
pub(crate) const MOST_RECENT: usize = 256;

/// Keys of files that were encrypted here and that no message carries yet. In memory only: after a restart the file is
/// encrypted again.
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
