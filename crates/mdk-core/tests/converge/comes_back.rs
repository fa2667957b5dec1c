//! Who comes back to a group with another branch is what it was when it went: asked and without an answer, about to leave,
//! or in the group; and is shown and told what is different there.

use std::collections::BTreeSet;

use mdk_core::{EventBody, GroupInfo, GroupState, GroupUpdate, Outcome};
use mdk_wire::{PublicKey, kind};

use crate::kit::cast::Cast;
use crate::kit::named;
use crate::kit::tale::{Tale, story};

/// Alice and carol are admins of a group that bob is not in, and of two commits carol's wins. Alice adds him, and he does
/// not answer.
fn asked(case: &str) -> Tale {
    let mut tale = Tale::of("carol alice*", case);
    tale.plays("all wait 9s");
    tale
}

const ASKS: &str = "
    added: alice adds bob; bob takes added.w asked; carol applies added; all wait 10s
";

/// The end of the group, or the removal of bob, which he takes.
const PUTS_OUT: &str = "
    [ends] out: alice disbands; bob takes out; bob is disbanded
    [!ends] out: alice removes bob; bob takes out; bob is removed
";

/// How often bob was asked.
fn asked_so_far(tale: &mut Tale) -> usize {
    let log = tale.cast.log("bob");
    log.iter().filter(|body| matches!(body, EventBody::Invited { .. })).count()
}

// rule: D6-13
/// Bob is invited, and put out before he has answered, by a removal or by the end of the group; a branch that keeps him
/// wins. He is asked again, and nobody took him for one who had accepted.
#[test]
fn who_had_not_answered_is_asked_again() {
    for case in ["", "restart", "restart before", "ends", "ends restart", "ends restart before"] {
        let mut tale = asked(case);
        if tale.is("before") {
            // He was in the group, and has something to remember.
            tale.plays(ASKS);
            story!(tale; "
                bob accepts; bob speaks alice; removal: alice removes bob
                bob,carol apply removal; all wait 10s
            ");
        }
        tale.plays(ASKS).plays(PUTS_OUT);
        story!(tale; "
            bob invited-by; c0: carol renames; carol waits 10s; bob takes c0
            bob is-deaf -- an inviter's relays are not dialled
            [restart] bob restarts
        ");
        let before = asked_so_far(&mut tale);
        story!(tale; "
            c1: carol renames; carol waits 10s; c2: carol renames; carol waits 10s
            bob takes c1 c2; bob waits 10s x2; bob is pending; bob invited-by alice; bob is-deaf
        ");
        assert_eq!(asked_so_far(&mut tale), before + 1, "{case}");
        let [invite] = tale.cast.invites("bob").try_into().unwrap();
        assert_eq!(invite.id, tale.event("added.w").id());
        assert_eq!(invite.group_name, "c2");
        if tale.is("before") {
            tale.plays("bob declines alice; bob is left");
            assert_eq!(tale.cast.texts("bob"), ["from one", "from the other"]);
        } else {
            tale.plays("bob accepts alice; bob listens; bob speaks carol");
        }
    }
}

// rule: D6-13
/// Bob has accepted and asks to leave; the end of the group comes before the answer, and loses to commits of carol's: he
/// asks again. Who has not asked is in the group again.
#[test]
fn who_had_asked_to_leave_asks_again() {
    for case in ["", "restart", "stays"] {
        let mut tale = asked(case);
        tale.plays(ASKS);
        story!(tale; "
            bob accepts
            [!stays] bob leaves
            end: alice disbands; bob takes end; bob is disbanded
            [restart] bob restarts
            c1: carol renames; carol waits 10s; c2: carol renames; carol waits 10s
            c3: carol renames; carol waits 10s; bob takes c1 c2 c3 unasked
        ");
        let mut replies = tale.told("bob").reply.clone();
        for _ in 0..2 {
            tale.plays("bob waits 10s unasked");
            replies.extend(tale.told("bob").reply.clone());
        }
        if tale.is("stays") {
            tale.plays("bob is active; bob speaks carol");
            continue;
        }
        tale.plays("bob is leaving");
        let mut requests = replies.iter().filter(|event| event.kind() == kind::GROUP_MESSAGE);
        let Some(request) = requests.next_back() else { panic!("{case}: no request") };
        let mut replies = tale.cast.takes("carol", request).reply;
        replies.extend(tale.cast.waits("carol", 1_000).reply);
        let [answer] = replies.try_into().unwrap();
        tale.cast.takes("bob", &answer);
        tale.plays("bob is left");
    }
}

/// Carol, alice and erin are admins, bob and dave are members. Of two commits carol's wins.
fn five(case: &str) -> Tale {
    let mut tale = Tale::of("carol alice* bob dave erin*", case);
    tale.plays("all wait 9s");
    tale
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
/// he is told that these are not what he was shown, and what is as it was is not told.
#[test]
fn who_comes_back_is_told_what_is_different() {
    for case in ["", "demotes"] {
        let mut tale = five(case);
        tale.plays("removal: alice removes bob");
        let limits = GroupUpdate { retention: Some(500), ..named("there") };
        let (winner, name, expected) = match tale.is("demotes") {
            true => (tale.cast.demotes("carol", "erin"), "before", vec!["admins"]),
            false => (tale.cast.updates("carol", limits), "there", vec!["name", "retention"]),
        };
        tale.plays("bob takes removal; bob waits 10s; bob is removed");
        let told = [tale.cast.takes("bob", &winner), tale.cast.waits("bob", 10_000)];
        let told = changed(told.iter().flat_map(|told| &told.events).map(|event| &event.body));
        assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
        let info = tale.cast.info("bob");
        assert_eq!((info.state, info.profile.name.as_str()), (GroupState::Active, name));
    }
}

// rule: D6-14
/// One commit removes bob, dave and erin, an admin. Bob has it first; dave followed another branch and goes over: both see
/// the same group, and are told the same.
#[test]
fn whom_a_commit_removes_together_is_seen_alike() {
    for case in ["", "restart"] {
        let mut tale = five(case);
        let gone = ["bob", "dave", "erin"].map(|who| tale.cast.key(who));
        let removal = tale.cast.commits("carol", |e, group| e.remove_members(group, &gone));
        let direct = [tale.cast.takes("bob", &removal), tale.cast.waits("bob", 10_000)];
        story!(tale; "
            here: alice renames; dave takes here; dave waits 10s; dave named here
            [restart] dave restarts
        ");
        let over = [tale.cast.takes("dave", &removal), tale.cast.waits("dave", 10_000)];
        tale.plays("dave is removed");
        assert_eq!(look(&mut tale.cast, "dave"), look(&mut tale.cast, "bob"));
        assert_eq!(tale.cast.info("dave").admins.len(), 2);
        assert_eq!([removed(&over), removed(&direct)], [gone.into(), gone.into()]);
    }
}
