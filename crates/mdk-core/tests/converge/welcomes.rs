//! Welcomes and commits come by two subscriptions: an invitation may be there before the commit that ended the
//! membership before it, or while we stand on a branch that nobody else follows.

use mdk_core::{EventBody, GroupState, RejectCode, Verdict, testing};
use mdk_wire::Event;

use crate::kit::acts::invited;
use crate::kit::cast::Cast;
use crate::kit::foreign::{Change, Foreign};
use crate::kit::{REFUSED, RIVAL, WAITS, received};

fn two() -> Cast {
    Cast::new(&["alice", "bob"], &[])
}

// rule: B4-15
/// The Welcome waits until the removal has come; what was said before that is read first.
#[test]
fn a_welcome_before_the_removal_is_taken_up_after_it() {
    for (restart, together) in [(false, false), (true, false), (false, true)] {
        let mut cast = two();
        let said = cast.says("alice", "before");
        let (removal, added) = cast.adds_again("alice", "bob");
        let after = cast.says("alice", "after");
        if together {
            let all = [&added.welcome, &added.commit, &after, &said, &removal].map(Event::clone);
            cast.at("bob").member.takes_all(&all);
        } else {
            assert_eq!(cast.takes("bob", &added.welcome).verdict, WAITS);
            assert_eq!(cast.takes("bob", &added.welcome).verdict, WAITS, "and is not doubled");
            assert_eq!(cast.state("bob"), GroupState::Active);
            if restart {
                cast.restarts("bob");
            }
            assert_eq!(received(&cast.takes("bob", &said)), ["before"]);
            cast.takes("bob", &after);
            let outcome = cast.takes("bob", &removal);
            assert!(invited(&outcome), "{:?}", outcome.events);
            assert_eq!(cast.takes("bob", &added.welcome).verdict, Verdict::Duplicate);
        }
        assert_eq!(cast.invites("bob").len(), 1);
        cast.accepts("bob", "alice");
        cast.waits("bob", 1_000);
        cast.all_agree("back");
        assert_eq!(cast.texts("bob"), ["before", "after"]);
        cast.speak("alice", "bob");
        assert!(cast.watch("bob").raw <= 1, "at most the commit that added him");
    }
}

/// Whoever left by a wish of its own is taken back in the same way.
#[test]
fn a_welcome_before_the_answer_to_a_leave_is_taken_up_after_it() {
    let mut cast = two();
    let leave = cast.leaves("bob");
    let [answer] = cast.takes("alice", &leave).reply.try_into().unwrap();
    cast.takes("alice", &answer);
    cast.waits("alice", 1_000);
    let added = cast.adds("alice", "bob");
    assert_eq!(cast.takes("bob", &added.welcome).verdict, WAITS);
    assert!(invited(&cast.takes("bob", &answer)));
    cast.accepts_all("bob");
    cast.speak("alice", "bob");
}

// shows: B4-4, B4-15
/// Only Welcomes of something later wait, a few of them, and a stranger's takes nothing away.
#[test]
fn what_does_not_wait() {
    let mut cast = two();
    let thief = |cast: &mut Cast, epochs: usize| {
        let package = cast.at("bob").member.key_package();
        let mut thief = Foreign::new();
        let mut context = thief.context();
        context.id = cast.group.as_bytes().to_vec();
        thief.founds(&context);
        for _ in 0..epochs {
            thief.commits(Change { path: true, ..Default::default() });
            thief.merges();
        }
        let welcome = thief.invites(&[&package]);
        thief.wraps(&welcome, &package)
    };
    // Of the epoch in which bob came, by somebody else.
    let old = thief(&mut cast, 0);
    let before = cast.engine("bob").digest().unwrap();
    let Verdict::Rejected(rejection) = cast.takes("bob", &old).verdict else { panic!() };
    assert_eq!((rejection.rule, rejection.code), ("B4-4", RejectCode::AlreadyApplied));
    assert_eq!(cast.engine("bob").digest().unwrap(), before);
    // Of later ones: three wait, whoever makes them.
    for n in 0..6 {
        let later = thief(&mut cast, 3);
        let expected = if n < 3 { WAITS } else { REFUSED };
        assert_eq!(cast.takes("bob", &later).verdict, expected, "{n}");
    }
    // However long they wait, the group stays as it is.
    for _ in 0..3 {
        cast.rest(600_000);
        cast.speak("alice", "bob");
    }
    assert!(cast.invites("bob").is_empty());
    // And they are no gap in the history, nor there for ever.
    let told = cast.waits("bob", 31 * 86_400_000).events;
    assert!(!told.iter().any(|e| matches!(e.body, EventBody::HistoryGap { .. })), "{told:?}");
    assert_eq!(cast.watch("bob").raw, 0);
}

