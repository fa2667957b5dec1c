//! Requiring more of everybody, components that go, and the lifecycle of an older group (protocol/commits.md C1).

use std::collections::BTreeSet;

use mdk_core::{Error, EventBody, GroupState, GroupUpdate, NewGroup, RequirementsUpdate, testing};
use mdk_wire::v2::component_id as id;
use mdk_wire::v2::components::{AvatarUrl, ComponentList};
use mdk_wire::{Event, GroupId, PublicKey};
use openmls::prelude::{AppDataUpdateOperation, ExtensionType, Proposal};

use crate::kit::foreign::{Foreign, LIST};
use crate::kit::foreign_commits::founded_by;
use crate::kit::{Member, event, named, new_group, pair, received};

/// An extension that all clients here support and that our groups do not require.
const STREAMS: u16 = 0xF2D1;

/// The argument of an update that changes nothing.
const ALL: &str = "components, extensions, proposals, remove";

fn components(ids: &[u16]) -> RequirementsUpdate {
    RequirementsUpdate { components: ids.to_vec(), ..RequirementsUpdate::default() }
}

fn extensions(ids: &[u16]) -> RequirementsUpdate {
    RequirementsUpdate { extensions: ids.to_vec(), ..RequirementsUpdate::default() }
}

fn proposals(ids: &[u16]) -> RequirementsUpdate {
    RequirementsUpdate { proposals: ids.to_vec(), ..RequirementsUpdate::default() }
}

fn without(ids: &[u16]) -> RequirementsUpdate {
    RequirementsUpdate { remove: ids.to_vec(), ..RequirementsUpdate::default() }
}

/// Components that the group requires.
fn required(member: &mut Member, group: &GroupId) -> Vec<u16> {
    let state = testing::state(&mut member.engine, group).unwrap();
    ComponentList::decode(&state.components[&id::APP_COMPONENTS]).unwrap().0
}

/// What the group says under a component.
fn says(member: &mut Member, group: &GroupId, component: u16) -> Option<Vec<u8>> {
    testing::state(&mut member.engine, group).unwrap().components.remove(&component)
}

/// All stand in the same state, and hear each other.
fn agree(group: &GroupId, members: &mut [&mut Member]) {
    let mut states = Vec::new();
    for member in members.iter_mut() {
        let state = testing::state(&mut member.engine, group).unwrap();
        states.push((state.epoch, state.authenticator, state.group_context));
    }
    assert!(states.iter().all(|state| *state == states[0]));
    let (first, others) = members.split_first_mut().unwrap();
    let said = first.says(group, "in one state");
    for other in others {
        assert_eq!(received(&other.applies(&said)), ["in one state"]);
    }
}

/// The commit of a change, confirmed, and applied by the others.
fn changes(
    admin: &mut Member,
    group: &GroupId,
    change: &RequirementsUpdate,
    others: &mut [&mut Member],
) -> BTreeSet<&'static str> {
    let pending = admin.engine.change_requirements(group, change).unwrap();
    let key = admin.key();
    admin.confirms(&pending);
    let mut told = None;
    for other in others.iter_mut() {
        let outcome = other.applies(event(&pending));
        told = outcome.events.into_iter().find_map(|e| match e.body {
            EventBody::GroupUpdated { changed, by, .. } if by == Some(key) => Some(changed),
            _ => None,
        });
        assert!(told.is_some(), "{} is told", other.name);
    }
    told.unwrap_or_default()
}

/// The call is refused for this argument, and nothing at all has changed.
fn refuses(member: &mut Member, group: &GroupId, change: &RequirementsUpdate, field: &str) {
    let before = member.digest();
    match member.engine.change_requirements(group, change) {
        Err(Error::InvalidInput { field: found, .. }) => assert_eq!(found, field, "{change:?}"),
        other => panic!("{change:?}: {other:?}"),
    }
    assert!(member.digest() == before);
}

