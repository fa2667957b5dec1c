//! A group's settings: the GroupContext dictionary, one component each (protocol/components.md 2.2).

use std::collections::{BTreeMap, BTreeSet};

use mdk_wire::WireError;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{
    AdminPolicy, AvatarUrl, ComponentList, Endpoint, Image, Lifecycle, Media, Profile, Retention,
    Routing,
};
use openmls::component::ComponentData;
use openmls::group::{AppDataDictionaryUpdater, AppDataUpdates, GroupContext};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, AppDataUpdateOperation, AppDataUpdateProposal,
    Extension, ExtensionType, Extensions, ProposalType, RequiredCapabilitiesExtension,
};

use crate::mls::views::{dictionary_of, required_of};
use crate::model::error::{Error, Result};
use crate::model::outcome::{RejectCode, Rejection};
use crate::model::settings::{MEDIA_KIND, Settings};
use crate::policy::duplicate_op;

#[cfg(test)]
pub(crate) const RULES: &[(&str, &str)] = &[
    ("B1-1", "RequiredCapabilities comes first, the dictionary last"),
    ("B1-2", "a new group requires 0x8001, 0x8003, 0x8004, 0x8009, 0x800c, and 0x8005 when timed"),
    ("B1-3", "0x8009 is listed without entry; 0x8008 and 0x0002 are absent"),
    (
        "B1-4",
        "a new group says where its files go (0x800b), and does not require that of its members",
    ),
    ("2.2-u1", "an update becomes the component's whole new state"),
];

/// Extensions of a new group's GroupContext (rule: B1-1).
///
/// OpenMLS takes the dictionary out and appends it at each AppDataUpdate. As it is last from the start, a
/// peer that edits in place computes the same GroupContext.
///
/// # Errors
/// A setting breaks a limit of its component.
pub(crate) fn group_context_extensions(
    settings: &Settings,
) -> Result<Extensions<GroupContext>, WireError> {
    let mut entries = entries(settings)?;
    // rule: B1-2
    let mut required = vec![
        component_id::PROFILE,
        component_id::ADMIN_POLICY,
        component_id::ROUTING,
        component_id::IDENTITY_PROOF,
        component_id::LIFECYCLE,
    ];
    // A timed group requires the component, so that nobody in it ignores the timer.
    if settings.retention > 0 {
        required.push(component_id::RETENTION);
    }
    entries.insert(
        component_id::APP_COMPONENTS,
        required.into_iter().collect::<ComponentList>().encode()?,
    );
    let mut dictionary = AppDataDictionary::new();
    for (id, data) in entries {
        dictionary.insert(id, data);
    }
    let capabilities = RequiredCapabilitiesExtension::new(
        &[ExtensionType::AppDataDictionary],
        &[ProposalType::AppDataUpdate, ProposalType::SelfRemove],
        &[],
    );
    Ok(Extensions::from_vec(vec![
        Extension::RequiredCapabilities(capabilities),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ])
    .expect("both extensions may stand in a GroupContext, once"))
}

// rule: C1-2
/// The extensions of a GroupContext with more required capabilities. All else is as it was; the dictionary moves to the
/// end, where the next AppDataUpdate puts it anyway.
///
/// # Errors
/// A bug: the extensions are those of a GroupContext.
pub(crate) fn context_requiring(
    context: &GroupContext,
    extensions: &BTreeSet<u16>,
    proposals: &BTreeSet<u16>,
) -> Result<Extensions<GroupContext>> {
    let mut all = Vec::new();
    let mut dictionary = None;
    for extension in context.extensions().iter() {
        match extension {
            Extension::RequiredCapabilities(old) => {
                let extensions = extensions.iter().map(|id| ExtensionType::from(*id));
                let extensions: Vec<_> =
                    old.extension_types().iter().copied().chain(extensions).collect();
                let proposals = proposals.iter().map(|id| ProposalType::from(*id));
                let proposals: Vec<_> =
                    old.proposal_types().iter().copied().chain(proposals).collect();
                let new = RequiredCapabilitiesExtension::new(
                    &extensions,
                    &proposals,
                    old.credential_types(),
                );
                all.push(Extension::RequiredCapabilities(new));
            }
            Extension::AppDataDictionary(_) => dictionary = Some(extension.clone()),
            other => all.push(other.clone()),
        }
    }
    all.extend(dictionary);
    Extensions::from_vec(all).map_err(Error::bug("the extensions of a GroupContext"))
}

/// The entries of a new group. 0x8009 has none (rule: B1-3).
fn entries(settings: &Settings) -> Result<BTreeMap<u16, Vec<u8>>, WireError> {
    let profile =
        Profile { name: settings.name.clone(), description: settings.description.clone() };
    let mut entries = BTreeMap::from([
        (Profile::ID, profile.encode()?),
        (AdminPolicy::ID, AdminPolicy::new(settings.admins.iter().copied()).encode()?),
        (Lifecycle::ID, settings.lifecycle.encode()?),
    ]);
    if let Some(id) = settings.nostr_group_id {
        let routing = Routing::new(id, settings.relays.iter().cloned());
        entries.insert(Routing::ID, routing.encode()?);
    }
    // rule: B1-4 Not required: who cannot read files can still be a member.
    let media = match settings.media.is_empty() {
        true => default_media(),
        false => Media { kinds: vec![MEDIA_KIND.to_owned()], endpoints: settings.media.clone() },
    };
    entries.insert(Media::ID, media.encode()?);
    if settings.retention > 0 {
        entries.insert(Retention::ID, Retention { seconds: settings.retention }.encode()?);
    }
    Ok(entries)
}