// shows: B4-16
/// Carol is invited on a branch that loses. The others cannot be heard from there; when they invite her again, she is
/// told that the copy is lost, and asked.
#[test]
fn who_joined_on_a_branch_that_lost_can_be_invited_again() {
    for restart in [false, true] {
        let mut cast = Cast::new(&["alice", "bob"], &["bob"]);
        let added = cast.adds("alice", "carol");
        cast.joins("carol", &added.welcome);
        let winner = cast.renames_to("bob", ["b1", "b2"]);
        cast.hears("alice", &winner);
        cast.hears("carol", &winner);
        cast.takes("bob", &added.commit);
        cast.rest(1_000);
        cast.same(&["alice", "bob"]);
        assert_eq!(cast.info("carol").member_count, 3, "nobody can tell her");

        cast.says("carol", "alone");
        let again = cast.adds("alice", "carol");
        cast.takes("bob", &again.commit);
        cast.waits("bob", 1_000);
        assert_eq!(cast.takes("carol", &again.welcome).verdict, WAITS);
        cast.waits("carol", 60_000);
        assert_eq!(cast.state("carol"), GroupState::Active);
        if restart {
            cast.restarts("carol");
        }
        let told = cast.waits("carol", 60_000);
        let lost = told.events.iter().any(|e| {
            matches!(&e.body, EventBody::Unrecoverable { reason } if reason == "joined_on_a_lost_branch")
        });
        assert!(lost && invited(&told), "{:?}", told.events);
        assert_eq!(cast.inviters("carol"), [cast.key("alice")]);
        assert_eq!(cast.state("carol"), GroupState::Pending);
        cast.accepts("carol", "alice");
        cast.agree(&["alice", "carol"], "invited again");
        assert_eq!(cast.end("carol").said, [("alone".to_owned(), true)], "marked, and still there");
        cast.speak("alice", "carol");
        cast.speak("bob", "carol");
    }
}

// shows: B4-39
/// Alice puts carol out and makes dave an admin, who invites her again. On the side of bob, where carol stands, dave is no
/// admin: that is judged when it is chosen between the sides.
#[test]
fn who_was_promoted_on_the_winner_alone_can_invite() {
    for restart in [false, true] {
        let mut cast = Cast::arranged(&["alice", "bob", "carol", "dave"], &["bob"], |all| {
            all[..2].sort_by_key(|filed| filed.member.key());
        });
        let here = cast.renames("bob", "here");
        let removal = cast.removes("alice", "carol");
        let promotion = cast.promotes("alice", &["dave"]);
        cast.hears("dave", [&removal, &promotion]);
        cast.waits("dave", 1_000);
        let added = cast.adds("dave", "carol");
        cast.hears("alice", [&here, &added.commit]);
        cast.applies("carol", &here);
        assert_eq!(cast.takes("carol", &removal).verdict, RIVAL);
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
        if restart {
            cast.restarts("carol");
        }
        assert!(invited(&cast.waits("carol", 1_000)));
        cast.accepts("carol", "dave");
        cast.waits("alice", 1_000);
        cast.is_with("carol", "alice");
    }
}

