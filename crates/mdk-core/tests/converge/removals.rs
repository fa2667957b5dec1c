//! Who is out of a group: comes back when the branch that put it out loses, in whatever order its commits come, and
//! keeps no key when nothing can bring it back.

use mdk_core::{EventBody, GroupState, RejectCode, Verdict, testing};
use mdk_store::GroupRow;
use mdk_wire::{Event, GroupId, kind};

use crate::kit::cast::Cast;
use crate::kit::fork::{self, orders};
use crate::kit::{CLOSED, RIVAL};

/// Alice and carol are admins, bob is a member; all are settled.
fn three() -> Cast {
    Cast::new(&["alice", "bob", "carol"], &["carol"])
}

/// As [`three`], with dave, whom alice has added.
fn four() -> Cast {
    let mut cast = three();
    let added = cast.adds("alice", "dave");
    cast.joins("dave", &added.welcome);
    cast.applies("bob", &added.commit);
    cast.applies("carol", &added.commit);
    cast.rest(1_000);
    cast
}

/// What of a group is left when nothing can bring it back.
fn row(path: &std::path::Path, group: &GroupId) -> GroupRow {
    fork::rows(path, |tx| {
        assert!(tx.nodes(group)?.is_empty() && tx.inputs(group)?.is_empty());
        assert!(tx.held(group)?.is_empty() && tx.mls_dump(group)?.expose().len() < 2);
        assert!(tx.sendable_welcomes()?.is_empty() && tx.withheld_welcomes(group)?.is_empty());
        for commit in 1..20 {
            assert!(tx.pending(commit)?.is_none());
        }
        Ok(tx.group(group)?.unwrap())
    })
}

fn row_of(cast: &mut Cast, who: &str) -> GroupRow {
    let filed = cast.parts_with(who);
    let path = filed.path.clone();
    drop(filed);
    row(&path, &cast.group)
}

fn refused(cast: &mut Cast, said: &Event) {
    let Verdict::Rejected(rejection) = cast.takes("bob", said).verdict else { panic!() };
    assert_eq!((rejection.code, rejection.rule), (RejectCode::UnknownGroup, "D1-3"));
}

// shows: D6-4, D6-7
/// Two commits beat the one that put bob out, by a leave or by force: he follows them in every order of the three.
#[test]
fn who_is_out_on_a_branch_that_loses_comes_back_in_every_order() {
    for leaves in [true, false] {
        for order in orders(3) {
            let mut cast = three();
            let out = if leaves {
                let leave = cast.leaves("bob");
                let [answer] = cast.takes("alice", &leave).reply.try_into().unwrap();
                answer
            } else {
                cast.removes("alice", "bob")
            };
            let winner = cast.renames_to("carol", ["c1", "c2"]);
            let said = cast.says("carol", "still here");
            for at in &order {
                cast.takes("bob", [&out, &winner[0], &winner[1]][*at]);
                if leaves {
                    cast.restarts("bob");
                }
            }
            cast.waits_often("bob", 2, 1_000);
            let expected = if leaves { GroupState::Leaving } else { GroupState::Active };
            assert_eq!(cast.state("bob"), expected, "{leaves} {order:?}");
            assert_eq!(cast.name("bob"), "c2", "{leaves} {order:?}");
            cast.takes("bob", &said);
            assert_eq!(cast.texts("bob"), ["still here"]);
            assert_eq!(cast.watch("bob").raw, 0);
        }
    }
}

// rule: D6-10
/// Bob is out, and what dave asks for on the branch that would take him back comes before anything else of it or between
/// its commits: it is at hand when the commit comes that refers to it.
#[test]
fn who_is_out_keeps_what_is_proposed_on_a_branch_that_takes_it_back() {
    for order in orders(3) {
        let mut cast = four();
        let removal = cast.removes("alice", "bob");
        let renamed = cast.renames("carol", "c1");
        cast.applies("dave", &renamed);
        cast.waits("dave", 1_000);
        let leave = cast.leaves("dave");
        // (alice, who would answer first, is elsewhere)
        let answer = cast.answers("carol", &leave);
        cast.takes("bob", &removal);
        assert_eq!(cast.state("bob"), GroupState::Removed);
        // (while the removal can still lose, what no key opens waits)
        cast.takes("bob", &renamed);
        cast.hears("bob", order.iter().map(|at| [&leave, &answer, &renamed][*at]));
        cast.waits_often("bob", 2, 1_000);
        let info = cast.info("bob");
        assert_eq!((info.state, info.member_count), (GroupState::Active, 3), "{order:?}");
        cast.takes("carol", &answer);
        cast.agree(&["bob", "carol"], &format!("{order:?}"));
    }
}

