//! Changes of what a group requires of its members' clients: more requirements, and components that go
//! (protocol/commits.md C1).

use std::collections::BTreeSet;

use mdk_wire::GroupId;
use mdk_wire::v2::component_id;
use mdk_wire::v2::components::{AvatarUrl, ComponentList, Image, Lifecycle, Profile, Retention};

use crate::mls::capabilities::supported_components;
use crate::mls::settings::default_media;
use crate::mls::stage_commit::Plan;
use crate::mls::work::Work;
use crate::mls::{capabilities, own_commit, settings, stage_commit};
use crate::model::error::{Error, Result};
use crate::model::values::{Pending, RequirementsUpdate};
use crate::policy::{GroupView, Requirements};

/// The names of the arguments, for an error that concerns all of them.
const FIELDS: &str = "components, extensions, proposals, remove";

/// One commit that requires more of every member, and lets optional components go.
pub(crate) fn change_requirements(
    work: &mut Work<'_>,
    id: &GroupId,
    change: &RequirementsUpdate,
) -> Result<Pending> {
    let mut group = own_commit::take_for_commit(work, id)?;
    stage_commit::require_admin(work.records.call, &group)?;
    let RequirementsUpdate { components, extensions, proposals, remove } = change;
    if [components, extensions, proposals, remove].iter().all(|ids| ids.is_empty()) {
        return Err(Error::empty(FIELDS, "nothing to change"));
    }
    let parent = group.view();
    let (extensions, proposals) = new_capabilities(&parent, change)?;
    let updates = component_updates(&parent, change)?;
    if updates.is_empty() && extensions.is_empty() && proposals.is_empty() {
        return Err(Error::input(FIELDS, "nothing to change: all of it is required already"));
    }
    // rule: C1-6
    let enables = updates.iter().any(|(id, _)| *id == component_id::LIFECYCLE);
    if enables && (updates.len() > 2 || !extensions.is_empty() || !proposals.is_empty()) {
        return Err(Error::input(
            "components",
            "the lifecycle (0x800c) begins by a commit of its own: require it alone",
        ));
    }
    let mut result = GroupView::clone(&parent);
    for (id, data) in &updates {
        match data {
            Some(data) => drop(result.components.insert(*id, data.clone())),
            None => drop(result.components.remove(id)),
        }
    }
    result.required_extensions.extend(&extensions);
    result.required_proposals.extend(&proposals);
    check_support(&result)?;
    let context = match extensions.is_empty() && proposals.is_empty() {
        true => None,
        false => {
            let context = group.mls.public_group().group_context();
            Some(settings::context_requiring(context, &extensions, &proposals)?)
        }
    };
    own_commit::prepare(work, group, &Plan { context, components: updates, ..Plan::default() })
}

/// The requested extensions and proposals that are not required yet.
fn new_capabilities(
    parent: &GroupView,
    change: &RequirementsUpdate,
) -> Result<(BTreeSet<u16>, BTreeSet<u16>)> {
    const UNKNOWN: &str = "an id that this version does not support, so that it cannot require it";
    let own = capabilities::leaf_capabilities();
    let ours: BTreeSet<u16> = own.extensions().iter().map(|id| u16::from(*id)).collect();
    if change.extensions.iter().any(|id| !ours.contains(id)) {
        return Err(Error::input("extensions", UNKNOWN));
    }
    let ours: BTreeSet<u16> = own.proposals().iter().map(|id| u16::from(*id)).collect();
    if change.proposals.iter().any(|id| !ours.contains(id)) {
        return Err(Error::input("proposals", UNKNOWN));
    }
    let fresh = |asked: &[u16], there: &BTreeSet<u16>| -> BTreeSet<u16> {
        asked.iter().copied().filter(|id| !there.contains(id)).collect()
    };
    Ok((
        fresh(&change.extensions, &parent.required_extensions),
        fresh(&change.proposals, &parent.required_proposals),
    ))
}

/// Updates the list of required components first, if it changes. Components that begin follow, then components that go.
fn component_updates(
    parent: &GroupView,
    change: &RequirementsUpdate,
) -> Result<Vec<(u16, Option<Vec<u8>>)>> {
    let before: BTreeSet<u16> = parent.required().0.into_iter().collect();
    let mut list = before.clone();
    let mut updates = Vec::new();
    for id in change.components.iter().copied().collect::<BTreeSet<u16>>() {
        if id == component_id::APP_COMPONENTS || !supported_components().contains(&id) {
            return Err(Error::input(
                "components",
                "an id that this version does not support, so that it cannot require it",
            ));
        }
        if change.remove.contains(&id) {
            return Err(Error::input("remove", "an id that is among the components as well"));
        }
        // rule: C1-4 what is required has state
        if list.insert(id) && !parent.components.contains_key(&id) {
            updates.push((id, Some(first_state(id)?)));
        }
    }
    for id in change.remove.iter().copied().collect::<BTreeSet<u16>>() {
        // rule: C1-5
        if is_kept(id) {
            return Err(Error::input("remove", "a component that a group cannot do without"));
        }
        let stated = parent.components.contains_key(&id);
        if !list.remove(&id) && !stated {
            return Err(Error::input("remove", "a component that the group does not have"));
        }
        if stated {
            updates.push((id, None));
        }
    }
    if list != before {
        let list = list.into_iter().collect::<ComponentList>();
        let list = list.encode().map_err(Error::bug("encoding the required components"))?;
        updates.insert(0, (component_id::APP_COMPONENTS, Some(list)));
    }
    Ok(updates)
}

/// Components that never go. The protocol would let the routing go, but nobody could reach the group then.
fn is_kept(id: u16) -> bool {
    matches!(
        id,
        component_id::APP_COMPONENTS
            | component_id::ADMIN_POLICY
            | component_id::ROUTING
            | component_id::IDENTITY_PROOF
            | component_id::LIFECYCLE
    )
}

/// The first state of a component. It says to readers the same as the component's absence.
fn first_state(id: u16) -> Result<Vec<u8>> {
    let state = match id {
        component_id::PROFILE => Profile::default().encode(),
        component_id::IMAGE => Image::default().encode(),
        component_id::RETENTION => Retention::default().encode(),
        component_id::AVATAR => AvatarUrl::default().encode(),
        component_id::MEDIA => default_media().encode(),
        component_id::LIFECYCLE => Lifecycle::Active.encode(),
        _ => {
            let problem = "a component that the group does not have, and that has no empty state";
            return Err(Error::input("components", problem));
        }
    };
    state.map_err(Error::bug("encoding the first state of a component"))
}

// rule: C1-3 who stays must understand the group
/// Whether everybody who is in the group can stay. Accounts that cannot are named, all of them.
fn check_support(result: &GroupView) -> Result<()> {
    let asked = Requirements::of(result);
    let mut who = BTreeSet::new();
    let mut found = None;
    for leaf in result.leaves.values() {
        if let Err(rejection) = asked.check("B5-6", leaf) {
            who.extend(leaf.account);
            found.get_or_insert(rejection);
        }
    }
    match found {
        None => Ok(()),
        Some(rejection) => Err(Error::IncompatibleMember {
            reason: rejection.reason,
            rule: rejection.rule,
            who: who.into_iter().collect(),
        }),
    }
}
