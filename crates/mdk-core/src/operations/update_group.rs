//! A group's settings.

use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{Media, Profile, Retention, Routing};
use mdk_wire::{GroupId, NostrGroupId, OsRandom, Random as _};

use crate::mls::settings::default_media;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{components, own_commit, settings, stage_commit};
use crate::model::arguments::{
    MAX_DESCRIPTION, MAX_NAME, check_media_servers, check_relays, check_text,
};
use crate::model::error::{Error, Result};
use crate::model::settings::{MEDIA_KIND, Settings};
use crate::model::values::{GroupUpdate, Pending};

/// One commit with one full replacement per component that changes; partial edits start from the
/// canonical state.
pub(crate) fn update_group(
    work: &mut Work<'_>,
    id: &GroupId,
    update: GroupUpdate,
) -> Result<Pending> {
    let group = own_commit::take_for_commit(work, id)?;
    stage_commit::require_admin(work.records.call, &group)?;
    let row = &group.row;
    let mut plan = Plan::default();
    if update.name.is_some() || update.description.is_some() {
        let name = update.name.unwrap_or_else(|| row.name.clone());
        let description = update.description.unwrap_or_else(|| row.description.clone());
        check_text("name", &name, MAX_NAME)?;
        check_text("description", &description, MAX_DESCRIPTION)?;
        let data =
            Profile { name, description }.encode().map_err(|e| Error::from_argument("name", e))?;
        plan.components.push((component_id::PROFILE, Some(data)));
    }
    if update.relays.is_some() || update.rotate_routing {
        let given = update.relays.as_deref().map(check_relays).transpose()?;
        let relays = given.unwrap_or_else(|| row.relays.clone());
        let mut nostr_group_id = row.nostr_group_id;
        // rule: C1-7
        if update.rotate_routing {
            let mut fresh = [0; 32];
            OsRandom.fill(&mut fresh);
            nostr_group_id = NostrGroupId::from_bytes(fresh);
        }
        let data = Routing { nostr_group_id, relays }
            .encode()
            .map_err(|e| Error::from_argument("relays", e))?;
        plan.components.push((component_id::ROUTING, Some(data)));
    }
    if let Some(admins) = update.admins {
        plan.components.push(components::new_admins(&group, admins)?);
    }
    if let Some(seconds) = update.retention {
        let data =
            Retention { seconds }.encode().map_err(|e| Error::from_argument("retention", e))?;
        plan.components.push((component_id::RETENTION, Some(data)));
    }
    if update.image.is_some() || update.avatar_url.is_some() || update.media_servers.is_some() {
        let settings = settings::settings(group.mls.public_group().group_context())
            .map_err(|_| Error::Internal("own state does not decode"))?;
        plan.components.extend(components::updates(&settings, update.image, update.avatar_url)?);
        if let Some(servers) = update.media_servers {
            plan.components.push(media_update(&settings, &servers)?);
        }
    }
    if plan.components.is_empty() {
        return Err(Error::empty("update", "nothing to change"));
    }
    own_commit::prepare(work, group, &plan)
}

/// The component with other Blossom servers; its places of other kinds stay.
fn media_update(settings: &Settings, servers: &[String]) -> Result<(u16, Option<Vec<u8>>)> {
    const FIELD: &str = "media_servers";
    let mut endpoints = check_media_servers(servers)?;
    if endpoints.is_empty() {
        endpoints = default_media().endpoints;
    }
    let old = settings.components.get(&component_id::MEDIA).map(|data| Media::decode(data));
    let old = old.transpose().map_err(|_| Error::Internal("own state does not decode"))?;
    let mut media = old.unwrap_or_else(default_media);
    if !media.kinds.iter().any(|kind| kind == MEDIA_KIND) {
        media.kinds.push(MEDIA_KIND.to_owned());
    }
    endpoints.extend(media.endpoints.into_iter().filter(|endpoint| endpoint.kind != MEDIA_KIND));
    media.endpoints = endpoints;
    let data = media.encode().map_err(|e| Error::from_argument(FIELD, e))?;
    Ok((component_id::MEDIA, Some(data)))
}