// rule: D6-11
/// What was said before the branches parted comes when bob is out on one of them: it is out of sight until he comes back
/// with the other one, which shares that state. What comes when the removal is decided on is refused.
#[test]
fn who_comes_back_has_what_was_said_before_the_branches_parted() {
    for decided in [true, false] {
        let mut cast = three();
        let said = cast.says("carol", "before all that");
        let removal = cast.removes("alice", "bob");
        let winner = cast.renames_to("carol", ["c1", "c2"]);
        cast.takes("bob", &removal);
        if decided {
            cast.waits("bob", 1_000);
            refused(&mut cast, &said);
            cast.takes("bob", &winner[0]);
        }
        assert_eq!(cast.takes("bob", &said).verdict, RIVAL);
        assert!(cast.texts("bob").is_empty());
        cast.restarts("bob");
        cast.hears("bob", &winner);
        cast.waits("bob", 1_000);
        assert_eq!(cast.state("bob"), GroupState::Active);
        assert_eq!(cast.texts("bob"), ["before all that"]);
        assert_eq!(cast.takes("bob", &said).verdict, Verdict::Duplicate);
    }
}

// shows: D6-11
/// Whoever is put out and waits for the end of the pass has what was said before, like one who hears it first.
#[test]
fn who_is_out_has_what_was_said_before_and_came_within_the_pass() {
    let mut cast = three();
    let said = cast.says("carol", "farewell");
    let removal = cast.removes("alice", "bob");
    cast.hears("bob", [&removal, &said]);
    assert!(cast.texts("bob").is_empty());
    cast.waits("bob", 1_000);
    assert_eq!(cast.state("bob"), GroupState::Removed);
    assert_eq!(cast.texts("bob"), ["farewell"]);
}

// shows: D6-11
/// Before the removal is decided on he is invited again, so much later that the old branch cannot compete with it.
#[test]
fn who_is_invited_within_the_pass_has_what_was_said_before() {
    for later in [0, 1, 6] {
        let mut cast = three();
        let said = cast.says("carol", "farewell");
        cast.takes("alice", &said);
        let removal = cast.removes("alice", "bob");
        cast.takes("bob", &removal);
        assert_eq!(cast.takes("bob", &said).verdict, RIVAL);
        for _ in 0..later {
            cast.waits("alice", 1_000);
            cast.renews("alice");
        }
        cast.waits("alice", 1_000);
        let added = cast.adds("alice", "bob");
        cast.takes("bob", &added.welcome);
        cast.waits("bob", 150_000);
        cast.accepts("bob", "alice");
        assert_eq!(cast.texts("bob"), ["farewell"], "{later} commits later");
        let told = cast.log("bob");
        let told = told.iter().filter(|body| matches!(body, EventBody::MessageReceived { .. }));
        assert_eq!(told.count(), 1, "{later} commits later");
    }
}

// shows: D6-11, E5-10
/// The removal has won over another branch, which is retained still: what was said before comes late, and is shown.
#[test]
fn who_is_out_has_what_was_said_before_and_came_after_the_pass() {
    let mut cast = three();
    let said = ["farewell", "and thanks"].map(|text| cast.says("carol", text));
    let first = cast.renames("alice", "a");
    let removal = cast.removes("alice", "bob");
    let rival = cast.renames("carol", "c");
    cast.hears("bob", [&first, &removal, &rival]);
    cast.waits("bob", 1_000);
    cast.waits("bob", 6_000);
    assert_eq!(cast.state("bob"), GroupState::Removed);
    for said in &said {
        let told = cast.takes("bob", said);
        assert_eq!((told.verdict, told.events.len()), (Verdict::Applied, 1));
    }
    assert_eq!(cast.texts("bob"), ["farewell", "and thanks"]);
}

// shows: D6-11
/// Two accounts speak on the branch that removes bob, which makes it the better one: he counts them in whatever order it
/// all comes, also when he is out already, and goes where carol goes.
#[test]
fn who_is_out_counts_what_was_said_before_the_removal() {
    for order in orders(3) {
        let mut cast = four();
        let renamed = cast.renames("alice", "a1");
        cast.takes("dave", &renamed);
        let said = [cast.says("alice", "alice"), cast.says("dave", "dave")];
        let removal = cast.removes("alice", "bob");
        let beaten = cast.renames_to("carol", ["c1", "c2", "c3"]);
        let parts = [std::slice::from_ref(&removal), &said, &beaten];
        cast.takes("bob", &renamed);
        for at in &order {
            cast.hears("bob", parts[*at]);
        }
        cast.hears("carol", [&renamed, &removal, &said[0], &said[1]]);
        cast.waits("carol", 1_000);
        assert_eq!(cast.name("carol"), "a1");
        cast.waits("bob", 1_000);
        assert_eq!(cast.state("bob"), GroupState::Removed, "{order:?}");
        let mut texts = cast.texts("bob");
        texts.sort_unstable();
        assert_eq!(texts, ["alice", "dave"], "{order:?}");
    }
}