// shows: B4-39
/// As before, and the Welcome is there before anything of the other side. If nothing of it comes, it is refused.
#[test]
fn a_welcome_of_an_unknown_admin_waits_for_the_other_side() {
    for comes in [true, false] {
        let mut cast = Cast::new(&["alice", "bob", "carol", "dave"], &["bob"]);
        let here = cast.renames_to("bob", ["1", "2", "3", "4"]);
        let mut there = vec![cast.renames("alice", "there")];
        cast.applies("dave", &there[0]);
        there.extend(["alice", "dave"].map(|who| cast.says(who, "there")));
        cast.takes("alice", &there[2]);
        there.push(cast.promotes("alice", &["dave"]));
        there.push(cast.removes("alice", "carol"));
        cast.hears("dave", &there);
        cast.waits("dave", 1_000);
        let added = cast.adds("dave", "carol");
        cast.hears("carol", &here);
        cast.waits("carol", 1_000);
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
        if comes {
            cast.hears("carol", &there);
            assert!(invited(&cast.waits("carol", 1_000)));
            cast.accepts("carol", "dave");
            cast.takes("dave", &there[1]);
            cast.is_with("carol", "dave");
            continue;
        }
        cast.waits("carol", 60_000);
        assert_eq!(cast.watch("carol").welcomes, 1);
        cast.waits_often("carol", 3, 120_000);
        assert_eq!(cast.watch("carol").welcomes, 0);
        assert_eq!(cast.state("carol"), GroupState::Active);
    }
}

/// A copy that was given up is replaced by a fresh invitation.
#[test]
fn a_copy_that_was_given_up_is_replaced() {
    let mut cast = two();
    let (removal, added) = cast.adds_again("alice", "bob");
    let group = cast.group.clone();
    testing::give_up(cast.engine("bob"), &group).unwrap();
    cast.takes("bob", &removal);
    assert_eq!(cast.state("bob"), GroupState::Unrecoverable);
    assert!(invited(&cast.takes("bob", &added.welcome)));
    cast.accepts_all("bob");
    cast.speak("alice", "bob");
}

/// An invitation that waits for the end of a membership is taken up when that cannot be followed any more.
#[test]
fn a_welcome_that_waits_leads_out_of_a_copy_that_was_given_up() {
    // Alice founded the group: no invitation brought her here.
    let mut cast = Cast::new(&["alice", "bob"], &["bob"]);
    let (_, added) = cast.adds_again("bob", "alice");
    assert_eq!(cast.takes("alice", &added.welcome).verdict, WAITS);
    let group = cast.group.clone();
    testing::give_up(cast.engine("alice"), &group).unwrap();
    assert!(invited(&cast.waits("alice", 1_000)));
    cast.accepts_all("alice");
    cast.speak("alice", "bob");
}

// shows: B4-18
/// Bob removes carol and takes her in again, while she and alice follow a commit of alice's that beats the removal by
/// itself. She cannot see beyond the removal but for the Welcome, which may come before it or after it, or after a commit
/// more: it leads her to where the others go, and what was said before the fork she can still read.
#[test]
fn a_welcome_leads_on_from_a_removal_that_was_not_followed() {
    for between in [0, 1] {
        for (order, restart) in [([0, 1], false), ([1, 0], false), ([1, 0], true)] {
            let case = format!("{between} between, {order:?}, {restart}");
            let mut cast = Cast::two_admins_and("carol");
            let late = cast.says("bob", "before the fork");
            let here = cast.renames("alice", "here");
            cast.applies("carol", &here);
            let removal = cast.removes("bob", "carol");
            (0..between).for_each(|_| drop(cast.renames("bob", "between")));
            let added = cast.adds("bob", "carol");
            let said = cast.says("carol", "on the loser");
            for which in order {
                let early = order[0] == 1 && which == 1;
                let verdict = cast.takes("carol", [&removal, &added.welcome][which]).verdict;
                assert_eq!(verdict, if early { WAITS } else { RIVAL }, "{case}");
                if restart {
                    cast.restarts("carol");
                }
            }
            cast.waits_often("carol", 3, 1_000);
            cast.agree(&["bob", "carol"], &case);
            assert_eq!(cast.state("carol"), GroupState::Active);
            assert_eq!(cast.info("carol").member_count, cast.info("bob").member_count);
            assert!(cast.invites("carol").is_empty(), "she is in it already");
            assert!(cast.end("carol").said.contains(&("on the loser".into(), true)), "{case}");
            assert_eq!(received(&cast.takes("carol", &late)), ["before the fork"], "{case}");
            // The commit that took her in is of an epoch that she has no state of: that is no loss of hers.
            cast.takes("carol", &added.commit);
            assert_eq!(cast.state("carol"), GroupState::Active);
            cast.hears("bob", [&said, &here]);
            cast.waits("bob", 1_000);
            cast.speak("bob", "carol");
            cast.waits("bob", 1_000);
            cast.waits("carol", 1_000);
            // Commits go on, and nothing of what came before outlives the window.
            for _ in 0..7 {
                let own = cast.renews("carol");
                cast.takes("bob", &own);
                cast.waits("bob", 1_000);
                cast.waits("carol", 1_000);
                cast.takes("carol", &added.commit);
                cast.agree(&["bob", "carol"], &case);
            }
            let states = cast.watch("carol").states;
            assert!(states.iter().all(|s| s.followed) && states.len() == 6, "{case}");
        }
    }
}

