//! Who comes back to a group with another branch is what it was when it went: asked and without an answer, about to leave,
//! or in the group; and is shown and told what is different there.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupInfo, GroupState, GroupUpdate, Outcome};
use mdk_wire::{Event, PublicKey, kind};

use crate::kit::acts::invited;
use crate::kit::cast::{Added, Cast};

/// Alice and carol are admins of a group that bob is not in. All are settled. Of two commits carol's wins.
fn two() -> Cast {
    let mut cast = Cast::arranged(&["alice", "carol"], &["carol"], |all| {
        all.sort_by_key(|filed| std::cmp::Reverse(filed.member.key()));
    });
    cast.rest(9_000);
    cast
}

/// Bob is added by alice, and has not answered.
fn asks(cast: &mut Cast) -> Added {
    let added = cast.adds("alice", "bob");
    assert!(invited(&cast.takes("bob", &added.welcome)));
    cast.applies("carol", &added.commit);
    cast.rest(10_000);
    added
}

/// Carol commits this often, and bob takes it all.
fn beaten(cast: &mut Cast, names: &[&str]) -> Outcome {
    let mut outcomes = Vec::new();
    for name in names {
        let commit = cast.renames("carol", name);
        cast.waits("carol", 10_000);
        outcomes.push(cast.takes("bob", &commit));
    }
    outcomes.extend([cast.waits("bob", 10_000), cast.waits("bob", 10_000)]);
    let mut told = outcomes.remove(0);
    for outcome in outcomes {
        told.events.extend(outcome.events);
        told.reply.extend(outcome.reply);
    }
    told
}

/// The end of the group, or the removal of bob.
fn puts_out(cast: &mut Cast, ends: bool) -> Event {
    if ends { cast.disbands("alice") } else { cast.removes("alice", "bob") }
}

// rule: D6-13
/// Bob is invited, and put out before he has answered, by a removal or by the end of the group; a branch that keeps him
/// wins. He is asked again, and nobody took him for one who had accepted.
#[test]
fn who_had_not_answered_is_asked_again() {
    for ends in [false, true] {
        for (before, restart) in [(false, false), (false, true), (true, true)] {
            let case = format!("{ends} {before} {restart}");
            let mut cast = two();
            if before {
                // He was in the group, and has something to remember.
                asks(&mut cast);
                cast.accepts_all("bob");
                cast.speak("bob", "alice");
                let removal = cast.removes("alice", "bob");
                cast.applies("bob", &removal);
                cast.applies("carol", &removal);
                cast.rest(10_000);
            }
            let added = asks(&mut cast);
            let route = cast.info("carol").nostr_group_id.to_hex();
            let out = puts_out(&mut cast, ends);
            cast.takes("bob", &out);
            let over = if ends { GroupState::Disbanded } else { GroupState::Removed };
            assert_eq!(cast.state("bob"), over, "{case}");
            assert!(cast.invites("bob").is_empty());
            let rival = cast.renames("carol", "c0");
            cast.waits("carol", 10_000);
            cast.takes("bob", &rival);
            let subscribes = cast.subscribes("bob", &route);
            assert!(!subscribes, "an inviter's relays are not dialled: {case}");
            if restart {
                cast.restarts("bob");
            }
            let told = beaten(&mut cast, &["c1", "c2"]);
            assert_eq!(cast.state("bob"), GroupState::Pending, "{case}");
            assert!(invited(&told), "{case}: {:?}", told.events);
            let [invite] = cast.invites("bob").try_into().unwrap();
            assert_eq!(invite.id, added.welcome.id());
            assert_eq!((invite.group_name.as_str(), invite.inviter), ("c2", cast.key("alice")));
            assert!(!cast.subscribes("bob", &route));
            if before {
                cast.declines("bob", "alice");
                assert_eq!(cast.state("bob"), GroupState::Left);
                assert_eq!(cast.texts("bob"), ["from one", "from the other"]);
            } else {
                cast.accepts("bob", "alice");
                assert!(cast.subscribes("bob", &route));
                cast.speak("bob", "carol");
            }
        }
    }
}

// shows: D6-13
/// Who had accepted is in the group again, whatever put it out.
#[test]
fn who_had_accepted_is_in_the_group_again() {
    for ends in [false, true] {
        let mut cast = two();
        asks(&mut cast);
        cast.accepts_all("bob");
        let out = puts_out(&mut cast, ends);
        cast.takes("bob", &out);
        cast.restarts("bob");
        let told = beaten(&mut cast, &["c1", "c2", "c3"]);
        assert_eq!(cast.state("bob"), GroupState::Active, "{ends}");
        assert!(!invited(&told));
        cast.speak("bob", "carol");
    }
}

