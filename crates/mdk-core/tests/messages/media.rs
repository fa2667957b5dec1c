//! Files of messages: from one member to the other, through epochs, restarts, races, and back out of the database.

use mdk_core::{Error, EventBody, Verdict};
use mdk_store::{DatabaseKey, OpenOptions, Progress, Store};
use mdk_wire::{GroupId, Secret, kind};

use crate::kit::cast::Cast;
use crate::kit::files::{carrying, newest, opens, sends, stored};
use crate::kit::fork::Filed;
use crate::kit::{folder, kept_for, pair, refused_with};

// shows: 2.10-15, 2.10-16, 2.10-17
#[test]
fn a_file_arrives_with_its_message() {
    let (mut alice, mut bob, group) = pair();
    let encrypted = alice.engine.encrypt_media(&group, b"the plan", "plan.txt", None).unwrap();
    assert_eq!((encrypted.epoch, encrypted.data.len()), (alice.info(&group).epoch, 8 + 16));
    assert!(!encrypted.data.windows(8).any(|window| window == b"the plan"));
    let attachment = stored(encrypted.attachment);
    assert_eq!((attachment.size, attachment.mime_type.as_str()), (Some(8), "text/plain"));
    assert_eq!((attachment.dimensions, attachment.thumbhash.as_ref()), (None, None));
    // It can be opened before it is sent, by who encrypted it.
    let own = alice.engine.decrypt_media(&group, &attachment, &encrypted.data).unwrap();
    assert_eq!(own, b"the plan");
    let message = carrying("as promised", vec![attachment.clone()]);
    let outgoing = alice.sends(&group, message);
    let outcome = bob.applies(&outgoing.event);
    let [EventBody::MessageReceived { message }] =
        &outcome.events.iter().map(|e| e.body.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", outcome.events)
    };
    let expected = mdk_core::Attachment { size: None, ..attachment };
    for seen in [message, &newest(&mut bob, &group), &newest(&mut alice, &group)] {
        assert_eq!(
            (seen.text.as_str(), &seen.attachments),
            ("as promised", &vec![expected.clone()])
        );
    }
    for member in [&mut alice, &mut bob] {
        let file = member.engine.decrypt_media(&group, &expected, &encrypted.data).unwrap();
        assert_eq!(file, b"the plan");
    }
    // A message without files has none.
    bob.applies(&alice.says(&group, "that was it"));
    assert!(newest(&mut bob, &group).attachments.is_empty());
}

/// The secrets of an epoch are gone after five; a file is there as long as its message.
// shows: 2.10-17
#[test]
fn an_old_file_still_opens_also_after_a_restart() {
    let place = folder();
    let mut all = [("alice", 1), ("bob", 2)].map(|(n, k)| Filed::new(place.path(), n, k));
    let [alice, bob] = &mut all;
    let group = alice.founds("g", &mut [&mut bob.member]);
    let sent = sends(&mut alice.member, &group, b"kept", "a.bin");
    bob.applies(&sent.outgoing.event);
    for _ in 0..4 {
        for _ in 0..2 {
            alice.member.updates(&group, &mut [&mut bob.member]);
            bob.waits(6_000);
            alice.waits(6_000);
        }
        for member in [&mut *alice, &mut *bob] {
            member.restarts();
            assert_eq!(opens(&mut member.member, &group, &sent).unwrap(), b"kept");
        }
    }
    assert_eq!(alice.info(&group).epoch, 9);
}

/// The message was said before commits that arrived first.
// shows: 2.10-17
#[test]
fn a_late_message_brings_the_key_of_its_own_epoch() {
    let (mut alice, mut bob, group) = pair();
    let sent = sends(&mut alice, &group, b"late", "a.bin");
    for _ in 0..3 {
        alice.updates(&group, &mut [&mut bob]);
    }
    bob.applies(&sent.outgoing.event);
    assert_eq!(opens(&mut bob, &group, &sent).unwrap(), b"late");
}

