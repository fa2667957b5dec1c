//! Ends of a group and removals that race with something else: what each member is told and shown, and what is kept.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupState, Outcome, Verdict};
use mdk_store::Progress;
use mdk_wire::{ContentId, Event, Keys, PublicKey, SecretVec, kind};

use crate::kit::cast::{Cast, Who};
use crate::kit::foreign::resigned;
use crate::kit::strays::gaps_in;
use crate::kit::tale::{Tale, story};
use crate::kit::{CLOSED, RIVAL, event, fork, named};

/// Nothing of a group's secrets is left in this database.
fn nothing_is_left(cast: &mut Cast, who: &str) {
    let filed = cast.parts_with(who);
    let path = filed.path.clone();
    drop(filed);
    fork::rows(&path, |tx| {
        assert!(tx.nodes(&cast.group)?.is_empty() && tx.inputs(&cast.group)?.is_empty());
        assert!(tx.mls_dump(&cast.group)?.expose().len() < 2);
        assert_eq!(tx.group(&cast.group)?.unwrap().event_key.expose(), &[0; 32]);
        Ok(())
    });
}

fn is_whole(cast: &mut Cast, who: Who) {
    let report = cast.engine(who).verify(&mut Progress::none()).unwrap();
    assert!(report.is_intact(), "{who}: {:?}", report.logic);
}