/// Why the call is refused, and for which accounts; nothing has changed.
fn lacking(
    member: &mut Member,
    group: &GroupId,
    change: &RequirementsUpdate,
) -> (&'static str, Vec<PublicKey>) {
    let before = member.digest();
    match member.engine.change_requirements(group, change) {
        Err(Error::IncompatibleMember { reason, who, .. }) => {
            assert!(member.digest() == before);
            (reason, who)
        }
        other => panic!("{change:?}: {other:?}"),
    }
}

/// The proposals of a commit as another implementation reads them: in their order, components by id.
fn shape(peer: &mut Foreign, event: &Event) -> Vec<(&'static str, u16)> {
    let staged = peer.reads_commit(event);
    assert!(staged.update_path_leaf_node().is_some(), "each commit of ours has a path");
    let kind = |proposal: &Proposal| match proposal {
        Proposal::GroupContextExtensions(_) => ("context", 0),
        Proposal::AppDataUpdate(op) => match op.operation() {
            AppDataUpdateOperation::Update(_) => ("update", op.component_id()),
            AppDataUpdateOperation::Remove => ("remove", op.component_id()),
        },
        _ => ("other", 0),
    };
    staged.queued_proposals().map(|p| kind(p.proposal())).collect()
}

/// shows: C1-2, C1-4: components, extensions or both become required; everybody follows, and is told.
#[test]
fn everybody_follows() {
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(Member::new);
    let mut all = vec![&mut bob, &mut carol];
    let group = alice.founds("g", &mut all);
    assert_eq!(required(&mut alice, &group), [0x8001, 0x8003, 0x8004, 0x8009, 0x800c]);

    let told = changes(&mut alice, &group, &components(&[0x8005, 0x8002, 0x8005]), &mut all);
    assert_eq!(told, BTreeSet::from(["required", "image"]));
    let list = required(&mut alice, &group);
    assert_eq!(list, [0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8009, 0x800c]);
    assert_eq!(says(&mut alice, &group, 0x8002), Some(vec![0; 5]));
    assert_eq!(says(&mut alice, &group, 0x8005), Some(vec![0; 8]));
    let info = alice.info(&group);
    assert_eq!((info.retention, info.profile.has_image), (None, false));

    let told = changes(&mut alice, &group, &extensions(&[STREAMS]), &mut all);
    assert_eq!(told, BTreeSet::from(["required"]));
    // What a group has keeps its state, and what it requires is no change.
    let media = says(&mut alice, &group, 0x800b).unwrap();
    let change = RequirementsUpdate {
        components: vec![0x800b, 0x8001, 0x8009, 0x8007],
        extensions: vec![STREAMS, 6],
        proposals: vec![8, 10],
        ..RequirementsUpdate::default()
    };
    changes(&mut alice, &group, &change, &mut all);
    assert_eq!(says(&mut alice, &group, 0x800b), Some(media));
    let list = required(&mut alice, &group);
    assert_eq!(list, [0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8007, 0x8009, 0x800b, 0x800c]);
    refuses(&mut alice, &group, &change, ALL);

    all.insert(0, &mut alice);
    agree(&group, &mut all);
}

/// shows: A2-12: who does not support what became required cannot be invited any more.
#[test]
fn nobody_is_invited_who_lacks_it() {
    let (mut alice, mut bob, group) = pair();
    let lists: &[&[u16]] = &[&[1], &LIST, &[0x8002, 0x8007]];
    let mut listed = lists.concat();
    listed.sort_unstable();
    let timeless = Foreign::with_leaf(|leaf| leaf.set_list(&listed));
    let deaf = Foreign::with_leaf(|leaf| leaf.extensions.retain(|id| *id != STREAMS));
    let cases = [(timeless, components(&[0x8005])), (deaf, extensions(&[STREAMS]))];
    for (old, change) in cases {
        let package = old.key_package_event();
        let pending = alice.engine.add_members(&group, std::slice::from_ref(&package), false);
        alice.engine.discard(pending.unwrap().id).unwrap();
        changes(&mut alice, &group, &change, &mut [&mut bob]);
        let before = alice.digest();
        match alice.engine.add_members(&group, &[package], false) {
            Err(Error::IncompatibleMember { rule: "A2-12", who, .. }) => {
                assert_eq!(who, [old.key()]);
            }
            other => panic!("{other:?}"),
        }
        assert!(alice.digest() == before);
    }
    agree(&group, &mut [&mut alice, &mut bob]);
}

