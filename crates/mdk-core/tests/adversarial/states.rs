//! Commits that make another state than they say, and messages of one branch under the key of another.

use mdk_core::RejectCode::{InvalidEncoding, InvalidSignature};
use mdk_core::Verdict;
use mdk_wire::v2::component_id as id;
use mdk_wire::v2::components::Profile;

use crate::kit::foreign::{Change, Foreign, update};
use crate::kit::foreign_commits::{Who, World, admins, by_value, profile, rename, self_update};
use crate::kit::{RIVAL, named};

fn described(name: &str, description: &str) -> Vec<u8> {
    Profile { name: name.into(), description: description.into() }.encode().unwrap()
}

/// What a group says that this version knows nothing of.
fn foreign_entry(peer: &Foreign) -> Option<Vec<u8>> {
    let dictionary = peer.mls().extensions().app_data_dictionary().unwrap().dictionary();
    dictionary.get(&0x9abc).map(<[u8]>::to_vec)
}

// shows: 2.2-u2
#[test]
fn what_we_do_not_know_of_a_group_stays_in_what_we_commit() {
    let mut w = World::with(|context, _| context.set(0x9abc, [1, 2, 3]));
    let all = [w.ann.key(), w.ada.key(), w.us.key()];
    w.commits(Who::Ann, by_value(vec![update(id::ADMIN_POLICY, &admins(&all))]));
    let group = w.id.clone();
    let pending = w.us.changes(&group, named("Dinner"), &mut []);
    w.ann.follows(&pending.event.unwrap());
    assert_eq!(foreign_entry(&w.ann), Some(vec![1, 2, 3]));
    let said = w.ann.says("here");
    w.us.applies(&said);
}

// rule: 2.2-u1
#[test]
fn what_an_update_does_not_say_is_gone() {
    let mut w =
        World::with(|context, _| context.set(id::PROFILE, described("Lunch", "every noon")));
    let group = w.id.clone();
    assert_eq!(w.us.info(&group).profile.description, "every noon");
    // The committer lets stand what the update does not say, so that the state is another one.
    let merged = Some(vec![(id::PROFILE, Some(described("Dinner", "every noon")))]);
    let event = w.ann.commit_event(Change {
        updates: merged,
        path: false,
        ..by_value(vec![rename("Dinner")])
    });
    assert_eq!(w.refuses(&event), (InvalidSignature, "D4-7"));
    w.ann.forgets();
    // A part of a state is none: the name alone, without the length of a description.
    let whole = profile("Dinner");
    let part = update(id::PROFILE, &whole[..whole.len() - 1]);
    let event = w.ann.commit_event(by_value(vec![part]));
    assert_eq!(w.refuses(&event), (InvalidEncoding, "D4-5f"));
    w.ann.forgets();
    let event = w.ann.commit_event(by_value(vec![rename("Dinner")]));
    w.us.applies(&event);
    let info = w.us.info(&group);
    assert_eq!((info.profile.name.as_str(), info.profile.description.as_str()), ("Dinner", ""));
}

/// What counts in the history: not marked as said on a branch that lost.
fn valid(w: &mut World) -> Vec<String> {
    let all = w.us.engine.messages(&w.id, 9, None, None).unwrap();
    all.into_iter()
        .filter(|message| !message.fate.invalidated)
        .map(|message| message.text)
        .collect()
}

/// Members seal what they say under the key of the state that they say it in. Somebody who has both keys may seal it
/// again under the other one: that must not condemn it, for it belongs to a branch that may yet win.
// shows: D2-10
#[test]
fn a_message_of_one_branch_under_the_key_of_another() {
    let mut w = World::new();
    // Of two alike the commit of the lower key wins.
    let first = w.ann.key() < w.ada.key();
    let (followed, other) = if first { (Who::Ann, Who::Ada) } else { (Who::Ada, Who::Ann) };
    let commit = w.peer(followed).commit_event(by_value(vec![rename("followed")]));
    let rival = w.peer(other).commit_event(by_value(vec![rename("other")]));
    w.us.applies(&commit);
    assert_eq!(w.us.takes(&rival).verdict, RIVAL);
    w.peer(followed).merges();
    w.peer(other).merges();
    // A witness for each branch, so that what the other one says changes no choice.
    w.max.follows(&commit);
    w.us.applies(&w.max.says("on the one that is followed"));
    let payload = w.peer(other).payload("on the other branch").to_json();
    let bytes = w.peer(other).encrypts(payload.as_bytes());
    let event = w.peer(followed).seals(&bytes);
    let verdict = w.us.takes(&event).verdict;
    assert_eq!(verdict, RIVAL);
    assert_eq!(valid(&mut w), ["on the one that is followed"]);
    // What opens on neither branch is refused.
    let mut garbled = w.peer(other).encrypts(payload.as_bytes());
    *garbled.last_mut().unwrap() ^= 1;
    let event = w.peer(followed).seals(&garbled);
    assert_eq!(w.refuses(&event), (InvalidEncoding, "D2-6"));
    // The other branch gets longer, and wins.
    let longer = w.peer(other).commit_event(self_update());
    let verdict = w.us.takes(&longer).verdict;
    assert!(matches!(verdict, Verdict::Applied | RIVAL));
    assert_eq!(valid(&mut w), ["on the other branch"]);
}