// shows: B4-18
/// As above, but carol has asked to leave, which is what the removal does: the invitation after it is a question to her,
/// whether she has just come or has been there for long.
#[test]
fn who_asked_to_leave_is_asked_again_by_a_welcome_beyond_the_removal() {
    for since in [0, 8] {
        let mut cast = Cast::two_admins_and("carol");
        for n in 0..since {
            let before = cast.renames("alice", &format!("before {n}"));
            cast.hears_all_but("alice", [&before]);
            cast.rest(1_000);
        }
        let here = cast.renames("alice", "here");
        let leave = cast.leaves("carol");
        let answer = cast.answers("bob", &leave);
        cast.takes("bob", &answer);
        // Hers is the branch of a commit more, until she knows of the invitation.
        let more = cast.renames("alice", "there");
        cast.hears("carol", [&here, &more, &answer]);
        cast.waits_often("carol", 2, 1_000);
        assert_eq!(cast.state("carol"), GroupState::Leaving);
        cast.renames_to("bob", ["b1", "b2"]);
        let added = cast.adds("bob", "carol");
        assert!(invited(&cast.takes("carol", &added.welcome)));
        cast.accepts_all("carol");
        cast.agree(&["bob", "carol"], "asked again");
    }
}

// shows: B4-24
/// Bob removes carol and takes her in again, while she follows a commit of alice's that removes bob: to her he is nobody by
/// then. That he was an admin where the two branches parted is what counts, also for somebody who has asked to leave.
#[test]
fn who_was_put_out_by_one_of_the_branch_invites_from_the_other() {
    for leaves in [false, true] {
        let mut cast = Cast::two_admins_and("carol");
        let here = [cast.removes("alice", "bob"), cast.renames("alice", "more")];
        here.iter().for_each(|commit| drop(cast.applies("carol", commit)));
        if leaves {
            cast.leaves("carol");
        }
        let removal = cast.removes("bob", "carol");
        let there = cast.renames_to("bob", ["b1", "b2"]);
        let added = cast.adds("bob", "carol");
        cast.hears("carol", [&removal, &added.welcome]);
        cast.waits_often("carol", 3, 1_000);
        cast.hears("alice", [&removal, &there[0], &there[1], &added.commit]);
        cast.waits_often("alice", 3, 1_000);
        cast.all_agree(&format!("leaves: {leaves}"));
        if leaves {
            assert_eq!(cast.state("carol"), GroupState::Leaving, "she asks there, too");
        } else {
            cast.speak("bob", "carol");
        }
    }
}

// rule: B4-19
/// Carol is put out by a branch that loses, and the Welcome of the one that wins comes before what it consists of: it waits
/// for the pass, in which what she had read on the loser is marked.
#[test]
fn a_welcome_waits_for_the_pass_that_decides_between_removals() {
    let mut cast = Cast::two_admins_and("carol");
    let lost = cast.renames("alice", "lost");
    let said = cast.says("alice", "on the loser");
    let out = cast.removes("alice", "carol");
    let won = cast.renames_to("bob", ["w1", "w2"]);
    let (removal, added) = cast.adds_again("bob", "carol");
    cast.applies("carol", &lost);
    assert_eq!(received(&cast.takes("carol", &said)), ["on the loser"]);
    cast.applies("carol", &out);
    assert_eq!(cast.state("carol"), GroupState::Removed);
    assert_eq!(cast.takes("carol", &won[0]).verdict, RIVAL);
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    assert_eq!(cast.takes("carol", &won[1]).verdict, RIVAL);
    assert_eq!(cast.takes("carol", &removal).verdict, RIVAL);
    let marked = |cast: &mut Cast| {
        let [message] = cast.messages("carol").try_into().unwrap();
        message.invalidated
    };
    assert!(!marked(&mut cast));
    assert!(invited(&cast.waits("carol", 1_000)));
    assert!(marked(&mut cast));
    cast.accepts_all("carol");
    cast.agree(&["bob", "carol"], "the winner");
}