/// rule: C1-3: who would be left behind is named, all of them; nothing is written.
#[test]
fn who_lacks_it_is_named() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let old = || {
        Foreign::with_leaf(|leaf| {
            leaf.set_list(&[&[1][..], &LIST].concat());
            leaf.proposals = vec![8];
        })
    };
    let (one, other, able) = (old(), old(), Foreign::new());
    let group = founded_by(&mut ann, &mut us, &[&one, &able, &other], |context| {
        context.required = Some((vec![6], vec![8]));
    });
    let mut both = vec![one.key(), other.key()];
    both.sort();
    let component = ("a leaf lacks a required component", both.clone());
    assert_eq!(lacking(&mut us, &group, &components(&[0x8005])), component);
    let capability = ("a leaf lacks a required capability", both.clone());
    assert_eq!(lacking(&mut us, &group, &proposals(&[10])), capability);

    // Without them it can be required.
    let removed = us.engine.remove_members(&group, &both).unwrap();
    us.confirms(&removed);
    ann.follows(event(&removed));
    let change = RequirementsUpdate { components: vec![0x8005], ..proposals(&[10]) };
    let pending = us.engine.change_requirements(&group, &change).unwrap();
    us.confirms(&pending);
    ann.follows(event(&pending));
    assert_eq!(ann.mls().epoch().as_u64(), us.info(&group).epoch);
}

/// shows: C1-2: another implementation reads the context first and the list before what it lists; the dictionary is the
/// old one, and stays last.
#[test]
fn the_shape_of_the_commit() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let group = founded_by(&mut ann, &mut us, &[], |context| {
        context.required = Some((vec![6], vec![8]));
        context.set(0xF123, [1, 2, 3]);
    });
    let both = RequirementsUpdate { components: vec![0x8007, 0x8005], ..extensions(&[STREAMS]) };
    let cases = [
        (proposals(&[10]), vec![("context", 0)]),
        (both, vec![("context", 0), ("update", 1), ("update", 0x8005), ("update", 0x8007)]),
        (without(&[0x8007, 0xF123]), vec![("update", 1), ("remove", 0x8007), ("remove", 0xF123)]),
        (components(&[0x8007]), vec![("update", 1), ("update", 0x8007)]),
    ];
    for (change, expected) in cases {
        let before = ann.mls().extensions().app_data_dictionary().cloned();
        let pending = us.engine.change_requirements(&group, &change).unwrap();
        assert_eq!(shape(&mut ann, event(&pending)), expected);
        ann.follows(event(&pending));
        us.confirms(&pending);
        let state = testing::state(&mut us.engine, &group).unwrap();
        assert_eq!(ann.mls().epoch_authenticator().as_slice(), state.authenticator);
        let last = ann.mls().extensions().iter().last().unwrap();
        assert_eq!(last.extension_type(), ExtensionType::AppDataDictionary);
        if expected == [("context", 0)] {
            assert!(ann.mls().extensions().app_data_dictionary().cloned() == before);
        }
    }
    let required = ann.mls().extensions().required_capabilities().unwrap();
    let ids: Vec<u16> = required.extension_types().iter().map(|id| u16::from(*id)).collect();
    assert_eq!(ids, [6, STREAMS]);
    let ids: Vec<u16> = required.proposal_types().iter().map(|id| u16::from(*id)).collect();
    assert_eq!(ids, [8, 10]);
}

