//! Welcomes that come again, for known, ended and declined groups; and what a joiner can read.

use mdk_core::{Error, RejectCode, Verdict};
use mdk_wire::limits::MAX_VECTOR_BYTES;
use mdk_wire::v2::component_id;
use mdk_wire::varint::{Reader, Writer};
use mdk_wire::{Event, GroupId};

use crate::kit::foreign::{Change, Foreign, read_key_package};
use crate::kit::{Member, WAITS, newcomer, received, welcomes};

fn invited() -> (Member, Event, Foreign, Event) {
    let (mut bob, package) = newcomer("bob");
    let (founder, wrapped) = Foreign::welcoming(&package);
    bob.applies(&wrapped);
    (bob, package, founder, wrapped)
}

fn joined() -> (Member, Foreign, GroupId) {
    let (mut bob, _, founder, wrapped) = invited();
    let group = bob.engine.accept(&wrapped.id()).unwrap().id;
    (bob, founder, group)
}

/// Commits, lets `bob` apply it, merges.
fn commits(founder: &mut Foreign, bob: &mut Member, change: Change) {
    bob.applies(&founder.commit_event(change));
    founder.merges();
}

fn removes(founder: &mut Foreign, bob: &mut Member) {
    let removes = vec![founder.leaf_of(&bob.key())];
    commits(founder, bob, Change { removes, ..Change::default() });
}

#[track_caller]
fn refused(bob: &mut Member, event: &Event, rule: &str, code: RejectCode) {
    let before = bob.digest();
    let Verdict::Rejected(rejection) = bob.takes(event).verdict else { panic!("accepted") };
    assert_eq!((rejection.rule, rejection.code), (rule, code), "{}", rejection.reason);
    assert_eq!(bob.digest(), before);
}

/// The same Welcome with a recipient more, of whom nobody has ever heard, before the others: what is meant for them and
/// the group behind them stay as they are.
fn with_another_recipient(welcome: &[u8]) -> Vec<u8> {
    let (head, body) = welcome.split_at(6);
    let mut reader = Reader::new(body);
    let secrets = reader.vector("secrets", MAX_VECTOR_BYTES).unwrap();
    let group = reader.vector("encrypted_group_info", MAX_VECTOR_BYTES).unwrap();
    let mut changed = Writer::with_capacity(welcome.len() * 2);
    let mut more = Writer::with_capacity(64);
    more.vector("new_member", 255, &[9; 32]).unwrap();
    more.vector("kem_output", 255, &[8; 32]).unwrap();
    more.vector("ciphertext", 255, &[7; 48]).unwrap();
    let secrets = [more.into_vec(), secrets.to_vec()].concat();
    changed.vector("secrets", MAX_VECTOR_BYTES, &secrets).unwrap();
    changed.vector("encrypted_group_info", MAX_VECTOR_BYTES, group).unwrap();
    [head.to_vec(), changed.into_vec()].concat()
}

/// However it is wrapped, by whom, for whom beside, and whatever became of it.
// rule: B4-1
#[test]
fn the_same_welcome_counts_once() {
    type Answer = fn(&mut Member, &mut Foreign, &Event);
    let answers: [(&str, Answer); 4] = [
        ("none yet", |_, _, _| {}),
        ("declined", |bob, _, wrapped| bob.engine.decline(&wrapped.id()).unwrap()),
        ("removed", |bob, founder, wrapped| {
            bob.engine.accept(&wrapped.id()).unwrap();
            removes(founder, bob);
        }),
        ("deleted", |bob, founder, wrapped| {
            let group = bob.engine.accept(&wrapped.id()).unwrap().id;
            removes(founder, bob);
            bob.waits(600_000);
            bob.engine.delete_group(&group).unwrap();
        }),
    ];
    for (which, answer) in answers {
        let (mut bob, package) = newcomer("bob");
        let (mut founder, welcome) = Foreign::inviting(&package);
        let changed = with_another_recipient(&welcome);
        // It is a good one: whoever has only this one joins by it.
        let (mut other, invited) = newcomer("bob");
        let (beside, good) = Foreign::inviting(&invited);
        other.applies(&beside.wraps(&with_another_recipient(&good), &invited));

        let [wrapped, wrapped_again] = [(); 2].map(|()| founder.wraps(&welcome, &package));
        bob.applies(&wrapped);
        answer(&mut bob, &mut founder, &wrapped);
        let (before, asked) = (bob.digest(), bob.engine.invites().unwrap());
        let courier = Foreign::new();
        let others = [&welcome, &changed].map(|bytes| courier.wraps(bytes, &package));
        for again in [&wrapped, &wrapped_again].into_iter().chain(&others) {
            assert_eq!(bob.takes(again).verdict, Verdict::Duplicate, "{which}");
            assert_eq!(bob.digest(), before, "{which}");
        }
        let accepted = bob.engine.accept(&wrapped_again.id());
        assert!(matches!(accepted, Err(Error::InviteNotFound)), "{which}");
        assert_eq!(bob.engine.invites().unwrap(), asked, "{which}");
    }
}

// rule: B4-4
#[test]
fn a_known_group_is_not_joined_again() {
    let (mut bob, package, founder, wrapped) = invited();
    // Another group under the same id, by another founder.
    let id = founder.mls().group_id().as_slice().to_vec();
    let second = welcomes::group(&package, |c| c.id = id);
    // (while neither is accepted nobody knows which is the right one: B4-32)
    assert_eq!(bob.takes(&second).verdict, WAITS);
    assert_eq!(bob.engine.invites().unwrap().len(), 2);
    bob.engine.accept(&wrapped.id()).unwrap();
    refused(&mut bob, &second, "B4-4", RejectCode::AlreadyApplied);
    assert_eq!(bob.engine.invites().unwrap().len(), 0);
}

