//! The picture of a group and the places for its files, as an admin changes them.

use mdk_core::{Error, EventBody, GroupUpdate, testing};
use mdk_wire::v2::component_id as id;
use mdk_wire::v2::components::{AvatarUrl, Endpoint, Image, Media};
use mdk_wire::{Event, GroupId};

use crate::kit::foreign::Foreign;
use crate::kit::foreign_commits::founded_by;
use crate::kit::{Member, new_group, pair};

const URL: &str = "https://pictures.example/a.png?x=1";
/// The smallest picture: one pixel.
const PICTURE: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

fn avatar(url: Option<&str>) -> GroupUpdate {
    GroupUpdate { avatar_url: Some(url.map(str::to_owned)), ..GroupUpdate::default() }
}

fn image(image: Option<Image>) -> GroupUpdate {
    GroupUpdate { image: Some(image), ..GroupUpdate::default() }
}

fn servers(urls: &[&str]) -> GroupUpdate {
    let urls = urls.iter().map(|&url| url.to_owned()).collect();
    GroupUpdate { media_servers: Some(urls), ..GroupUpdate::default() }
}

fn picture(member: &mut Member) -> Image {
    member.engine.encrypt_group_image(PICTURE, None).unwrap().1
}

/// The commit of a change, confirmed and applied by the other: what the other is told of.
fn changes(
    admin: &mut Member,
    other: &mut Member,
    group: &GroupId,
    update: GroupUpdate,
) -> Vec<&'static str> {
    let pending = admin.changes(group, update, &mut []);
    let outcome = other.applies(pending.event.as_ref().unwrap());
    let told = outcome.events.iter().find_map(|event| match &event.body {
        EventBody::GroupUpdated { changed, .. } => Some(changed.iter().copied().collect()),
        _ => None,
    });
    let states = [&mut *admin, other]
        .map(|member| testing::state(&mut member.engine, group).unwrap().authenticator);
    assert_eq!(states[0], states[1]);
    told.unwrap_or_default()
}

/// Address and image, as both see them.
fn shown(members: [&mut Member; 2], group: &GroupId) -> (Option<String>, Option<Image>) {
    let [one, two] = members.map(|member| {
        let seen =
            (member.engine.avatar_url(group).unwrap(), member.engine.group_image(group).unwrap());
        assert_eq!(member.info(group).profile.has_image, seen.0.is_some() || seen.1.is_some());
        seen
    });
    assert_eq!(one, two);
    one
}

/// The engine refuses it for this argument, and nothing has changed.
fn refuses(
    member: &mut Member,
    group: &GroupId,
    update: GroupUpdate,
    field: &str,
) -> (Option<u64>, Option<u64>) {
    let before = member.digest();
    let refused = member.engine.update_group(group, update.clone());
    assert!(member.digest() == before);
    match refused {
        Err(Error::InvalidInput { field: found, limit, actual, .. }) if found == field => {
            (limit, actual)
        }
        other => panic!("{update:?}: {other:?}"),
    }
}

// shows: C1-8
#[test]
fn a_group_has_one_picture_an_image_or_an_address() {
    let (mut alice, mut bob, group) = pair();
    let sealed = picture(&mut alice);
    let address = |url: &str| (Some(url.to_owned()), None);
    let mut after = |update: GroupUpdate, told: &[&str]| {
        assert_eq!(changes(&mut alice, &mut bob, &group, update), told);
        shown([&mut alice, &mut bob], &group)
    };
    assert_eq!(after(avatar(Some(URL)), &["avatar"]), address(URL));
    // As a browser writes it, which is the form that members read.
    let typed = "HTTPS://Pictures.example:443/x/../\u{e4}";
    let normal = "https://pictures.example/%C3%A4";
    assert_eq!(after(avatar(Some(typed)), &["avatar"]), address(normal));
    let set = image(Some(sealed.clone()));
    assert_eq!(after(set.clone(), &["avatar", "image"]), (None, Some(sealed.clone())));
    assert_eq!(after(avatar(Some(URL)), &["avatar", "image"]), address(URL));
    assert_eq!(after(avatar(None), &["avatar"]), (None, None));
    assert_eq!(after(set.clone(), &["image"]), (None, Some(sealed.clone())));
    // There is no address that could go: the image stays.
    assert_eq!(after(avatar(None), &[]), (None, Some(sealed.clone())));
    let both = GroupUpdate { avatar_url: avatar(Some(URL)).avatar_url, ..image(None) };
    assert_eq!(after(both, &["avatar", "image"]), address(URL));
    let both = GroupUpdate { avatar_url: Some(None), ..set };
    assert_eq!(after(both, &["avatar", "image"]), (None, Some(sealed)));
    let both = GroupUpdate { avatar_url: Some(None), name: Some("n".into()), ..image(None) };
    assert_eq!(after(both, &["image", "name"]), (None, None));
    let state = testing::state(&mut bob.engine, &group).unwrap();
    assert_eq!(
        (&state.components[&id::AVATAR][..], &state.components[&id::IMAGE][..]),
        (&[0; 3][..], &[0; 5][..])
    );
}

