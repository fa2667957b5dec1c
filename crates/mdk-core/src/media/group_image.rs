//! The picture of a group: encrypted under a key that its settings hold.

use mdk_wire::OsRandom;
use mdk_wire::v2::components::Image;
use mdk_wire::v2::group_image;

use crate::media::attachments::check_size;
use crate::media::{file_type, picture};
use crate::model::config::Config;
use crate::model::error::{Error, Result};

pub(crate) fn encrypt(
    config: &Config,
    data: &[u8],
    mime_type: Option<&str>,
) -> Result<(Vec<u8>, Image)> {
    check_size(config, data.len())?;
    let mime_type = file_type::mime_type(data, "", mime_type)?;
    if !mime_type.starts_with("image/") {
        return Err(Error::Media("a group image has to be a picture"));
    }
    let picture = picture::prepare(data, &mime_type, config.strip_image_metadata)?;
    let (blob, image) = group_image::seal(picture.data, &mime_type, &mut OsRandom)
        .map_err(|e| Error::from_argument("mime_type", e))?;
    Ok((blob, Image(Some(image))))
}

pub(crate) fn decrypt(config: &Config, image: &Image, blob: &[u8]) -> Result<Vec<u8>> {
    let Some(image) = &image.0 else {
        return Err(Error::Media("the group has no image"));
    };
    check_size(config, blob.len().saturating_sub(mdk_wire::v2::attachment::AEAD_TAG_BYTES))?;
    group_image::open(image, blob)
        .ok_or(Error::MediaCorrupt("the data is not the image that the group names"))
}