// shows: B4-5
#[test]
fn a_bad_welcome_does_not_touch_a_removed_copy() {
    let (mut bob, mut founder, group) = joined();
    bob.applies(&founder.says("before"));
    removes(&mut founder, &mut bob);
    let package = bob.key_package();
    // The id is claimed by somebody whose group breaks a rule that is judged last.
    let wrapped = welcomes::group(&package, |c| {
        c.id = group.as_bytes().to_vec();
        c.set_admins(&[bob.key()]);
    });
    refused(&mut bob, &wrapped, "B4-9", RejectCode::AuthorizationFailed);
    assert_eq!(bob.texts(&group), ["before"]);
}

// rule: 2.6-8
#[test]
fn one_key_package_serves_two_welcomes_and_survives_a_bad_one_between() {
    let (mut bob, package, mut first, wrapped) = invited();
    let one = bob.engine.accept(&wrapped.id()).unwrap().id;
    let refused_one = welcomes::group(&package, |c| c.set(component_id::LIFECYCLE, [2]));
    refused(&mut bob, &refused_one, "B5-5a", RejectCode::InvalidEncoding);
    let (mut second, wrapped) = Foreign::welcoming(&package);
    bob.applies(&wrapped);
    let two = bob.engine.accept(&wrapped.id()).unwrap().id;
    bob.applies(&first.says("first"));
    bob.applies(&second.says("second"));
    assert_eq!((bob.texts(&one), bob.texts(&two)), (vec!["first".into()], vec!["second".into()]));
    let [info] = bob.engine.key_packages().unwrap().try_into().unwrap();
    assert!(info.used && info.last_resort);
}

// shows: B4-6
#[test]
fn a_member_whose_lifetime_is_over_does_not_keep_others_out() {
    let (mut bob, package) = newcomer("bob");
    let mut founder = Foreign::new();
    founder.package.lifetime = (1, 1000);
    founder.founds(&founder.context());
    // Without a path the founder's leaf keeps its lifetime.
    let made =
        founder.commits(Change { adds: vec![read_key_package(&package)], ..Change::default() });
    founder.merges();
    bob.applies(&founder.wraps(&made.welcome.unwrap(), &package));
}

#[test]
fn the_inviter_is_who_made_the_welcome_not_who_sent_it() {
    let (mut bob, package) = newcomer("bob");
    let (mut founder, courier) = (Foreign::new(), Foreign::new());
    founder.founds(&founder.context());
    let welcome = founder.invites(&[&package]);
    bob.applies(&courier.wraps(&welcome, &package));
    let [invite] = bob.engine.invites().unwrap().try_into().unwrap();
    assert_eq!(invite.inviter, founder.key());
}

// shows: B4-11, D1-5
#[test]
fn messages_of_five_past_epochs_are_readable_after_joining() {
    let (mut bob, mut founder, _) = joined();
    let late = [founder.says("late"), founder.says("too late")];
    for round in 0..6 {
        if round == 5 {
            assert_eq!(received(&bob.applies(&late[0])), ["late"]);
        }
        commits(&mut founder, &mut bob, Change { path: true, ..Change::default() });
    }
    let verdict = bob.takes(&late[1]).verdict;
    assert_ne!(verdict, Verdict::Applied, "six epochs ago");
}

// shows: B4-12
#[test]
fn a_joiner_is_due_for_a_self_update() {
    let (mut bob, _, group) = joined();
    assert_eq!(bob.engine.needs_self_update(0).unwrap(), std::slice::from_ref(&group));
    bob.updates(&group, &mut []);
    assert!(bob.engine.needs_self_update(86_400).unwrap().is_empty());
}

// shows: B4-13
#[test]
fn what_came_before_the_welcome_can_come_again_after_it() {
    let (mut bob, package) = newcomer("bob");
    let (mut founder, wrapped) = Foreign::welcoming(&package);
    let early = founder.says("early");
    refused(&mut bob, &early, "D1-2", RejectCode::UnknownGroup);
    bob.applies(&wrapped);
    assert_eq!(received(&bob.applies(&early)), ["early"]);
}

#[test]
fn a_batch_of_good_and_bad_welcomes() {
    let (mut bob, package) = newcomer("bob");
    let mut founders = [(); 3].map(|()| Foreign::new());
    let mut wraps = Vec::new();
    for (index, founder) in founders.iter_mut().enumerate() {
        let mut context = founder.context();
        if index == 1 {
            context.set_admins(&[bob.key()]);
        }
        wraps.push(founder.founds_with(&context, &package).to_json());
    }
    wraps.push("{}".to_owned());
    wraps.push(wraps[0].clone());
    let batch: Vec<&[u8]> = wraps.iter().map(String::as_bytes).collect();
    let outcomes = bob.engine.process_many(&batch).unwrap();
    let names: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome.verdict {
            Verdict::Rejected(rejection) => rejection.rule.to_owned(),
            verdict => format!("{verdict:?}"),
        })
        .collect();
    assert_eq!(names, ["Applied", "B4-9", "Applied", "D1-0", "Duplicate"]);
    assert_eq!(bob.engine.invites().unwrap().len(), 2);
}