#[test]
fn an_address_that_members_could_not_read_is_refused() {
    let (mut alice, mut bob, group) = pair();
    for bad in [
        "",
        "pictures.example/a.png",
        "http://pictures.example/a.png",
        "https://me@pictures.example/a.png",
        "https://pictures.example/a.png#top",
        "https://",
        "data:image/png;base64,AAAA",
    ] {
        assert_eq!(refuses(&mut alice, &group, avatar(Some(bad)), "avatar_url"), (None, None));
    }
    let long = |bytes: usize| format!("{:a<bytes$}", "https://p.example/");
    let measured = refuses(&mut alice, &group, avatar(Some(&long(2049))), "avatar_url");
    assert_eq!(measured, (Some(2048), Some(2049)));
    // Over the limit only in normal form, which is what counts.
    let grown = format!("https://p.example/{}", "\u{e4}".repeat(400));
    refuses(&mut alice, &group, avatar(Some(&grown)), "avatar_url");
    let two = GroupUpdate { image: Some(Some(picture(&mut alice))), ..avatar(Some(URL)) };
    refuses(&mut alice, &group, two, "avatar_url");
    let refused = bob.engine.update_group(&group, avatar(Some(URL)));
    assert!(matches!(refused, Err(Error::NotAdmin)));
    assert_eq!(changes(&mut alice, &mut bob, &group, avatar(Some(&long(2048)))), ["avatar"]);
}

/// Another implementation may have set both: the address is what is shown, until it goes.
#[test]
fn a_group_of_others_with_both_pictures() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let (sealed, hints) = (picture(&mut us), b"640x480".to_vec());
    let theirs = AvatarUrl { url: URL.to_owned(), dim: hints, ..AvatarUrl::default() };
    let group = founded_by(&mut ann, &mut us, &[], |context| {
        context.set(id::AVATAR, theirs.encode().unwrap());
        context.set(id::IMAGE, sealed.encode().unwrap());
    });
    assert_eq!(us.engine.avatar_url(&group).unwrap().as_deref(), Some(URL));
    let mut after = |update: GroupUpdate| {
        let pending = us.engine.update_group(&group, update).unwrap();
        let event: &Event = pending.event.as_ref().unwrap();
        ann.follows(event);
        us.confirms(&pending);
        let seen = (us.engine.avatar_url(&group).unwrap(), us.engine.group_image(&group).unwrap());
        (seen, testing::state(&mut us.engine, &group).unwrap().components)
    };
    let (seen, _) = after(avatar(None));
    assert_eq!(seen, (None, Some(sealed)));
    let (seen, components) = after(avatar(Some("https://pictures.example")));
    assert_eq!(seen, (Some("https://pictures.example/".to_owned()), None));
    let ours = AvatarUrl::decode(&components[&id::AVATAR]).unwrap();
    assert!(ours.dim.is_empty(), "the hints were of the other picture");
    assert!(Image::decode(&components[&id::IMAGE]).unwrap().0.is_none());
}

#[test]
fn the_servers_for_files_change() {
    let (mut alice, mut bob, group) = pair();
    let given = ["https://files.example", "http://127.0.0.1:3000/deep"];
    assert_eq!(changes(&mut alice, &mut bob, &group, servers(&given)), ["media"]);
    for member in [&mut alice, &mut bob] {
        let named = member.engine.media_servers(&group).unwrap();
        assert_eq!(named, ["https://files.example/", "http://127.0.0.1:3000/deep"]);
    }
    // Without any it is as a group that was founded without any.
    assert_eq!(changes(&mut alice, &mut bob, &group, servers(&[])), ["media"]);
    let pending = bob.engine.create_group(new_group("", vec![])).unwrap();
    let plain = bob.confirms(&pending).id;
    let [ours, founded] = [&group, &plain].map(|group| {
        testing::state(&mut bob.engine, group).unwrap().components[&id::MEDIA].clone()
    });
    assert_eq!(ours, founded);
    // A group whose component was given up has it again.
    let gone = mdk_core::RequirementsUpdate { remove: vec![id::MEDIA], ..Default::default() };
    let pending = alice.engine.change_requirements(&group, &gone).unwrap();
    alice.confirms(&pending);
    bob.applies(pending.event.as_ref().unwrap());
    assert_eq!(changes(&mut alice, &mut bob, &group, servers(&given[..1])), ["media"]);
    assert_eq!(bob.engine.media_servers(&group).unwrap(), ["https://files.example/"]);

    let long = format!("{:a<2049}", "https://p.example/");
    for bad in [&["ftp://files.example"][..], &["files.example"], &["https://a?b"], &[""]] {
        refuses(&mut alice, &group, servers(bad), "media_servers");
    }
    let long = refuses(&mut alice, &group, servers(&[&long]), "media_servers");
    assert_eq!(long, (Some(2048), Some(2049)));
    let many = refuses(&mut alice, &group, servers(&["https://a"; 17]), "media_servers");
    assert_eq!(many, (Some(16), Some(17)));
    let refused = bob.engine.update_group(&group, servers(&given));
    assert!(matches!(refused, Err(Error::NotAdmin)));
}

#[test]
fn places_of_other_kinds_stay() {
    let (mut ann, mut us) = (Foreign::new(), Member::new("us"));
    let place = |kind: &str, url: &str| Endpoint::new(kind, url).unwrap();
    let elsewhere = place("depot-v3", "https://depot.example/");
    let kinds = vec!["depot-v3".to_owned(), "blossom-v1".to_owned()];
    let endpoints = vec![elsewhere.clone(), place("blossom-v1", "https://old.example/")];
    let theirs = Media { kinds: kinds.clone(), endpoints };
    let group = founded_by(&mut ann, &mut us, &[], |context| {
        context.set(id::MEDIA, theirs.encode().unwrap());
    });
    let pending = us.engine.update_group(&group, servers(&["https://new.example"])).unwrap();
    ann.follows(pending.event.as_ref().unwrap());
    us.confirms(&pending);
    let state = testing::state(&mut us.engine, &group).unwrap();
    let media = Media::decode(&state.components[&id::MEDIA]).unwrap();
    assert_eq!(media.kinds, kinds);
    assert_eq!(media.endpoints, [place("blossom-v1", "https://new.example/"), elsewhere]);
}