/// shows: C1-5: what goes leaves the settings as if nobody had set them; what was never required goes as well.
#[test]
fn components_go() {
    let (mut alice, mut bob) = (Member::new("alice"), Member::new("bob"));
    let pending = alice
        .engine
        .create_group(NewGroup {
            retention: Some(60),
            media_servers: vec!["https://files.example/".to_owned()],
            ..new_group("timed", vec![bob.key_package()])
        })
        .unwrap();
    bob.joins(&pending.welcomes);
    let group = alice.confirms(&pending).id;
    let expires = |event: &Event| event.tags().iter().any(|tag| tag[0] == "expiration");
    assert_eq!(bob.info(&group).retention, Some(60));
    assert!(expires(&bob.says(&group, "for a minute")));

    let told = changes(&mut alice, &group, &without(&[0x8005]), &mut [&mut bob]);
    assert_eq!(told, BTreeSet::from(["required", "retention"]));
    for member in [&mut alice, &mut bob] {
        assert_eq!(member.info(&group).retention, None);
        assert!(!expires(&member.says(&group, "for ever")));
        assert_eq!(required(member, &group), [0x8001, 0x8003, 0x8004, 0x8009, 0x800c]);
    }

    let usual = bob.engine.media_servers(&group).unwrap();
    assert_eq!(usual, ["https://files.example/"]);
    let told = changes(&mut alice, &group, &without(&[0x800b]), &mut [&mut bob]);
    assert_eq!(told, BTreeSet::from(["media"]), "it was not required");
    let again = bob.engine.media_servers(&group).unwrap();
    assert_eq!(again.first().unwrap(), "https://blossom.divine.video/");
    refuses(&mut alice, &group, &without(&[0x800b]), "remove");
    let told = changes(&mut alice, &group, &without(&[0x8001]), &mut [&mut bob]);
    assert_eq!(told, BTreeSet::from(["name", "required"]));
    assert_eq!(bob.info(&group).profile.name, "");

    // All of it can come back: by its setting, or as a requirement.
    let update = named("again");
    alice.changes(&group, GroupUpdate { retention: Some(90), ..update }, &mut [&mut bob]);
    changes(&mut alice, &group, &components(&[0x8001, 0x8005, 0x800b]), &mut [&mut bob]);
    let info = bob.info(&group);
    assert_eq!((&info.profile.name[..], info.retention), ("again", Some(90)));
    agree(&group, &mut [&mut alice, &mut bob]);
}

/// shows: C1-5: components that only others set, and one that nobody here knows, go from a group of theirs.
#[test]
fn components_of_others_go() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let avatar = AvatarUrl { url: "https://pictures.example/a".to_owned(), ..AvatarUrl::default() };
    let group = founded_by(&mut ann, &mut us, &[], |context| {
        context.set(id::AVATAR, avatar.encode().unwrap());
        context.set(0x9abc, [7]);
        context.set_list(&[&LIST[..4], &[id::AVATAR], &LIST[4..]].concat());
    });
    assert!(us.info(&group).profile.has_image);
    refuses(&mut us, &group, &components(&[0x9abc]), "components");
    let gone = [0x8006, 0x8007, 0x9abc];
    let pending = us.engine.change_requirements(&group, &without(&gone)).unwrap();
    ann.follows(event(&pending));
    us.confirms(&pending);
    assert!(!us.info(&group).profile.has_image);
    for component in gone {
        assert_eq!(says(&mut us, &group, component), None);
        refuses(&mut us, &group, &without(&[component]), "remove");
    }
    let left = [0x8001, 0x8003, 0x8004, 0x8009, 0x800b, 0x800c];
    assert_eq!(required(&mut us, &group), left);
    let said = ann.says("still here");
    assert_eq!(received(&us.applies(&said)), ["still here"]);
}