// rule: 2.10-18
#[test]
fn what_nobody_could_open_is_not_sent() {
    let (mut alice, mut bob, group) = pair();
    let encrypted = alice.engine.encrypt_media(&group, b"x", "a.bin", None).unwrap();
    let attachment = stored(encrypted.attachment);
    bob.updates(&group, &mut [&mut alice]);
    let before = alice.digest();
    let stale = alice.engine.create_message(&group, carrying("", vec![attachment.clone()]));
    assert!(matches!(stale, Err(Error::MediaStale)));
    assert!(alice.digest() == before);
    // Nothing is in the way of what is said next, nor of the file encrypted again.
    bob.applies(&alice.says(&group, "wait"));
    let sent = sends(&mut alice, &group, b"x", "a.bin");
    bob.applies(&sent.outgoing.event);
    // Within the epoch it may be sent again, by everybody who can open it.
    let again = carrying("again", vec![sent.attachment.clone()]);
    bob.applies(&alice.sends(&group, again.clone()).event);
    let passed_on = bob.sends(&group, again.clone());
    alice.applies(&passed_on.event);
    assert_eq!(opens(&mut alice, &group, &sent).unwrap(), b"x");
    alice.updates(&group, &mut [&mut bob]);
    for member in [&mut alice, &mut bob] {
        let stale = member.engine.create_message(&group, again.clone());
        assert!(matches!(stale, Err(Error::MediaStale)));
    }
    // Nor is one that was made up.
    let mut invented = sent.attachment;
    invented.filename = "b.bin".into();
    let invented = carrying("", vec![invented]);
    assert!(matches!(alice.engine.create_message(&group, invented), Err(Error::MediaStale)));
}

// rule: 2.10-15
#[test]
fn each_attachment_is_judged_by_itself() {
    let (mut alice, mut bob, group) = pair();
    let good = stored(alice.engine.encrypt_media(&group, b"x", "a.bin", None).unwrap().attachment);
    let tag = good.to_tag().unwrap();
    let mut message = carrying("three claimed", Vec::new());
    let mut twice = tag.clone();
    twice.push("m text/plain".into());
    let mut other = tag.clone();
    other[1] = "v encrypted-media-v3".into();
    message.tags = vec![twice, tag.clone(), other, vec!["imeta".into()]];
    let outgoing = alice.sends(&group, message);
    bob.applies(&outgoing.event);
    let seen = newest(&mut bob, &group);
    let good = mdk_core::Attachment { size: None, ..good };
    assert_eq!((seen.text.as_str(), &seen.attachments), ("three claimed", &vec![good]));
    assert_eq!(seen.tags.len(), 4, "what was said stays as it was said");
    // More than a message can have: the first ones count.
    let mut message = carrying("many", Vec::new());
    message.tags = vec![tag; 65];
    bob.applies(&alice.sends(&group, message).event);
    assert_eq!(newest(&mut bob, &group).attachments.len(), 64);
}

// rule: 2.10-16
#[test]
fn only_chat_messages_carry_files() {
    let (mut alice, mut bob, group) = pair();
    let good = stored(alice.engine.encrypt_media(&group, b"x", "a.bin", None).unwrap().attachment);
    let mut poll = carrying("", vec![good.clone()]);
    poll.kind = 1068;
    let refused = alice.engine.create_message(&group, poll.clone());
    assert!(matches!(refused, Err(Error::InvalidInput { field: "attachments", .. })));
    poll.attachments = Vec::new();
    poll.tags = vec![good.to_tag().unwrap()];
    bob.applies(&alice.sends(&group, poll).event);
    assert!(newest(&mut bob, &group).attachments.is_empty());
    let mut nowhere = good.clone();
    nowhere.locators.clear();
    let mut long = good.clone();
    long.locators[0].1 = "x".repeat(2049);
    for (bad, least_or_most, given) in
        [(vec![nowhere], 1, 0), (vec![good.clone(); 65], 64, 65), (vec![long], 2048, 2049)]
    {
        let refused = alice.engine.create_message(&group, carrying("", bad));
        refused_with(refused, ("attachments", Some(least_or_most), Some(given)));
    }
    assert!(alice.engine.create_message(&group, carrying("", vec![good; 64])).is_ok());
}

