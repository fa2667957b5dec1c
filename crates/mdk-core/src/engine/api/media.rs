//! Files of messages, and group images: bytes in, bytes out. Moving them is the caller's work.

use mdk_wire::GroupId;
use mdk_wire::v2::Attachment;
use mdk_wire::v2::components::Image;

use crate::engine::Engine;
use crate::media::attachments::EncryptedMedia;
use crate::media::{attachments, group_image};
use crate::mls::{components, media_secret};
use crate::model::error::{Error, Result};
use crate::model::settings::MEDIA_KIND;

/// Media.
impl Engine {
    /// Largest file that is encrypted or opened, bytes ([`Config::max_media_bytes`](crate::Config::max_media_bytes)).
    #[must_use]
    pub const fn max_media_bytes(&self) -> u64 {
        self.config.max_media_bytes
    }

    /// Encrypts a file for a message in the present epoch. A picture loses its metadata first
    /// ([`Config::strip_image_metadata`](crate::Config::strip_image_metadata)), and its size and a tiny preview are noted.
    /// Without `mime_type` it is told by the first bytes and the ending of `filename`.
    ///
    /// Upload `data` by its hash, note where in `attachment.locators`, and send that with
    /// [`Engine::create_message`], before the epoch changes and before this engine is closed.
    ///
    /// # Errors
    /// `Error::MediaTooLarge`; `Error::Media` for a picture that cannot be cleaned; `Error::InvalidInput`;
    /// `Error::GroupNotFound`, `Error::NotMember`.
    pub fn encrypt_media(
        &mut self,
        group: &GroupId,
        data: &[u8],
        filename: &str,
        mime_type: Option<&str>,
    ) -> Result<EncryptedMedia> {
        let ready = attachments::ready(&self.config, data, filename, mime_type)?;
        let secret = self.look(|ctx| media_secret::media_secret_now(&mut ctx.work, group))?;
        ready.encrypt(group, secret, &mut self.memory.recent)
    }

    /// Opens the fetched bytes of an attachment, for a message that is in the history, however old: its ciphertext
    /// hash, the cipher's tag and the file's hash are checked.
    ///
    /// # Errors
    /// `Error::MediaCorrupt`: it is not the file that was sent; `Error::MediaTooLarge`; `Error::Media`: no message of
    /// the
    /// group that is still there carries it; `Error::GroupNotFound`.
    pub fn decrypt_media(
        &mut self,
        group: &GroupId,
        attachment: &Attachment,
        data: &[u8],
    ) -> Result<Vec<u8>> {
        let keys = self.look_now(|ctx| {
            ctx.work.records.groups().listed(group)?;
            Ok(ctx.work.records.tx.file_keys(group, &attachment.reference())?)
        })?;
        attachments::decrypt(&self.config, group, attachment, data, keys, &self.memory.recent)
    }

    /// The groups in which a message that is in the history carries a file: mostly one, and more where the message's tag was
    /// copied, of which only one can open it.
    ///
    /// # Errors
    /// `Error::Media`: there is none.
    pub fn groups_of_file(&mut self, attachment: &Attachment) -> Result<Vec<GroupId>> {
        let file = attachment.reference();
        let groups = self.look(|ctx| {
            let mut found = Vec::new();
            for row in ctx.work.records.tx.groups()? {
                if !ctx.work.records.tx.file_keys(&row.id, &file)?.is_empty() {
                    found.push(row.id);
                }
            }
            Ok(found)
        })?;
        if groups.is_empty() {
            return Err(Error::Media("no message that is still there carries this file"));
        }
        Ok(groups)
    }

    /// Encrypts a picture for a group: the blob to upload by its hash, and the value for
    /// [`GroupUpdate::image`](crate::GroupUpdate::image), whose `upload_key` signs the upload. Metadata goes as in
    /// [`Engine::encrypt_media`].
    ///
    /// # Errors
    /// `Error::MediaTooLarge`; `Error::Media` for a file that is no picture, or one that cannot be cleaned;
    /// `Error::InvalidInput`.
    pub fn encrypt_group_image(
        &mut self,
        data: &[u8],
        mime_type: Option<&str>,
    ) -> Result<(Vec<u8>, Image)> {
        group_image::encrypt(&self.config, data, mime_type)
    }

    /// Opens the blob of a group image.
    ///
    /// # Errors
    /// `Error::MediaCorrupt`, `Error::MediaTooLarge`; `Error::Media` for the image of a group that has none.
    pub fn decrypt_group_image(&self, image: &Image, blob: &[u8]) -> Result<Vec<u8>> {
        group_image::decrypt(&self.config, image, blob)
    }

    /// The image of a group, `None` when it has none.
    ///
    /// # Errors
    /// `Error::GroupNotFound`, `Error::NotMember`.
    pub fn group_image(&mut self, group: &GroupId) -> Result<Option<Image>> {
        self.look(|ctx| components::group_image(&mut ctx.work, group))
    }

    /// The public address of a group's picture, `None` when it has none. Another member has written it, and its server
    /// learns who fetches it. It is shown rather than the image of [`Engine::group_image`].
    ///
    /// # Errors
    /// `Error::GroupNotFound`, `Error::NotMember`.
    pub fn avatar_url(&mut self, group: &GroupId) -> Result<Option<String>> {
        self.look(|ctx| components::avatar_url(&mut ctx.work, group))
    }

    /// The servers for files of a group (Blossom), in the group's order. A group that names none has the one that other
    /// implementations fall back to.
    ///
    /// # Errors
    /// `Error::GroupNotFound`, `Error::NotMember`.
    pub fn media_servers(&mut self, group: &GroupId) -> Result<Vec<String>> {
        let endpoints = self.media_endpoints(group)?.into_iter();
        Ok(endpoints.filter(|(kind, _)| kind == MEDIA_KIND).map(|(_, url)| url).collect())
    }

    /// As [`Engine::media_servers`], of every kind: kind and base URL.
    ///
    /// # Errors
    /// `Error::GroupNotFound`, `Error::NotMember`.
    pub fn media_endpoints(&mut self, group: &GroupId) -> Result<Vec<(String, String)>> {
        self.look(|ctx| components::media_endpoints(&mut ctx.work, group))
    }
}