// shows: D6-3, D6-4, D6-5
/// Whoever is removed on a branch that loses stays, and whoever stays on a branch that loses is removed.
#[test]
fn a_removal_races_a_rename() {
    for case in ["wins first", "wins", "first", ""] {
        let mut tale = Tale::of("a b* c*", case);
        story!(tale; "
            [wins] removal: a removes c; renaming: b renames
            [!wins] removal: b removes c; renaming: a renames
            [first] c applies removal; c restarts; c takes renaming =rival
            [!first] c applies renaming; c restarts; c takes removal =rival
            c restarts; c waits 1s; a,b take removal renaming; a,b wait 1s; a same b
            [!wins] c is active; a same c; here: c says; a,b apply here
        ");
        if tale.is("wins") {
            let mut told = tale.told("c").events.iter();
            let removed = told.any(|e| matches!(e.body, EventBody::Removed { .. }));
            assert_eq!(removed, !tale.is("first"));
            tale.plays("c is removed; c waits 1d");
            nothing_is_left(&mut tale.cast, "c");
        }
    }
}

// shows: C5-1, C5-2, C5-3
/// The end of a group is one branch among others, and final when it has won.
#[test]
fn a_disband_races_a_rename() {
    for case in ["wins", ""] {
        let mut tale = Tale::of("a b* c*", case);
        story!(tale; "
            [wins] end: a disbands; on: b renames
            [!wins] end: b disbands; on: a renames
            c applies end; all take on end; all restart
        ");
        let mut again = Vec::new();
        for who in tale.cast.names() {
            // While it is open whether the end is final, the database is as whole as before.
            is_whole(&mut tale.cast, who);
            let told = tale.cast.waits(who, 1_000);
            again.extend(told.reply.into_iter().filter(|e| e.kind() == kind::GROUP_MESSAGE));
            let ended = told.events.iter().any(|e| matches!(e.body, EventBody::Disbanded { .. }));
            assert_eq!(ended, tale.is("wins"));
        }
        story!(tale; "
            all wait 1s
            [wins] all are disbanded
            [!wins] all are active; a same b c
        ");
        if tale.is("wins") {
            ["a", "c"].into_iter().for_each(|who| nothing_is_left(&mut tale.cast, who));
            continue;
        }
        // It is made again on the winner, and its echo makes it true for its author.
        again.sort_by_key(Event::id);
        again.dedup();
        assert_eq!(again.len(), 1);
        tale.cast.all_hear(&again);
        tale.plays("all wait 1s; all are disbanded");
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
    let mut tale = Tale::of("alice bob* carol", "");
    story!(tale; "
        carol copies dave; one: alice disbands; two: bob disbands
        alice,carol take one two; bob,dave take two one; all wait 1s
    ");
    let (winner, loser) = (tale.cast.key("alice"), tale.cast.key("bob"));
    let shown = look(&mut tale.cast, "alice");
    assert_eq!(told(tale.told("alice")), [("disbanded", None)]);
    assert_eq!(shown.2, BTreeSet::from([winner]));
    assert_eq!((shown.0, &shown.3), (GroupState::Disbanded, &vec![winner]));
    for (who, switched) in [("bob", true), ("carol", false), ("dave", true)] {
        assert_eq!(look(&mut tale.cast, who), shown, "{who}");
        let outcome = tale.told(who);
        let (names, commits): (Vec<_>, Vec<_>) = told(outcome).into_iter().unzip();
        if !switched {
            assert_eq!(names, ["disbanded"], "{who}");
            continue;
        }
        assert_eq!(names, ["withdrawn", "members", "members", "settings", "disbanded"], "{who}");
        assert!(commits[0] != commits[1] && commits[1..4].iter().all(|c| *c == commits[1]));
        let back = (format!("+{} - /", winner.to_hex()), None);
        let gone = (format!("+ -{} /", loser.to_hex()), Some(winner));
        assert_eq!(deeds(outcome)[..2], [back, gone], "{who}");
    }
}

// shows: C5-3
/// Who ended the group on a branch that lost, and is no admin on the winner, cannot end it again, and is told so: the end
/// is withdrawn, by the one who took the right away.
#[test]
fn an_end_by_one_who_is_no_longer_admin_is_withdrawn_for_good() {
    let mut tale = Tale::of("alice bob* carol", "");
    story!(tale; "
        end: bob disbands; demoted: alice demotes bob; all take end demoted; all wait 1s
    ");
    let winner = tale.cast.key("alice");
    for who in tale.cast.names() {
        let shown = look(&mut tale.cast, who);
        assert_eq!((shown.0, shown.3), (GroupState::Active, vec![winner]));
    }
    assert!(tale.cast.engine("bob").pending().unwrap().is_empty());
    let told = tale.told("bob");
    assert!(told.reply.is_empty());
    assert!(told.events.iter().any(|e| matches!(e.body, EventBody::ChangeWithdrawn { .. })));
    let by = told.events.iter().find_map(|e| match &e.body {
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
        let mut tale = Tale::of("a b* c*", "");
        tale.plays("all wait 5s");
        let mut said = Vec::new();
        for n in 0..9 {
            said.push(tale.cast.says("b", &format!("{n}")));
            tale.plays("all wait 5s; next: a renews; b,c take next; all wait 1s");
        }
        said.push(tale.cast.says("b", "9"));
        let took = tale.cast.takes(who, &said[0]).verdict;
        assert_eq!(took, CLOSED);
        tale.plays("end: a disbands; b,c take end");
        for (at, verdict) in [(1, CLOSED), (6, RIVAL), (9, RIVAL)] {
            assert_eq!(tale.cast.takes(who, &said[at]).verdict, verdict, "{who} {at}");
        }
        let told = tale.cast.waits(who, 1_000).events;
        let lost = gaps_in(told.iter().map(|event| &event.body));
        assert_eq!(lost, [(2, said[0].created_at(), said[1].created_at())], "{who}");
        assert!(matches!(told.last().unwrap().body, EventBody::Disbanded { .. }), "{who}");
        assert_eq!(tale.cast.texts(who), ["6", "9"], "{who}");
        for late in [&said[2], &said[7]] {
            let noise =
                resigned(late, &Keys::generate(), |envelope| envelope.content = "A".repeat(160));
            for late in [&noise, late] {
                let outcome = tale.cast.takes(who, late);
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
    for takes in ["carol takes one two", "carol takes two one"] {
        let mut tale = Tale::of("alice bob* carol", "");
        tale.plays("leave: carol leaves; one: alice answers leave; two: bob answers leave");
        tale.plays(takes).plays("carol waits 1s; carol restarts; carol is left");
        let told = words(&mut tale.cast, "carol");
        assert_eq!(told.last().unwrap(), "out, asked: true", "{told:?}");
        assert!(!told.contains(&"out, asked: false".to_owned()), "{told:?}");
    }
}

// shows: D7-1
/// Carol goes over to a branch that renames the group and then puts her out: what is different there is told, as it is to
/// who followed it from the first.
#[test]
fn who_is_put_out_by_another_branch_is_told_what_it_changed() {
    let mut tale = Tale::of("alice bob* carol*", "");
    let (before, epoch) = (words(&mut tale.cast, "carol").len(), tale.cast.info("carol").epoch);
    story!(tale; "
        here: bob renames; there: alice renames; removal: alice removes carol
        carol takes here there removal; carol waits 1s; carol is removed; carol named there
    ");
    let told = words(&mut tale.cast, "carol").split_off(before);
    let (one, two) =
        (format!("{epoch} to {}", epoch + 1), format!("{} to {}", epoch + 1, epoch + 2));
    let expected =
        [&one, "name", "withdrawn", &two, "1 removed, 0 left", "admins, name", "out, asked: false"];
    assert_eq!(told, expected);
    let shown = look(&mut tale.cast, "carol");
    assert_eq!(shown.1, epoch + 2);
    assert!(!shown.3.contains(&tale.cast.key("carol")), "an admin no more");
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
        let mut cast = Tale::of("alice bob* carol", "").cast;
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
        let mut cast = Tale::of("alice bob* carol", "").cast;
        let lost = cast.prepares("bob", |engine, group| engine.update_group(group, named("lost")));
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