#[test]
fn what_was_changed_on_its_way_is_corrupt() {
    let (mut alice, mut bob, group) = pair();
    let sent = sends(&mut alice, &group, b"twelve bytes", "a.bin");
    bob.applies(&sent.outgoing.event);
    let attachment = newest(&mut bob, &group).attachments.remove(0);
    for at in 0..sent.blob.len() {
        let mut flipped = sent.blob.clone();
        flipped[at] ^= 1;
        for wrong in [&flipped[..], &sent.blob[..at]] {
            let opened = bob.engine.decrypt_media(&group, &attachment, wrong);
            assert!(matches!(opened, Err(Error::MediaCorrupt(_))));
        }
    }
    let longer = [&sent.blob[..], b"x"].concat();
    assert!(matches!(
        bob.engine.decrypt_media(&group, &attachment, &longer),
        Err(Error::MediaCorrupt(_))
    ));
    // Another attachment than any message carries.
    let mut other = attachment.clone();
    other.filename = "b.bin".into();
    let opened = bob.engine.decrypt_media(&group, &other, &sent.blob);
    assert!(matches!(opened, Err(Error::Media(_))));
    let nowhere = GroupId::from_bytes(&[9; 16]).unwrap();
    let opened = bob.engine.decrypt_media(&nowhere, &attachment, &sent.blob);
    assert!(matches!(opened, Err(Error::GroupNotFound)));
    // Somebody claims the blob of another epoch for a file of this one: nothing opens it, and the first stays.
    alice.updates(&group, &mut [&mut bob]);
    let mut forged = carrying("mine", Vec::new());
    forged.tags = vec![attachment.to_tag().unwrap()];
    bob.applies(&alice.sends(&group, forged).event);
    assert_eq!(bob.engine.decrypt_media(&group, &attachment, &sent.blob).unwrap(), b"twelve bytes");
}

/// Rows of keys in a database that nobody has open.
fn keys_left(path: &std::path::Path, group: &GroupId, file: &[u8; 32]) -> usize {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    let report = store.verify(&mut Progress::none()).unwrap();
    assert!(report.is_intact(), "{report:?}");
    store.read(|tx| tx.file_keys(group, file)).unwrap().len()
}

/// Alice sends a file to bob; both lie on disk.
fn filed(place: &std::path::Path) -> (Filed, Filed, GroupId, crate::kit::files::Sent) {
    let mut alice = Filed::new(place, "alice", 1);
    let mut bob = Filed::new(place, "bob", 2);
    let group = alice.founds("g", &mut [&mut bob.member]);
    alice.changes(&group, kept_for(100), &mut [&mut bob.member]);
    let sent = sends(&mut alice.member, &group, b"gone soon", "a.bin");
    bob.applies(&sent.outgoing.event);
    for member in [&mut alice, &mut bob] {
        assert_eq!(opens(&mut member.member, &group, &sent).unwrap(), b"gone soon");
    }
    (alice, bob, group, sent)
}

fn nothing_is_left(
    mut member: Filed,
    place: &std::path::Path,
    group: &GroupId,
    sent: &crate::kit::files::Sent,
) {
    let opened = member.engine.decrypt_media(group, &sent.attachment, &sent.blob);
    assert!(matches!(opened, Err(Error::Media(_))), "{opened:?}");
    let copies = place.join("closed");
    std::fs::create_dir_all(&copies).unwrap();
    let copy = member.copied(&copies);
    let path = copy.path.clone();
    drop(copy);
    assert_eq!(keys_left(&path, group, &sent.attachment.reference()), 0);
}