// What follows is of a Welcome that nobody can place yet: it waits, and is then kept beside our own branch until either
// goes on.

// shows: B4-22
/// Alice and bob invite carol, each on a branch of their own, and hers is as long as the other when the Welcome comes: she
/// cannot tell which of them the others follow, since nobody will say so on the loser. When either goes on, she is where
/// the others are, and is asked nothing.
#[test]
fn a_welcome_that_waited_is_kept_beside_ours_until_either_goes_on() {
    for (wins, restart) in [("bob", false), ("bob", true), ("alice", false)] {
        let mut cast = Cast::two_admins_and("dave");
        let first = cast.adds("alice", "carol");
        let ours = cast.renames_to("alice", ["a1", "a2"]);
        cast.joins("carol", &first.welcome);
        ours.iter().for_each(|commit| drop(cast.applies("carol", commit)));
        cast.waits("carol", 1_000);
        let theirs = cast.renames("bob", "b1");
        let second = cast.adds("bob", "carol");
        assert_eq!(cast.takes("carol", &second.welcome).verdict, WAITS, "{wins}");
        cast.waits("carol", 119_000);
        assert_eq!(cast.beside("carol"), 0, "{wins}");
        if restart {
            cast.restarts("carol");
        }
        cast.waits("carol", 1_000);
        assert_eq!(cast.beside("carol"), 1, "{wins}");
        cast.waits("carol", 1_000);
        let here = cast.info("carol");
        assert_eq!((here.state, here.name.as_str()), (GroupState::Active, "a2"), "{wins}");

        let said = cast.says("carol", "of carol's");
        let more = cast.renames_to(wins, ["more", "still more"]);
        let answer = cast.says(wins, "of the winner's");
        cast.hears("carol", more.iter().chain([&answer]));
        cast.waits("carol", 1_000);
        for who in ["alice", "bob", "dave"] {
            let commits = [&first.commit, &ours[0], &ours[1], &theirs, &second.commit];
            cast.hears(who, commits.into_iter().chain(&more).chain([&said]));
            cast.waits_often(who, 2, 1_000);
        }
        cast.all_agree(wins);
        assert!(cast.invites("carol").is_empty(), "she is in it already");
        let expected =
            [("of carol's".to_owned(), wins == "bob"), ("of the winner's".to_owned(), false)];
        assert_eq!(cast.end("carol").said, expected);
        let said = cast.says("bob", "all hear this");
        assert_eq!(received(&cast.takes("carol", &said)), ["all hear this"]);
    }
}

// rule: B4-22
/// What nobody made whom we know as an admin waits on, and is not kept beside ours.
#[test]
fn a_welcome_of_nobody_that_is_known_waits_on() {
    let mut cast = Cast::two_admins_and("dave");
    let first = cast.adds("alice", "carol");
    cast.joins("carol", &first.welcome);
    for name in ["a0", "a1"] {
        let own = cast.renames("alice", name);
        cast.applies("carol", &own);
    }
    // (two who speak outweigh a commit more)
    let heard = cast.says("alice", "here");
    cast.applies("carol", &heard);
    cast.says("carol", "and here");
    cast.waits("carol", 1_000);
    // Dave is an admin on the other branch only.
    let promoted = cast.promotes("bob", &["dave"]);
    cast.applies("dave", &promoted);
    cast.waits("dave", 1_000);
    cast.renames_to("dave", ["d", "e"]);
    let second = cast.adds("dave", "carol");
    assert_eq!(cast.takes("carol", &second.welcome).verdict, WAITS);
    cast.waits_often("carol", 3, 60_000);
    assert_eq!((cast.watch("carol").welcomes, cast.beside("carol")), (1, 0));
}

