//! Ends of a group and removals that race with something else: what each member is told and shown, and what is kept.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupState, GroupUpdate, Outcome, Verdict};
use mdk_store::Progress;
use mdk_wire::{ContentId, Event, Keys, PublicKey, SecretVec, kind};

use crate::kit::cast::{Cast, Who};
use crate::kit::foreign::resigned;
use crate::kit::fork;
use crate::kit::{CLOSED, RIVAL, event};

/// Three admins by ascending key: a's commits win over b's, and b's over c's.
fn admins() -> Cast {
    Cast::arranged(&["a", "b", "c"], &["b", "c"], |all| all.sort_by_key(|filed| filed.member.key()))
}

/// Nothing of a group's secrets is left in this database.
fn nothing_is_left(cast: &mut Cast, who: &str) {
    let filed = cast.parts_with(who);
    let path = filed.path.clone();
    drop(filed);
    fork::rows(&path, |tx| {
        assert!(tx.nodes(&cast.group)?.is_empty() && tx.inputs(&cast.group)?.is_empty());
        assert!(tx.mls_dump(&cast.group)?.expose().len() < 2);
        Ok(())
    });
}

// shows: D6-3, D6-4, D6-5
/// Whoever is removed on a branch that loses stays, and whoever stays on a branch that loses is removed.
#[test]
fn a_removal_races_a_rename() {
    for (removal_wins, removal_first) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut cast = admins();
        let (remover, renamer) = if removal_wins { ("a", "b") } else { ("b", "a") };
        let removal = cast.removes(remover, "c");
        let renaming = cast.renames(renamer, "renamed");
        let [first, second] =
            if removal_first { [&removal, &renaming] } else { [&renaming, &removal] };
        cast.applies("c", first);
        cast.restarts("c");
        assert_eq!(cast.takes("c", second).verdict, RIVAL);
        cast.restarts("c");
        let told = cast.waits("c", 1_000).events;
        cast.takes(remover, &renaming);
        cast.takes(renamer, &removal);
        cast.waits("a", 1_000);
        cast.waits("b", 1_000);
        cast.same(&["a", "b"]);
        if removal_wins {
            assert_eq!(cast.state("c"), GroupState::Removed);
            let removed = told.iter().any(|e| matches!(e.body, EventBody::Removed { .. }));
            assert_eq!(removed, !removal_first);
            // A day later.
            cast.waits("c", 86_400_000);
            nothing_is_left(&mut cast, "c");
        } else {
            assert_eq!(cast.state("c"), GroupState::Active);
            cast.same(&["a", "c"]);
            let said = cast.says("c", "still here");
            cast.applies("a", &said);
            cast.applies("b", &said);
        }
    }
}

// shows: C5-1, C5-2, C5-3
/// The end of a group is one branch among others, and final when it has won.
#[test]
fn a_disband_races_a_rename() {
    for disband_wins in [true, false] {
        let mut cast = admins();
        let (ender, renamer) = if disband_wins { ("a", "b") } else { ("b", "a") };
        let end = cast.disbands(ender);
        let renaming = cast.renames(renamer, "goes on");
        cast.applies("c", &end);
        cast.takes("c", &renaming);
        cast.takes(ender, &renaming);
        cast.takes(renamer, &end);
        let mut again = Vec::new();
        for who in cast.names() {
            cast.restarts(who);
            let outcome = cast.waits(who, 1_000);
            again.extend(outcome.reply.into_iter().filter(|e| e.kind() == kind::GROUP_MESSAGE));
            let told = outcome.events;
            let ended = told.iter().any(|e| matches!(e.body, EventBody::Disbanded { .. }));
            assert_eq!(ended, disband_wins);
            cast.waits(who, 1_000);
            let expected = if disband_wins { GroupState::Disbanded } else { GroupState::Active };
            assert_eq!(cast.state(who), expected);
        }
        if disband_wins {
            nothing_is_left(&mut cast, "c");
            continue;
        }
        cast.same(&["a", "b", "c"]);
        // It is made again on the winner, and its echo makes it true for its author.
        again.sort_by_key(Event::id);
        again.dedup();
        assert_eq!(again.len(), 1);
        for who in cast.names() {
            cast.takes(who, &again[0]);
            cast.waits(who, 1_000);
            assert_eq!(cast.state(who), GroupState::Disbanded);
        }
    }
}