#[test]
fn a_deleted_message_leaves_no_key() {
    let place = folder();
    let (mut alice, mut bob, group, sent) = filed(place.path());
    let deletion = alice.engine.delete(&group, &sent.outgoing.message.id).unwrap();
    bob.applies(&deletion.event);
    assert!(newest(&mut bob.member, &group).attachments.is_empty());
    nothing_is_left(alice, place.path(), &group, &sent);
    nothing_is_left(bob, place.path(), &group, &sent);
}

#[test]
fn an_expired_message_leaves_no_key() {
    let place = folder();
    let (mut alice, bob, group, sent) = filed(place.path());
    alice.waits(101_000);
    // Nobody told bob's engine that time has passed.
    bob.clock.advance_millis(101_000);
    nothing_is_left(alice, place.path(), &group, &sent);
    nothing_is_left(bob, place.path(), &group, &sent);
}

#[test]
fn what_comes_too_late_or_was_deleted_before_brings_no_key() {
    let place = folder();
    let (mut alice, mut bob, group, _) = filed(place.path());
    let sent = sends(&mut alice.member, &group, b"late", "a.bin");
    let deleted = sends(&mut alice.member, &group, b"deleted", "b.bin");
    let deletion = alice.engine.delete(&group, &deleted.outgoing.message.id).unwrap();
    bob.takes(&deletion.event);
    bob.applies(&deleted.outgoing.event);
    bob.waits(101_000);
    bob.takes(&sent.outgoing.event);
    let second = bob.copied(&{
        let path = place.path().join("second");
        std::fs::create_dir_all(&path).unwrap();
        path
    });
    nothing_is_left(bob, place.path(), &group, &sent);
    nothing_is_left(second, place.path(), &group, &deleted);
}

/// Alice and carol commit at once, and each sends a file on her branch. Bob follows one, then hears of the other: what he
/// still sees of either he can open, whichever wins, and so can they.
#[test]
fn files_of_both_branches_of_a_race_open() {
    const RACE: [&str; 2] = ["alice", "carol"];
    for order in [[0, 1], [1, 0]] {
        let mut cast = Cast::new(&["alice", "bob", "carol"], &["carol"]);
        let group = cast.group.clone();
        let commits = RACE.map(|who| cast.renames(who, who));
        let files =
            RACE.map(|who| sends(&mut cast.at(who).member, &group, who.as_bytes(), "a.bin"));
        for which in order {
            // Nobody hears what she said herself.
            for who in cast.names().into_iter().filter(|who| *who != RACE[which]) {
                for event in [&commits[which], &files[which].outgoing.event] {
                    let verdict = cast.at(who).takes(event).verdict;
                    assert!(!matches!(verdict, Verdict::Rejected(_)), "{who}: {verdict:?}");
                }
            }
        }
        for who in cast.names() {
            cast.waits_often(who, 3, 6_000);
            cast.restarts(who);
            let mut seen = 0;
            for (file, text) in files.iter().zip(RACE) {
                if cast.engine(who).message(&group, &file.outgoing.message.id).is_ok() {
                    let opened = opens(&mut cast.at(who).member, &group, file);
                    assert_eq!(opened.unwrap(), text.as_bytes());
                    seen += 1;
                }
            }
            assert!(seen >= 1, "{who}");
        }
        cast.all_agree("after the race");
    }
}

/// A reaction to a message with a file, an edit of it: the file stays with the message.
#[test]
fn an_edited_message_keeps_its_file() {
    let (mut alice, mut bob, group) = pair();
    let sent = sends(&mut alice, &group, b"x", "a.bin");
    bob.applies(&sent.outgoing.event);
    bob.applies(&alice.engine.edit(&group, &sent.outgoing.message.id, "no, here").unwrap().event);
    let seen = newest(&mut bob, &group);
    assert_eq!((seen.text.as_str(), seen.fate.edited, seen.kind), ("no, here", true, kind::CHAT));
    assert_eq!(opens(&mut bob, &group, &sent).unwrap(), b"x");
}