/// The servers for files as long as nobody in the group names any: those of groups that other apps found, in their
/// order.
const DEFAULT_SERVERS: [&str; 3] =
    ["https://blossom.divine.video/", "https://blossom.ditto.pub/", "https://cdn.hzrd149.com/"];

pub(crate) fn default_media() -> Media {
    let kind = MEDIA_KIND.to_owned();
    let endpoint = |url: &str| Endpoint { kind: kind.clone(), base_url: url.to_owned() };
    Media { kinds: vec![kind.clone()], endpoints: DEFAULT_SERVERS.map(endpoint).into() }
}

/// Reads a group's settings.
///
/// # Errors
/// `InvalidEncoding`: a component does not decode, or there is no admin policy.
pub(crate) fn settings(context: &GroupContext) -> Result<Settings, Rejection> {
    let extensions = context.extensions();
    let components = dictionary_of(extensions).unwrap_or_default();
    let required = required_of(extensions).unwrap_or_default();
    let admins = read(&components, AdminPolicy::ID, AdminPolicy::decode)?.ok_or(Rejection::new(
        RejectCode::InvalidEncoding,
        "B5-4a",
        "the admin policy is missing",
    ))?;
    let profile = read(&components, Profile::ID, Profile::decode)?.unwrap_or_default();
    let routing = read(&components, Routing::ID, Routing::decode)?;
    let retention = read(&components, Retention::ID, Retention::decode)?.unwrap_or_default();
    let lifecycle =
        read(&components, Lifecycle::ID, Lifecycle::decode)?.unwrap_or(Lifecycle::Active);
    let image = read(&components, Image::ID, Image::decode)?.and_then(|image| image.0);
    let avatar =
        read(&components, AvatarUrl::ID, AvatarUrl::decode)?.filter(|avatar| !avatar.is_absent());
    let (nostr_group_id, relays) = routing
        .map_or((None, Vec::new()), |routing| (Some(routing.nostr_group_id), routing.relays));
    Ok(Settings {
        name: profile.name,
        description: profile.description,
        admins: admins.admins,
        nostr_group_id,
        relays,
        retention: retention.seconds,
        lifecycle,
        has_image: image.is_some() || avatar.is_some(),
        media: Vec::new(),
        components,
        required,
    })
}

fn read<T>(
    components: &BTreeMap<u16, Vec<u8>>,
    id: u16,
    decode: impl FnOnce(&[u8]) -> Result<T, WireError>,
) -> Result<Option<T>, Rejection> {
    components.get(&id).map(|data| decode(data)).transpose().map_err(|_| {
        Rejection::new(RejectCode::InvalidEncoding, "B5-5a", "a component does not decode")
    })
}

/// The settings that differ, by the names of [`EventBody::GroupUpdated`](crate::EventBody::GroupUpdated).
pub(crate) fn diff(before: &Settings, after: &Settings) -> BTreeSet<&'static str> {
    let mut changed = BTreeSet::new();
    let mut note = |differs: bool, name| {
        if differs {
            changed.insert(name);
        }
    };
    note(before.name != after.name, "name");
    note(before.description != after.description, "description");
    note(before.admins != after.admins, "admins");
    note(before.retention != after.retention, "retention");
    note(before.required != after.required, "required");
    let ids: BTreeSet<u16> =
        before.components.keys().chain(after.components.keys()).copied().collect();
    for id in ids.iter().filter(|id| before.components.get(id) != after.components.get(id)) {
        match *id {
            // Compared by value above: an absent component and its default mean the same.
            component_id::PROFILE | component_id::ADMIN_POLICY | component_id::RETENTION => {}
            component_id::APP_COMPONENTS => note(true, "required"),
            component_id::IMAGE => note(true, "image"),
            component_id::ROUTING => note(true, "relays"),
            component_id::AGENT_STREAM => note(true, "agent_stream"),
            component_id::AVATAR => note(true, "avatar"),
            component_id::MEDIA => note(true, "media"),
            _ => note(true, "other"),
        }
    }
    changed
}

/// The dictionary's changes by the AppDataUpdate proposals of one commit; `None` when there are none.
///
/// For the commit builder and for `resolve_app_data_commit`. This list is the only place where a duplicate
/// shows: OpenMLS merges equal proposals of a staged commit, and lets the last of several updates win.
///
/// # Errors
/// D4-5a: two operations on one component.
pub(crate) fn component_updates<'a>(
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
) -> Result<Option<AppDataUpdates>, Rejection> {
    let mut seen = BTreeSet::new();
    // rule: 2.2-u2 what a group says that is not known here stays as it is in what we commit
    let mut updater = AppDataDictionaryUpdater::new(None);
    for proposal in proposals {
        let id = proposal.component_id();
        // rule: D4-5a
        if !seen.insert(id) {
            return Err(duplicate_op());
        }
        match proposal.operation() {
            AppDataUpdateOperation::Update(data) => {
                // rule: 2.2-u1
                updater.set(ComponentData::from_parts(id, data.clone()));
            }
            AppDataUpdateOperation::Remove => updater.remove(&id),
        }
    }
    Ok(updater.changes())
}