/// What is shown of a group to somebody: its state, its epoch, who is in it, and who are admins.
fn look(cast: &mut Cast, who: &str) -> (GroupState, u64, BTreeSet<PublicKey>, Vec<PublicKey>) {
    let (info, group) = (cast.info(who), cast.group.clone());
    let members = cast.engine(who).members(&group).unwrap();
    assert_eq!(info.member_count, members.len());
    (info.state, info.epoch, members.into_iter().map(|m| m.public_key).collect(), info.admins)
}

/// The names of what was told in it, and what each of it says that it came from.
fn told(outcome: &Outcome) -> Vec<(&'static str, Option<ContentId>)> {
    let name = |body: &EventBody| match body {
        EventBody::ChangeWithdrawn { commit } => ("withdrawn", Some(*commit)),
        EventBody::MembersChanged { commit, .. } => ("members", *commit),
        EventBody::GroupUpdated { commit, .. } => ("settings", *commit),
        EventBody::Disbanded { .. } => ("disbanded", None),
        _ => ("other", None),
    };
    outcome.events.iter().map(|event| name(&event.body)).collect()
}

// shows: C5-1, C5-4, D6-9
/// Two admins end the group. Whichever end came first to whom, everybody is shown the group that the winner left, is told
/// what the winner changed, and of one end.
#[test]
fn two_ends_of_a_group_look_the_same_to_all() {
    let mut cast = Cast::two_admins_and("carol");
    cast.copies("carol", "dave");
    let ends = ["alice", "bob"].map(|who| cast.disbands(who));
    cast.takes("alice", &ends[1]);
    cast.takes("bob", &ends[0]);
    cast.hears("carol", &ends);
    cast.hears("dave", ends.iter().rev());
    let (winner, loser) = (cast.key("alice"), cast.key("bob"));
    let first = cast.waits("alice", 1_000);
    let shown = look(&mut cast, "alice");
    assert_eq!(told(&first), [("disbanded", None)]);
    assert_eq!(shown.2, BTreeSet::from([winner]));
    assert_eq!((shown.0, &shown.3), (GroupState::Disbanded, &vec![winner]));
    for (who, switched) in [("bob", true), ("carol", false), ("dave", true)] {
        let outcome = cast.waits(who, 1_000);
        assert_eq!(look(&mut cast, who), shown, "{who}");
        let names: Vec<&str> = told(&outcome).iter().map(|(name, _)| *name).collect();
        if !switched {
            assert_eq!(names, ["disbanded"], "{who}");
            continue;
        }
        let expected = ["withdrawn", "members", "members", "settings", "disbanded"];
        assert_eq!(names, expected, "{who}");
        let commits: Vec<_> = told(&outcome).into_iter().map(|(_, commit)| commit).collect();
        assert!(commits[0] != commits[1] && commits[1..4].iter().all(|c| *c == commits[1]));
        let back = (format!("+{} - /", winner.to_hex()), None);
        let gone = (format!("+ -{} /", loser.to_hex()), Some(winner));
        assert_eq!(deeds(&outcome)[..2], [back, gone], "{who}");
    }
}