// rule: D6-9
/// Bob goes over to the branch that renames the group and then removes him, or that removes him at once: he sees the
/// group as it was there when he went, and nothing of what the branch that lost had made of it.
#[test]
fn who_is_put_out_by_another_branch_sees_the_group_as_it_was_there() {
    for renamed in [true, false] {
        let mut cast = three();
        let mut winner = Vec::new();
        if renamed {
            winner.push(cast.renames("alice", "there"));
        }
        winner.push(cast.removes("alice", "bob"));
        // An ordinary commit of hers would lose, and so does this one: by its key, or by depth.
        let here = cast.renames("carol", "here");
        cast.applies("bob", &here);
        cast.hears("bob", &winner);
        cast.waits("bob", 1_000);
        cast.takes("carol", &winner[0]);
        cast.waits("carol", 1_000);
        let wins = cast.name("carol") != "here";
        let info = cast.info("bob");
        let expected = match (wins || renamed, renamed) {
            (true, true) => (GroupState::Removed, "there"),
            (true, false) => (GroupState::Removed, "before"),
            (false, _) => (GroupState::Active, "here"),
        };
        assert_eq!((info.state, info.name.as_str()), expected);
        assert!(renamed || wins == (cast.key("alice") < cast.key("carol")));
    }
}

// rule: D6-8
/// The child comes long before its parent, when nothing competes yet: it is refused then. With the parent the other branch
/// is known, is subscribed to, and the child counts when it comes again.
#[test]
fn who_is_out_asks_again_for_a_branch_that_would_take_it_back() {
    let mut cast = three();
    let route = cast.info("bob").nostr_group_id.to_hex();
    let removal = cast.removes("alice", "bob");
    let winner = cast.renames_to("carol", ["c1", "c2"]);
    assert!(cast.subscribes("bob", &route));
    cast.applies("bob", &removal);
    cast.waits("bob", 1_000);
    assert!(!cast.subscribes("bob", &route));
    assert!(matches!(cast.takes("bob", &winner[1]).verdict, Verdict::Rejected(_)));
    assert_eq!(cast.takes("bob", &winner[0]).verdict, RIVAL);
    assert!(cast.subscribes("bob", &route));
    cast.waits("bob", 1_000);
    cast.takes("bob", &winner[1]);
    cast.waits("bob", 1_000);
    assert_eq!(cast.state("bob"), GroupState::Active);
    assert_eq!(cast.name("bob"), "c2");
}

// shows: D1-3, D6-7
/// Once nothing competes any more, what comes for a group that we are out of is refused.
#[test]
fn who_is_out_for_good_waits_for_nothing() {
    let mut cast = three();
    let removal = cast.removes("alice", "bob");
    cast.applies("carol", &removal);
    cast.applies("bob", &removal);
    let said = cast.says("alice", "among us");
    // Until the choice is made it might belong to another branch.
    assert_eq!(cast.takes("bob", &said).verdict, CLOSED);
    cast.waits("bob", 1_000);
    let said = cast.says("alice", "among us again");
    let before = cast.engine("bob").digest().unwrap();
    refused(&mut cast, &said);
    assert_eq!(cast.engine("bob").digest().unwrap(), before);
    // What waited goes with the states that it waited for, and is nobody's loss.
    let told = cast.waits("bob", 86_400_000).events;
    assert!(told.is_empty(), "{told:?}");
    let row = row_of(&mut cast, "bob");
    assert_eq!(row.event_key.expose(), &[0; 32], "the key of the last epoch");
}

// shows: C5-2
/// The end of a group leaves no key of it, with who ended it and with who heard of it.
#[test]
fn the_end_leaves_no_key() {
    let mut cast = three();
    let group = cast.group.clone();
    let key = testing::state(cast.engine("bob"), &group).unwrap().event_key;
    assert_ne!(key.expose(), &[0; 32]);
    let end = cast.disbands("alice");
    cast.applies("bob", &end);
    for who in ["alice", "bob"] {
        cast.waits(who, 1_000);
        assert_eq!(cast.state(who), GroupState::Disbanded);
        assert_eq!(row_of(&mut cast, who).event_key.expose(), &[0; 32]);
    }
}

// rule: C5-5
/// An invitation that is still to be handed out when its group ends is not handed out any more.
#[test]
fn nobody_is_invited_to_a_group_that_has_ended() {
    let mut cast = three();
    let gift_wraps = |cast: &mut Cast| {
        cast.restarts("alice");
        let reply = cast.waits("alice", 1_000).reply;
        reply.iter().filter(|event| event.kind() == kind::GIFT_WRAP).count()
    };
    assert_eq!(gift_wraps(&mut cast), 2, "nobody said that they were sent");
    cast.disbands("alice");
    assert_eq!(gift_wraps(&mut cast), 2, "the end may be withdrawn");
    assert_eq!(cast.state("alice"), GroupState::Disbanded);
    assert_eq!(gift_wraps(&mut cast), 0);
}

// shows: D6-3
/// Of an admin who was put out not even its own commits stay, when its Welcomes have had their time.
#[test]
fn who_has_invited_and_is_out_keeps_no_commit() {
    let mut cast = three();
    let removal = cast.removes("carol", "alice");
    cast.takes("alice", &removal);
    cast.waits("alice", 1_000);
    assert_eq!(cast.state("alice"), GroupState::Removed);
    // Its states are kept for a day, its Welcomes for three.
    cast.waits_often("alice", 2, 2 * 86_400_000);
    row_of(&mut cast, "alice");
}