// shows: B4-23
/// Bob removes carol and takes her in again, while she follows two commits of alice's. The removal comes when she has
/// waited for it in vain and keeps the other branch beside hers, or follows it already: what was said before the fork
/// counts, however it came.
#[test]
fn a_removal_that_comes_late_is_put_before_what_leads_on_from_it() {
    for followed in [false, true] {
        let mut cast = Cast::two_admins_and("carol");
        let shared = cast.says("bob", "before the fork");
        assert_eq!(received(&cast.takes("carol", &shared)), ["before the fork"]);
        let ours = cast.renames_to("alice", ["a1", "a2"]);
        ours.iter().for_each(|commit| drop(cast.applies("carol", commit)));
        let lost = cast.says("carol", "on the loser");
        cast.waits("carol", 1_000);
        let (removal, added) = cast.adds_again("bob", "carol");
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
        cast.waits_often("carol", 2, 60_000);
        cast.waits("carol", 1_000);
        assert_eq!(cast.beside("carol"), 1);
        let more = cast.renames("bob", "more");
        for event in if followed { [&more, &removal] } else { [&removal, &more] } {
            cast.takes("carol", event);
            cast.waits("carol", 1_000);
        }
        cast.agree(&["bob", "carol"], &format!("{followed}"));
        let said = [("before the fork".to_owned(), false), ("on the loser".to_owned(), true)];
        assert_eq!(cast.end("carol").said, said, "{followed}");
        cast.takes("bob", &lost);
        let said = cast.says("carol", "here again");
        assert_eq!(received(&cast.takes("bob", &said)), ["here again"]);
        cast.forgets_what_competed("carol", &["bob"], "none of it outlives the window");
    }
}

// shows: B4-16, B4-21
/// Carol is alone on her branch, and renews her leaf there until no state is retained of when she joined. She is let go
/// all the same: where she is longer than the others, too, because nobody but her has been heard there.
#[test]
fn who_was_alone_for_long_on_a_branch_that_lost_can_be_invited_again() {
    for (alone, others) in [(7, 12), (9, 2)] {
        let case = format!("{alone} {others}");
        let mut cast = Cast::two_admins_and("dave");
        let added = cast.adds("bob", "carol");
        cast.joins("carol", &added.welcome);
        let winner = cast.renames("alice", "winner");
        cast.hears("bob", [&winner, &added.commit]);
        cast.hears("dave", [&winner, &added.commit]);
        cast.takes("alice", &added.commit);
        (0..2).for_each(|_| cast.rest(2_000));
        cast.same(&["alice", "bob"]);
        for _ in 0..alone {
            cast.renews("carol");
            cast.rest(2_000);
        }
        for _ in 0..others {
            let own = cast.renames("alice", "goes on");
            cast.hears_all_but("alice", [&own]);
            cast.rest(2_000);
        }
        let again = cast.adds("bob", "carol");
        cast.takes("alice", &again.commit);
        cast.takes("dave", &again.commit);
        assert_eq!(cast.takes("carol", &again.welcome).verdict, WAITS);
        cast.waits("carol", 60_000);
        assert_eq!(cast.state("carol"), GroupState::Active, "{case}");
        assert!(invited(&cast.waits("carol", 61_000)), "{case}");
        cast.accepts_all("carol");
        cast.waits("bob", 1_000);
        cast.is_with("carol", "bob");
    }
}

// rule: B4-21
/// Somebody else is heard in the states that are retained: carol is not alone, so a Welcome from another branch waits on.
#[test]
fn who_is_not_alone_is_not_let_go() {
    let mut cast = Cast::two_admins_and("carol");
    // On a copy of alice's that nobody follows carol is removed, and invited again.
    cast.copies("alice", "copy");
    cast.removes("copy", "carol");
    (0..20).for_each(|_| drop(cast.renames("copy", "stray")));
    let stray = cast.adds("copy", "carol");
    for _ in 0..9 {
        let own = cast.renews("carol");
        for other in ["alice", "bob"] {
            cast.takes(other, &own);
            cast.waits(other, 1_000);
        }
        cast.waits("carol", 1_000);
    }
    let said = cast.says("bob", "here");
    cast.applies("carol", &said);
    assert_eq!(cast.takes("carol", &stray.welcome).verdict, WAITS);
    for _ in 0..3 {
        assert!(!invited(&cast.waits("carol", 130_000)));
    }
    assert_eq!(cast.state("carol"), GroupState::Active);
}