// shows: C5-3
/// Who ended the group on a branch that lost, and is no admin on the winner, cannot end it again, and is told so: the end
/// is withdrawn, by the one who took the right away.
#[test]
fn an_end_by_one_who_is_no_longer_admin_is_withdrawn_for_good() {
    let mut cast = Cast::two_admins_and("carol");
    let end = cast.disbands("bob");
    let demoted = cast.demotes("alice", "bob");
    cast.takes("bob", &demoted);
    cast.takes("alice", &end);
    cast.hears("carol", [&end, &demoted]);
    let outcomes = ["alice", "bob", "carol"].map(|who| cast.waits(who, 1_000));
    let winner = cast.key("alice");
    for who in cast.names() {
        let shown = look(&mut cast, who);
        assert_eq!((shown.0, shown.3), (GroupState::Active, vec![winner]));
    }
    let told = &outcomes[1].events;
    assert!(cast.engine("bob").pending().unwrap().is_empty() && outcomes[1].reply.is_empty());
    assert!(told.iter().any(|e| matches!(e.body, EventBody::ChangeWithdrawn { .. })));
    let by = told.iter().find_map(|e| match &e.body {
        EventBody::GroupUpdated { changed, by, .. } if changed.contains("admins") => *by,
        _ => None,
    });
    assert_eq!(by, Some(winner), "{told:?}");
}

// shows: F1-6, F1-14
/// Messages come late to a group that ends. What its states can still read is read while the end is open, as in any other
/// group; what nothing can read any more is told as lost. After the end nobody can tell it from a stranger's noise, and it
/// is told no more.
#[test]
fn what_comes_too_late_for_the_end_of_a_group_is_told() {
    for who in ["a", "c"] {
        let mut cast = admins();
        cast.rest(5_000);
        let mut said = Vec::new();
        for n in 0..9 {
            said.push(cast.says("b", &format!("{n}")));
            cast.rest(5_000);
            let next = cast.renews("a");
            cast.hears_all_but("a", [&next]);
            cast.rest(1_000);
        }
        said.push(cast.says("b", "9"));
        assert_eq!(cast.takes(who, &said[0]).verdict, CLOSED);
        let end = cast.disbands("a");
        cast.hears_all_but("a", [&end]);
        for (at, verdict) in [(1, CLOSED), (6, RIVAL), (9, RIVAL)] {
            assert_eq!(cast.takes(who, &said[at]).verdict, verdict, "{who} {at}");
        }
        let told = cast.waits(who, 1_000).events;
        let gap = |body: &EventBody| match body {
            EventBody::HistoryGap { count, first, last } => Some((*count, *first, *last)),
            _ => None,
        };
        let made = |at: usize| said[at].created_at();
        let lost = told.iter().find_map(|event| gap(&event.body));
        assert_eq!(lost, Some((2, made(0), made(1))), "{who}");
        assert!(matches!(told.last().unwrap().body, EventBody::Disbanded { .. }), "{who}");
        assert_eq!(cast.texts(who), ["6", "9"], "{who}");
        for late in [&said[2], &said[7]] {
            let noise =
                resigned(late, &Keys::generate(), |envelope| envelope.content = "A".repeat(160));
            for late in [&noise, late] {
                let outcome = cast.takes(who, late);
                assert!(matches!(outcome.verdict, Verdict::Rejected(_)), "{who}");
                assert!(outcome.events.is_empty(), "{who}");
            }
        }
    }
}

/// Everything that was told in a group, as words.
fn words(cast: &mut Cast, who: &str) -> Vec<String> {
    let all = cast.log(who).into_iter();
    all.filter_map(|body| match body {
        EventBody::EpochChanged { old, new, .. } => Some(format!("{old} to {new}")),
        EventBody::MembersChanged { removed, left, .. }
            if !removed.is_empty() || !left.is_empty() =>
        {
            Some(format!("{} removed, {} left", removed.len(), left.len()))
        }
        EventBody::GroupUpdated { changed, .. } => {
            let mut changed: Vec<&str> = changed.iter().copied().collect();
            changed.sort_unstable();
            Some(changed.join(", "))
        }
        EventBody::ChangeWithdrawn { .. } => Some("withdrawn".into()),
        EventBody::Removed { left, .. } => Some(format!("out, asked: {left}")),
        _ => None,
    })
    .collect()
}

