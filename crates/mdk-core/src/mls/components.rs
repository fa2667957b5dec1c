//! Components of a group's state that are read and written one by one.

use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{AdminPolicy, AvatarUrl, Image, Media};
use mdk_wire::{GroupId, PublicKey};

use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::settings;
use crate::mls::settings::default_media;
use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::membership;
use crate::model::settings::Settings;

pub(crate) fn admin_policy(mut admins: Vec<PublicKey>) -> Result<(u16, Option<Vec<u8>>)> {
    admins.sort_unstable();
    admins.dedup();
    if admins.is_empty() {
        return Err(Error::LastAdmin);
    }
    let data = AdminPolicy { admins }.encode().map_err(Error::bug("encoding the admin policy"))?;
    Ok((component_id::ADMIN_POLICY, Some(data)))
}

/// The components that change with the picture of a group. Of the two kinds of picture one would hide the other, so
/// setting one takes the other away.
pub(crate) fn updates(
    settings: &Settings,
    image: Option<Option<Image>>,
    avatar_url: Option<Option<String>>,
) -> Result<Vec<(u16, Option<Vec<u8>>)>> {
    const URL: &str = "avatar_url";
    if matches!((&image, &avatar_url), (Some(Some(_)), Some(Some(_)))) {
        return Err(Error::input(URL, "a group has one picture: not together with an image"));
    }
    let stated = |id| settings.components.get(&id).map(Vec::as_slice);
    let unread = |_| Error::Internal("own state does not decode");
    let mut updates = Vec::new();
    // rule: C1-8
    if let Some(image) = &image {
        let data = image.clone().unwrap_or_default();
        let data = data.encode().map_err(|e| Error::from_argument("image", e))?;
        updates.push((component_id::IMAGE, Some(data)));
    } else if let (Some(Some(_)), Some(data)) = (&avatar_url, stated(component_id::IMAGE))
        && Image::decode(data).map_err(unread)?.0.is_some()
    {
        let none = Image::default().encode().map_err(Error::bug("encoding no image"))?;
        updates.push((component_id::IMAGE, Some(none)));
    }
    if let Some(url) = avatar_url {
        let url = url.map(|url| AvatarUrl::new(&url)).transpose();
        let url = url.and_then(|avatar| avatar.unwrap_or_default().encode());
        let problem = "not an https address without user and fragment";
        let data = url.map_err(|e| match e.measured() {
            Some((limit, actual)) => Error::too_large(URL, limit, actual),
            None => Error::input(URL, problem),
        })?;
        updates.push((component_id::AVATAR, Some(data)));
    } else if let Some(data) = stated(component_id::AVATAR)
        && image.is_some()
        && !AvatarUrl::decode(data).map_err(unread)?.is_absent()
    {
        let none = AvatarUrl::default().encode().map_err(Error::bug("encoding no avatar"))?;
        updates.push((component_id::AVATAR, Some(none)));
    }
    Ok(updates)
}

/// The component of a live group.
fn group_component(work: &mut Work<'_>, id: &GroupId, component: u16) -> Result<Option<Vec<u8>>> {
    if membership::is_over(work.records.groups().listed(id)?.status) {
        return Err(Error::NotMember("no longer in this group"));
    }
    let group = work.take(id)?;
    let settings = settings::settings(group.mls.public_group().group_context());
    work.put(group);
    let mut settings = settings.map_err(|_| Error::Internal("own state does not decode"))?;
    Ok(settings.components.remove(&component))
}

pub(crate) fn group_image(work: &mut Work<'_>, id: &GroupId) -> Result<Option<Image>> {
    let data = group_component(work, id, component_id::IMAGE)?;
    let image = data.map(|data| Image::decode(&data)).transpose();
    let image = image.map_err(|_| Error::Internal("own state does not decode"))?;
    Ok(image.filter(|image| image.0.is_some()))
}

pub(crate) fn avatar_url(work: &mut Work<'_>, id: &GroupId) -> Result<Option<String>> {
    let data = group_component(work, id, component_id::AVATAR)?;
    let avatar = data.map(|data| AvatarUrl::decode(&data)).transpose();
    let avatar = avatar.map_err(|_| Error::Internal("own state does not decode"))?;
    Ok(avatar.filter(|avatar| !avatar.is_absent()).map(|avatar| avatar.url))
}

pub(crate) fn media_endpoints(work: &mut Work<'_>, id: &GroupId) -> Result<Vec<(String, String)>> {
    let data = group_component(work, id, component_id::MEDIA)?;
    let media = data.map(|data| Media::decode(&data)).transpose();
    let media = media.map_err(|_| Error::Internal("own state does not decode"))?;
    let media = media.filter(|media| !media.endpoints.is_empty()).unwrap_or_else(default_media);
    Ok(media.endpoints.into_iter().map(|e| (e.kind, e.base_url)).collect())
}

/// The encoded admin list after checking that every admin has a leaf and that one is left.
pub(crate) fn new_admins(
    group: &LoadedGroup,
    admins: Vec<PublicKey>,
) -> Result<(u16, Option<Vec<u8>>)> {
    if admins.iter().any(|admin| !group.row.members.contains(admin)) {
        return Err(Error::input("admins", "not a member"));
    }
    admin_policy(admins)
}