// rule: D6-13
/// Bob has accepted and asks to leave; the end of the group comes before the answer, and loses to commits of carol's: he
/// asks again.
#[test]
fn who_had_asked_to_leave_asks_again() {
    for restart in [false, true] {
        let mut cast = two();
        asks(&mut cast);
        cast.accepts_all("bob");
        cast.leaves("bob");
        let end = cast.disbands("alice");
        cast.takes("bob", &end);
        assert_eq!(cast.state("bob"), GroupState::Disbanded);
        if restart {
            cast.restarts("bob");
        }
        let told = beaten(&mut cast, &["c1", "c2", "c3"]);
        assert_eq!(cast.state("bob"), GroupState::Leaving, "{restart}");
        let mut requests = told.reply.iter().filter(|event| event.kind() == kind::GROUP_MESSAGE);
        let Some(request) = requests.next_back() else { panic!("{restart}: no request") };
        let mut replies = cast.takes("carol", request).reply;
        replies.extend(cast.waits("carol", 1_000).reply);
        let [answer] = replies.try_into().unwrap();
        cast.takes("bob", &answer);
        assert_eq!(cast.state("bob"), GroupState::Left);
    }
}

// shows: D6-12
/// As before, and on the winner carol has removed him: he has left, whichever answer is followed.
#[test]
fn who_had_asked_to_leave_has_left_where_it_was_removed() {
    for restart in [false, true] {
        let mut cast = two();
        asks(&mut cast);
        cast.accepts_all("bob");
        cast.leaves("bob");
        let removal = cast.removes("carol", "bob");
        let end = cast.disbands("alice");
        cast.takes("bob", &end);
        assert_eq!(cast.state("bob"), GroupState::Disbanded);
        if restart {
            cast.restarts("bob");
        }
        let mut told = cast.takes("bob", &removal).events;
        told.extend(cast.waits("bob", 10_000).events);
        assert_eq!(cast.state("bob"), GroupState::Left, "{restart}");
        let left = told.iter().any(|e| matches!(e.body, EventBody::Removed { left: true, .. }));
        assert!(left, "{told:?}");
    }
}

/// Alice, carol and erin are admins, bob and dave are members; all are settled. Of two commits carol's wins.
fn five() -> Cast {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let mut cast = Cast::arranged(&names, &["carol", "erin"], |all| {
        if all[0].member.key() < all[2].member.key() {
            all.swap(0, 2);
        }
    });
    cast.rest(9_000);
    cast
}

/// The settings that were told as changed.
fn changed<'a>(told: impl IntoIterator<Item = &'a EventBody>) -> BTreeSet<&'static str> {
    let changed = told.into_iter().filter_map(|body| match body {
        EventBody::GroupUpdated { changed, .. } => Some(changed.clone()),
        _ => None,
    });
    changed.flatten().collect()
}

/// Accounts that were told as removed.
fn removed(outcomes: &[Outcome]) -> BTreeSet<PublicKey> {
    let bodies = outcomes.iter().flat_map(|outcome| &outcome.events).map(|event| &event.body);
    let removed = bodies.filter_map(|body| match body {
        EventBody::MembersChanged { removed, .. } => Some(removed.clone()),
        _ => None,
    });
    removed.flatten().collect()
}

fn renames_and_limits(cast: &mut Cast) -> Event {
    let update =
        GroupUpdate { name: Some("there".into()), retention: Some(500), ..GroupUpdate::default() };
    cast.updates("carol", update)
}

/// Carol removes these in one commit.
fn removes_all(cast: &mut Cast, whom: &[&str]) -> (BTreeSet<PublicKey>, Event) {
    let gone: Vec<_> = whom.iter().map(|who| cast.key(who)).collect();
    let removal = cast.commits("carol", |engine, group| engine.remove_members(group, &gone));
    (gone.into_iter().collect(), removal)
}

/// What of a group does not depend on who looks at it.
fn look(cast: &mut Cast, who: &str) -> (GroupInfo, Vec<PublicKey>) {
    let group = cast.group.clone();
    let members = cast.engine(who).members(&group).unwrap();
    let mut info = cast.info(who);
    (info.unread_count, info.last_message) = (0, None);
    (info, members.into_iter().map(|m| m.public_key).collect())
}