// shows: D6-12
/// Carol asks to leave, and both of the others answer at once: she has left, whichever answer came first to her.
#[test]
fn who_asked_to_leave_has_left_whichever_answer_is_followed() {
    for order in [[0, 1], [1, 0]] {
        let mut cast = Cast::two_admins_and("carol");
        let leave = cast.leaves("carol");
        let answers = ["alice", "bob"].map(|who| cast.answers(who, &leave));
        cast.hears("carol", order.map(|at| &answers[at]));
        cast.waits("carol", 1_000);
        cast.restarts("carol");
        assert_eq!(look(&mut cast, "carol").0, GroupState::Left, "{order:?}");
        let told = words(&mut cast, "carol");
        assert_eq!(told.last().unwrap(), "out, asked: true", "{told:?}");
        assert!(!told.contains(&"out, asked: false".to_owned()), "{told:?}");
    }
}

// shows: D7-1
/// Carol goes over to a branch that renames the group and then puts her out: what is different there is told, as it is to
/// who followed it from the first. When she is invited again, and that is not the branch that she was on, her database
/// is whole.
#[test]
fn who_is_put_out_by_another_branch_is_told_what_it_changed() {
    let mut cast = Cast::two_admins_and("carol");
    let promoted = cast.promotes("alice", &["carol"]);
    cast.hears_all_but("alice", [&promoted]);
    cast.rest(1_000);
    let here = cast.renames("bob", "here");
    let there = cast.renames("alice", "there");
    let removal = cast.removes("alice", "carol");
    let before = words(&mut cast, "carol").len();
    let epoch = cast.info("carol").epoch;
    cast.hears("carol", [&here, &there, &removal]);
    cast.waits("carol", 1_000);
    let told = words(&mut cast, "carol").split_off(before);
    let (one, two) =
        (format!("{epoch} to {}", epoch + 1), format!("{} to {}", epoch + 1, epoch + 2));
    let expected =
        [&one, "name", "withdrawn", &two, "1 removed, 0 left", "admins, name", "out, asked: false"];
    assert_eq!(told, expected);
    let shown = look(&mut cast, "carol");
    assert_eq!((shown.0, shown.1), (GroupState::Removed, epoch + 2));
    assert!(!shown.3.contains(&cast.key("carol")), "an admin no more");
    assert_eq!(cast.name("carol"), "there");
}

// shows: D6-1
/// Carol is put out, taken back by two commits of a rival, and then invited to what leads on from her removal: what lies
/// behind her is no damage.
#[test]
fn a_database_that_was_out_and_in_again_is_whole() {
    let mut cast = Cast::two_admins_and("carol");
    let removal = cast.removes("alice", "carol");
    let rivals = [cast.renews("bob"), cast.renews("bob")];
    cast.hears("carol", [&removal, &rivals[0], &rivals[1]]);
    cast.waits("carol", 1_000);
    assert_eq!(look(&mut cast, "carol").0, GroupState::Active);
    let added = cast.adds("alice", "carol");
    let named = cast.renames("alice", "later");
    cast.takes("carol", &added.commit);
    cast.joins("carol", &added.welcome);
    cast.takes("carol", &named);
    cast.waits_often("carol", 200, 1_000);
    cast.accepts_all("carol");
    cast.takes("carol", &named);
    cast.waits("carol", 1_000);
    assert_eq!(cast.name("carol"), "later");
    is_whole(&mut cast, "carol");
}

fn is_whole(cast: &mut Cast, who: Who) {
    let report = cast.engine(who).verify(&mut Progress::none()).unwrap();
    assert!(report.is_intact(), "{who}: {:?}", report.logic);
}

/// While it is open whether the end of a group is final, its database is as whole as before, for who ended it and for whom
/// that put out.
#[test]
fn a_database_is_whole_while_a_group_of_it_ends() {
    let mut cast = Cast::two_admins_and("carol");
    let end = cast.disbands("alice");
    cast.hears_all_but("alice", [&end]);
    for settled in [false, true] {
        for who in cast.names() {
            is_whole(&mut cast, who);
            let ended = cast.log(who).iter().any(|e| matches!(e, EventBody::Disbanded { .. }));
            assert_eq!(ended, settled);
            cast.waits(who, 1_000);
        }
    }
}

