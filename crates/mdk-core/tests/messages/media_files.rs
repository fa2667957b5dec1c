//! Limits of files, pictures that are sent, and the image of a group.

use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use mdk_core::{Engine, Error, EventBody, GroupUpdate, ManualClock, NewGroup};
use mdk_wire::v2::component_id as id;
use mdk_wire::{GroupId, Keys};

use crate::kit::files::{newest, opens, sends};
use crate::kit::{Member, at_once, new_group, pair, refused_with};

fn with_limit(name: &'static str, bytes: u64) -> Member {
    let mut config = at_once();
    config.max_media_bytes = bytes;
    Member::with(name, config)
}

#[track_caller]
fn too_large<T>(result: Result<T, Error>, limit: u64, actual: u64) {
    match result {
        Err(Error::MediaTooLarge { what: "bytes", limit: l, actual: a }) => {
            assert_eq!((l, a), (limit, actual));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn the_largest_file_and_one_byte_more() {
    let mut alice = with_limit("alice", 1000);
    let mut bob = with_limit("bob", 1000);
    let mut carol = with_limit("carol", 999);
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    too_large(alice.engine.encrypt_media(&group, &[7; 1001], "a.bin", None), 1000, 1001);
    too_large(alice.engine.encrypt_group_image(&[7; 1001], None), 1000, 1001);
    let sent = sends(&mut alice, &group, &[7; 1000], "a.bin");
    for member in [&mut bob, &mut carol] {
        member.applies(&sent.outgoing.event);
    }
    assert_eq!(opens(&mut bob, &group, &sent).unwrap(), [7; 1000]);
    too_large(opens(&mut carol, &group, &sent), 999, 1000);
    assert_eq!(mdk_core::Config::default().max_media_bytes, 104_857_600);
    let empty = sends(&mut alice, &group, b"", "a.bin");
    bob.applies(&empty.outgoing.event);
    assert_eq!(opens(&mut bob, &group, &empty).unwrap(), b"");
}

#[test]
fn names_and_types() {
    let (mut alice, mut bob, group) = pair();
    let types = [64, 65].map(|length| format!("x/{}", "y".repeat(length)));
    let mut encrypt = |name: &str, kind| alice.engine.encrypt_media(&group, b"x", name, kind);
    assert!(encrypt(&"n".repeat(255), None).is_ok());
    refused_with(encrypt(&"n".repeat(256), None), ("filename", Some(255), Some(256)));
    for (name, kind, expected) in [
        ("", None, ("filename", Some(1), Some(0))),
        ("a\0b", None, ("filename", None, None)),
        ("a", Some("picture"), ("mime_type", None, None)),
        ("a", Some(types[1].as_str()), ("mime_type", Some(64), Some(65))),
    ] {
        refused_with(encrypt(name, kind), expected);
    }
    assert!(encrypt("a", Some(&types[0])).is_ok());
    assert_eq!(encrypt("a", Some("Text/Plain; x")).unwrap().attachment.mime_type, "text/plain");
    let nowhere = GroupId::from_bytes(&[9; 16]).unwrap();
    let unknown = alice.engine.encrypt_media(&nowhere, b"x", "a", None);
    assert!(matches!(unknown, Err(Error::GroupNotFound)));
    let removed = alice.engine.remove_members(&group, &[bob.key()]).unwrap();
    bob.applies(removed.event.as_ref().unwrap());
    let out = bob.engine.encrypt_media(&group, b"x", "a", None);
    assert!(matches!(out, Err(Error::NotMember(_))));
    assert!(matches!(bob.engine.group_image(&group), Err(Error::NotMember(_))));
}

/// A JPEG with what a telephone writes into it, turned by a quarter.
fn photograph() -> Vec<u8> {
    let mut plain = Vec::new();
    let pixels = image::RgbImage::from_fn(60, 40, |x, y| image::Rgb([x as u8 * 4, y as u8 * 6, 9]));
    JpegEncoder::new(&mut plain).encode_image(&pixels).unwrap();
    let mut exif =
        b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    exif.extend_from_slice(b"GPSLatitude 52.5");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
}

fn tells(data: &[u8]) -> bool {
    data.windows(11).any(|window| window == b"GPSLatitude")
}

#[test]
fn a_photograph_does_not_say_where_it_was_taken() {
    let (mut alice, mut bob, group) = pair();
    assert!(tells(&photograph()));
    let sent = sends(&mut alice, &group, &photograph(), "IMG_0001.JPG");
    bob.applies(&sent.outgoing.event);
    let seen = newest(&mut bob, &group).attachments.remove(0);
    assert_eq!((seen.mime_type.as_str(), seen.dimensions), ("image/jpeg", Some((40, 60))));
    assert!(seen.thumbhash.is_some());
    let file = opens(&mut bob, &group, &sent).unwrap();
    assert!(!tells(&file));
    assert_eq!(sent.attachment.size, Some(file.len() as u64));
    assert_eq!(image::load_from_memory(&file).unwrap().width(), 60);
    // Who wants it as it is gets it as it is.
    let mut config = at_once();
    config.strip_image_metadata = false;
    let clock = Arc::new(ManualClock::at(crate::kit::now()));
    let mut engine = Engine::in_memory(Keys::generate(), config, clock).unwrap();
    let (blob, image) = engine.encrypt_group_image(&photograph(), None).unwrap();
    assert!(engine.decrypt_group_image(&image, &blob).unwrap() == photograph());
    let (blob, image) = alice.engine.encrypt_group_image(&photograph(), None).unwrap();
    assert!(!tells(&alice.engine.decrypt_group_image(&image, &blob).unwrap()));
    let damaged = alice.engine.encrypt_media(&group, &photograph()[..50], "a.jpg", None);
    assert!(matches!(damaged, Err(Error::Media(_))));
    assert!(engine.encrypt_group_image(b"no picture", None).is_err());
}

// shows: 2.2-25
#[test]
fn the_image_of_a_group_is_set_seen_and_removed() {
    let (mut alice, mut bob, group) = pair();
    assert!(!bob.info(&group).profile.has_image);
    assert_eq!(bob.engine.group_image(&group).unwrap(), None);
    let (blob, image) = alice.engine.encrypt_group_image(&photograph(), None).unwrap();
    let set = |image| GroupUpdate { image: Some(image), ..GroupUpdate::default() };
    let refused = bob.engine.update_group(&group, set(Some(image.clone())));
    assert!(matches!(refused, Err(Error::NotAdmin)));

    let pending = alice.changes(&group, set(Some(image.clone())), &mut []);
    let outcome = bob.applies(pending.event.as_ref().unwrap());
    let changed = outcome.events.iter().find_map(|event| match &event.body {
        EventBody::GroupUpdated { changed, .. } => Some(changed.clone()),
        _ => None,
    });
    assert_eq!(changed.unwrap().into_iter().collect::<Vec<_>>(), ["image"]);
    assert!(alice.info(&group).profile.has_image && bob.info(&group).profile.has_image);
    let seen = bob.engine.group_image(&group).unwrap().unwrap();
    assert_eq!(seen, image);
    let picture = bob.engine.decrypt_group_image(&seen, &blob).unwrap();
    assert!(image::load_from_memory(&picture).is_ok());
    for wrong in [&blob[1..], b""] {
        let opened = bob.engine.decrypt_group_image(&seen, wrong);
        assert!(matches!(opened, Err(Error::MediaCorrupt(_))));
    }

    alice.changes(&group, set(None), &mut [&mut bob]);
    for member in [&mut alice, &mut bob] {
        assert!(!member.info(&group).profile.has_image);
        assert_eq!(member.engine.group_image(&group).unwrap(), None);
    }
    let state = mdk_core::testing::state(&mut bob.engine, &group).unwrap();
    assert_eq!(state.components[&id::IMAGE], [0; 5]);
}

// shows: B1-4
#[test]
fn a_founder_says_where_the_files_of_the_group_go() {
    let (mut alice, mut bob, group) = pair();
    let usual =
        ["https://blossom.divine.video/", "https://blossom.ditto.pub/", "https://cdn.hzrd149.com/"]
            .map(|url| ("blossom-v1".to_owned(), url.to_owned()));
    for member in [&mut alice, &mut bob] {
        assert_eq!(member.engine.media_endpoints(&group).unwrap(), usual);
    }
    let servers = ["https://files.example", "https://files.example/deep", "http://127.0.0.1:3000"];
    let new = |servers: &[&str]| NewGroup {
        media_servers: servers.iter().map(|&url| url.to_owned()).collect(),
        ..new_group("g", vec![])
    };
    let founding = NewGroup { members: vec![bob.key_package()], ..new(&servers) };
    let pending = alice.engine.create_group(founding).unwrap();
    let group = alice.confirms(&pending).id;
    bob.joins(&pending.welcomes);
    let expected =
        ["https://files.example/", "https://files.example/deep", "http://127.0.0.1:3000/"];
    for member in [&mut alice, &mut bob] {
        assert_eq!(member.engine.media_servers(&group).unwrap(), expected);
    }
    let user = "https://me@files.example";
    for bad in [&["ftp://files.example"][..], &["files.example"], &[user], &["https://a"; 17]] {
        let error = alice.engine.create_group(new(bad)).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { field: "media_servers", .. }), "{error:?}");
    }
}