// rule: D7-2
/// Bob is out on a branch, and comes back with one that has another name and another lifetime, or takes erin's rights:
/// he is told that these are not what he was shown.
#[test]
fn who_comes_back_is_told_what_is_different() {
    for demotes in [false, true] {
        let mut cast = five();
        let removal = cast.removes("alice", "bob");
        let winner = match demotes {
            true => cast.demotes("carol", "erin"),
            false => renames_and_limits(&mut cast),
        };
        cast.takes("bob", &removal);
        cast.waits("bob", 10_000);
        assert_eq!(cast.state("bob"), GroupState::Removed);
        let told = [cast.takes("bob", &winner), cast.waits("bob", 10_000)];
        let info = cast.info("bob");
        assert_eq!(info.state, GroupState::Active, "{demotes}");
        let expected = if demotes { vec!["admins"] } else { vec!["name", "retention"] };
        let told = changed(told.iter().flat_map(|told| &told.events).map(|event| &event.body));
        assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
        // And what is as it was shown is not told.
        assert!(info.name == if demotes { "before" } else { "there" });
    }
}

// shows: D7-2
/// Out on one branch, he goes over to another that renamed the group before it put him out.
#[test]
fn who_is_out_on_both_is_told_what_is_different() {
    let mut cast = five();
    let removal = cast.removes("alice", "bob");
    let renamed = renames_and_limits(&mut cast);
    cast.waits("carol", 10_000);
    let again = cast.removes("carol", "bob");
    cast.takes("bob", &removal);
    cast.waits("bob", 10_000);
    cast.hears("bob", [&renamed, &again]);
    cast.waits("bob", 10_000);
    // (whatever he follows in between)
    let named = changed(&cast.log("bob"));
    let info = cast.info("bob");
    assert_eq!((info.state, info.name.as_str()), (GroupState::Removed, "there"));
    assert!(named.is_superset(&["name", "retention"].into()), "{named:?}");
}

// rule: D6-14
/// One commit removes bob, dave and erin, an admin. Bob has it first; dave followed another branch and goes over: both see
/// the same group, and are told the same.
#[test]
fn whom_a_commit_removes_together_is_seen_alike() {
    for restart in [false, true] {
        let mut cast = five();
        let (gone, removal) = removes_all(&mut cast, &["bob", "dave", "erin"]);
        let rival = cast.renames("alice", "here");
        let direct = [cast.takes("bob", &removal), cast.waits("bob", 10_000)];
        cast.takes("dave", &rival);
        cast.waits("dave", 10_000);
        assert_eq!(cast.name("dave"), "here");
        if restart {
            cast.restarts("dave");
        }
        let over = [cast.takes("dave", &removal), cast.waits("dave", 10_000)];
        assert_eq!(cast.state("dave"), GroupState::Removed);
        assert_eq!(look(&mut cast, "dave"), look(&mut cast, "bob"));
        assert_eq!(cast.info("dave").admins.len(), 2);
        assert_eq!(removed(&over), gone);
        assert_eq!(removed(&direct), gone);
    }
}

// shows: D6-14
/// Erin is put out directly, a branch of equal length takes her back when somebody speaks on it, and the removal wins
/// again: the group looks as it did when she was put out first.
#[test]
fn a_removal_that_wins_again_looks_as_it_did() {
    let mut cast = five();
    let first = renames_and_limits(&mut cast);
    cast.waits("carol", 10_000);
    cast.takes("erin", &first);
    let said = cast.says("carol", "there");
    let (_, removal) = removes_all(&mut cast, &["dave", "erin"]);
    cast.takes("erin", &removal);
    cast.waits("erin", 10_000);
    let seen = look(&mut cast, "erin");
    assert_eq!((seen.0.state, seen.1.len()), (GroupState::Removed, 3));
    // Two commits and a voice of alice's beat the two of carol's, until carol is heard, and bob.
    cast.takes("bob", &first);
    let too = cast.says("bob", "here as well");
    for name in ["a1", "a2"] {
        let commit = cast.renames("alice", name);
        cast.waits("alice", 10_000);
        cast.takes("erin", &commit);
    }
    let voice = cast.says("alice", "alone");
    cast.takes("erin", &voice);
    cast.waits("erin", 10_000);
    assert_eq!(cast.state("erin"), GroupState::Active);
    cast.restarts("erin");
    cast.hears("erin", [&said, &too]);
    cast.waits("erin", 10_000);
    assert_eq!(look(&mut cast, "erin"), seen);
}