/// Who is said to have done what of the changes of members and settings that were told.
fn deeds(outcome: &Outcome) -> Vec<(String, Option<PublicKey>)> {
    let names = |keys: &BTreeSet<PublicKey>| keys.iter().map(PublicKey::to_hex).collect::<String>();
    let of = |body: &EventBody| match body {
        EventBody::MembersChanged { added, removed, left, by, .. } => {
            Some((format!("+{} -{} /{}", names(added), names(removed), names(left)), *by))
        }
        EventBody::GroupUpdated { changed, by, .. } => {
            Some((changed.iter().copied().collect(), *by))
        }
        _ => None,
    };
    outcome.events.iter().filter_map(|event| of(&event.body)).collect()
}

// shows: D7-3
/// Two admins change a group at once. What the loser had changed is taken back, which the winner has not done: it is
/// told without a name, and what the winner did is told by itself.
#[test]
fn what_is_taken_back_was_done_by_nobody() {
    type Does = fn(&mut Cast, Who) -> Event;
    let adds: Does = |cast, who| cast.adds(who, "dave").commit;
    let removes: Does = |cast, who| cast.removes(who, "carol");
    let renames: Does = |cast, who| cast.renames(who, who);
    for (case, loses, wins) in [
        ("the loser adds", adds, renames),
        ("the loser removes", removes, renames),
        ("the loser renames", renames, adds),
        ("both change members", adds, removes),
    ] {
        let mut cast = Cast::two_admins_and("carol");
        let lost = loses(&mut cast, "bob");
        let won = wins(&mut cast, "alice");
        let (winner, carol) = (cast.key("alice"), cast.key("carol").to_hex());
        let dave =
            if case.ends_with("removes") { carol.clone() } else { cast.key("dave").to_hex() };
        let name = "name".to_owned();
        let expected = match case {
            "the loser adds" => [(format!("+ -{dave} /"), None), (name, Some(winner))],
            "the loser removes" => [(format!("+{carol} - /"), None), (name, Some(winner))],
            "the loser renames" => [(format!("+{dave} - /"), Some(winner)), (name, None)],
            _ => [(format!("+ -{dave} /"), None), (format!("+ -{carol} /"), Some(winner))],
        };
        cast.takes("carol", &lost);
        for who in ["bob", "carol"] {
            let mut told = deeds(&cast.takes(who, &won));
            told.extend(deeds(&cast.waits(who, 1_000)));
            assert_eq!(told, expected, "{case}, {who}");
        }
        assert_eq!(deeds(&cast.takes("alice", &lost)), [], "{case}");
        assert_eq!(deeds(&cast.waits("alice", 1_000)), [], "{case}");
    }
}

/// What the branches have in common cannot be read any more: the winner is followed all the same, and nothing that is
/// different is said to be anybody's deed.
#[test]
fn who_did_what_is_not_known_when_the_fork_cannot_be_read() {
    for broken in [vec![], vec![7; 99]] {
        let mut cast = Cast::two_admins_and("carol");
        let named = GroupUpdate { name: Some("lost".into()), ..GroupUpdate::default() };
        let lost = cast.prepares("bob", |engine, group| engine.update_group(group, named));
        let won = cast.demotes("alice", "bob");
        cast.hears("carol", [event(&lost), &won]);
        let carol = cast.parts_with("carol");
        let path = carol.path.clone();
        let carol = carol.closes();
        fork::rows(&path, |tx| {
            let nodes = tx.nodes(&cast.group)?;
            let rival = nodes.iter().find(|node| !node.canonical).unwrap();
            tx.set_node_state(&cast.group, &rival.parent.unwrap(), &SecretVec::new(broken.clone()))
        });
        let mut carol = carol.opens();
        let told = carol.waits(1_000);
        assert_eq!(deeds(&told), [("adminsname".into(), None)], "{:?}", told.events);
        assert_eq!(carol.ends(&cast.group).authenticator, cast.tip("alice"));
    }
}