/// rule: C1-4, C1-5: ids that cannot be required, or that stay; and who may not, or not now.
#[test]
fn refusals() {
    let (mut alice, mut bob, group) = pair();
    refuses(&mut alice, &group, &RequirementsUpdate::default(), ALL);
    refuses(&mut alice, &group, &components(&[0x8001, 0x8009, 0x800c]), ALL);
    // The list itself, what stands in no group, the frozen one, unknown ones; 0x8006 has no empty state.
    for id in [0x0001, 0x0002, 0x0004, 0x8008, 0x800d, 0xF001, 0xFFFF, 0, 0x8006] {
        refuses(&mut alice, &group, &components(&[0x8005, id]), "components");
    }
    for id in [0, 0x0002, 0x0005, 0x0A0A, 0xF2D2, 0xF2EE, 0xF2F1, 0xFFFF] {
        refuses(&mut alice, &group, &extensions(&[STREAMS, id]), "extensions");
    }
    for id in [0, 0x0001, 0x0004, 0x0007, 0x0009, 0x0A0A, 0xFFFF] {
        refuses(&mut alice, &group, &proposals(&[id]), "proposals");
    }
    for id in [0x0001, 0x8003, 0x8004, 0x8009, 0x800c, 0x8005, 0x8008, 0xF001] {
        refuses(&mut alice, &group, &without(&[0x800b, id]), "remove");
    }
    let back_and_forth = RequirementsUpdate { remove: vec![0x8005], ..components(&[0x8005]) };
    refuses(&mut alice, &group, &back_and_forth, "remove");

    let change = components(&[0x8005]);
    let refused = bob.engine.change_requirements(&group, &change);
    assert!(matches!(refused, Err(Error::NotAdmin)));
    let unknown = GroupId::from_bytes(&[9; 16]).unwrap();
    let refused = alice.engine.change_requirements(&unknown, &change);
    assert!(matches!(refused, Err(Error::GroupNotFound)));
    let pending = alice.engine.change_requirements(&group, &change).unwrap();
    let refused = alice.engine.change_requirements(&group, &change);
    assert!(matches!(refused, Err(Error::CommitPending)));
    alice.engine.discard(pending.id).unwrap();
    assert_eq!(says(&mut alice, &group, 0x8005), None);
}

/// rule: C1-6: an older group gets the lifecycle by a commit of its own, and can be disbanded then.
#[test]
fn the_lifecycle_of_an_older_group() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let group = founded_by(&mut ann, &mut us, &[], |context| {
        context.omit(id::LIFECYCLE);
        context.required = Some((vec![6], vec![8]));
    });
    assert!(matches!(us.engine.disband(&group), Err(Error::NotAllowed(_))));
    let lifecycle = components(&[0x800c]);
    let more = [
        components(&[0x800c, 0x8005]),
        components(&[0x800c, 0x8002]),
        RequirementsUpdate { remove: vec![0x8006], ..lifecycle.clone() },
        RequirementsUpdate { proposals: vec![10], ..lifecycle.clone() },
        RequirementsUpdate { extensions: vec![STREAMS], ..lifecycle.clone() },
    ];
    for change in &more {
        refuses(&mut us, &group, change, "components");
    }
    // What is required already is nothing else.
    let change = RequirementsUpdate { extensions: vec![6], ..components(&[0x8003, 0x800c]) };
    let pending = us.engine.change_requirements(&group, &change).unwrap();
    assert_eq!(shape(&mut ann, event(&pending)), [("update", 1), ("update", 0x800c)]);
    ann.follows(event(&pending));
    us.confirms(&pending);
    assert_eq!(says(&mut us, &group, 0x800c), Some(vec![0]));
    assert_eq!(required(&mut us, &group), LIST);
    refuses(&mut us, &group, &lifecycle, ALL);

    us.disbands(&group, &mut []);
    us.engine.tick().unwrap();
    assert_eq!(us.info(&group).state, GroupState::Disbanded);
}
