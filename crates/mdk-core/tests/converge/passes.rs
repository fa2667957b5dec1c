//! Passes: how long our own commits wait, how far a pass reaches and what it keeps meanwhile, what comes late, and what a
//! flood of rivals does to it.

use mdk_core::{DeferredReason, Error, EventBody, GroupState, GroupUpdate, Pending, Verdict};
use mdk_store::InputState;
use mdk_wire::Event;

use crate::kit::cast::{Cast, Who};
use crate::kit::fork;
use crate::kit::{CLOSED, RIVAL, WAITS, event, received};

const DURING_PUBLICATION: Verdict = Verdict::Deferred(DeferredReason::PublishInProgress);

/// Admins of one group, settled, by ascending key.
fn admins(names: &[Who]) -> Cast {
    Cast::arranged(names, &names[1..], |all| all.sort_by_key(|filed| filed.member.key()))
}

fn two() -> Cast {
    Cast::new(&["alice", "bob"], &["bob"])
}

/// As [`two`], with carol, whom alice has added.
fn three() -> Cast {
    let mut cast = two();
    let added = cast.adds("alice", "carol");
    cast.joins("carol", &added.welcome);
    cast.applies("bob", &added.commit);
    cast.rest(1_000);
    cast
}

/// A rename that is prepared, and not confirmed yet.
fn prepares(cast: &mut Cast, who: &str, name: &str) -> Pending {
    let update = GroupUpdate { name: Some(name.into()), ..Default::default() };
    cast.prepares(who, |engine, group| engine.update_group(group, update))
}

/// A rename that its maker gives up, and that a relay has taken.
fn gives_up(cast: &mut Cast, who: &str, name: &str) -> Event {
    let pending = prepares(cast, who, name);
    cast.engine(who).discard(pending.id).unwrap();
    event(&pending).clone()
}

/// Whether a commit of its own would have to wait, and for how long.
fn settles_in(cast: &mut Cast, who: &str) -> Option<u64> {
    let group = cast.group.clone();
    match cast.engine(who).self_update(&group) {
        Ok(own) => {
            cast.engine(who).discard(own.id).unwrap();
            None
        }
        Err(Error::Settling { millis }) => Some(millis),
        Err(error) => panic!("{error:?}"),
    }
}

/// Messages in as many epochs, and the commits that end them.
fn speaks_and_commits(cast: &mut Cast, epochs: usize) -> (Vec<Event>, Vec<Event>) {
    (0..epochs)
        .map(|n| (cast.says("alice", &format!("{n:03}")), cast.renames("alice", "on")))
        .unzip()
}

// shows: E5-1, E5-2, E5-3, E5-8
/// A commit on the tip is read at once; our own waits for quiet, and five seconds at most.
#[test]
fn our_commits_wait_for_quiet() {
    let mut cast = admins(&["a", "b"]);
    let commits: Vec<Event> = (0..7).map(|n| gives_up(&mut cast, "a", &format!("{n}"))).collect();
    for (n, commit) in commits.iter().enumerate() {
        let verdict = cast.takes("b", commit).verdict;
        // The first one is on the tip: applied at once.
        assert_eq!(verdict, if n == 0 { Verdict::Applied } else { RIVAL });
        let millis = settles_in(&mut cast, "b");
        assert_eq!(millis, Some(1_000.min(5_000 - 800 * n as u64)), "{n}");
        if n == 3 {
            cast.restarts("b");
            assert!(settles_in(&mut cast, "b").is_some());
        }
        cast.at("b").member.clock.advance_millis(if n < 6 { 800 } else { 200 });
    }
    // No tick is needed, and our own commit does not gate the next one.
    let own = [cast.renews("b"), cast.renews("b")];
    cast.hears("a", commits.iter().chain(&own));
    cast.waits("a", 1_000);
    cast.same(&["a", "b"]);
}

// shows: E3-1, E3-2
/// A commit that we gave up and a relay took after all competes like any other; so do ones we confirmed.
#[test]
fn our_own_commits_are_realised_again() {
    let mut cast = admins(&["a", "b", "c"]);
    // b gives its commit up, but it was out; c's comes first. b's key is the lower one.
    let given_up = gives_up(&mut cast, "b", "given up");
    let other = cast.renames("c", "other");
    cast.applies("b", &other);
    cast.restarts("b");
    assert_eq!(cast.takes("b", &given_up).verdict, RIVAL);
    cast.applies("a", &given_up);
    cast.takes("a", &other);
    cast.takes("c", &given_up);
    cast.rest(1_000);
    cast.same(&["a", "b", "c"]);
    assert_eq!(cast.name("b"), "given up");
    // A confirmed one that loses first, because others speak on the rival, and wins when it is built upon.
    let ours = cast.renames("a", "ours");
    let theirs = cast.renames("b", "theirs");
    let said = cast.says("b", "on theirs");
    cast.hears("a", [&theirs, &said]);
    cast.waits("a", 1_000);
    assert_eq!(cast.name("a"), "theirs");
    cast.applies("c", &ours);
    cast.waits("c", 1_000);
    let on_ours = cast.renames("c", "built on ours");
    let more = cast.says("c", "deeper");
    cast.restarts("a");
    assert_eq!(cast.takes("a", &on_ours).verdict, RIVAL);
    assert_eq!(cast.takes("a", &more).verdict, RIVAL);
    cast.all_hear([&ours, &theirs, &said, &on_ours, &more]);
    cast.rest(1_000);
    cast.same(&["a", "b", "c"]);
    let info = cast.info("a");
    assert_eq!((info.name.as_str(), info.epoch), ("built on ours", 5));
}

// shows: E5-5
/// What is said later on a branch that lost can still turn the choice, and only what can turn it opens a pass.
#[test]
fn late_witnesses_turn_the_choice() {
    let mut cast = admins(&["a", "b", "c"]);
    let better = cast.renames("a", "better");
    let worse = cast.renames("b", "worse");
    cast.applies("c", &worse);
    let said = [("b", "one"), ("b", "again"), ("c", "two"), ("c", "and again")];
    let said = said.map(|(who, text)| cast.says(who, text));
    cast.takes("a", &worse);
    cast.waits("a", 1_000);
    assert_eq!(cast.name("a"), "better");
    // It is turned by the first one; what else is said there only makes the new winner stronger.
    for (at, opens) in [(0, true), (1, false), (2, false), (3, false)] {
        assert!(settles_in(&mut cast, "a").is_none());
        cast.takes("a", &said[at]);
        assert_eq!(settles_in(&mut cast, "a").is_some(), opens, "{at}");
        cast.waits("a", 1_000);
        assert_eq!(cast.name("a"), "worse");
    }
    cast.all_hear(said.iter().chain([&better, &worse]));
    cast.rest(1_000);
    cast.same(&["a", "b", "c"]);
}

// shows: E5-5
/// What is said on the branch that is followed anyway makes it stronger, and nobody waits for that.
#[test]
fn what_is_said_on_the_winner_holds_nobody_up() {
    let mut cast = admins(&["a", "b", "c", "d"]);
    let better = cast.renames("a", "better");
    let worse = cast.renames("b", "worse");
    cast.hears("c", [&better, &worse]);
    cast.takes("a", &worse);
    cast.takes("d", &worse);
    cast.takes("b", &better);
    cast.rest(1_000);
    for who in ["b", "c"] {
        let said = cast.says(who, who);
        assert_eq!(received(&cast.applies("a", &said)), [who]);
        assert_eq!(settles_in(&mut cast, "a"), None, "{who}");
        cast.takes(if who == "b" { "c" } else { "b" }, &said);
    }
    // It counts: two speakers are worth the one commit more that the other branch gets.
    let more = cast.renames("d", "worse still");
    assert_eq!(cast.takes("a", &more).verdict, RIVAL);
    cast.waits("a", 1_000);
    assert_eq!(cast.name("a"), "better");
}

// shows: D2-9
/// A leave is asked for again on the branch that won, and answered there.
#[test]
fn a_leave_survives_a_race() {
    let mut cast = Cast::arranged(&["a", "b", "c"], &["b"], |all| {
        all.sort_by_key(|filed| filed.member.key());
    });
    let ours = cast.renames("a", "ours");
    let theirs = cast.renames("b", "theirs");
    // c follows the one that will lose, and asks to leave there.
    cast.applies("c", &theirs);
    let leave = cast.leaves("c");
    cast.takes("c", &ours);
    let again = cast.waits("c", 1_000).reply;
    assert_eq!(again.len(), 1, "asked again on the winner");
    assert_ne!(again[0].id(), leave.id());
    cast.takes("a", &theirs);
    cast.hears("b", [&ours, &leave]);
    cast.waits("a", 1_000);
    cast.waits("b", 1_000);
    let mut answers = cast.takes("a", &again[0]).reply;
    answers.extend(cast.waits("a", 2_000).reply);
    assert_eq!(answers.len(), 1);
    cast.all_hear([&again[0], &answers[0]]);
    cast.rest(1_000);
    cast.same(&["a", "b"]);
    assert_eq!(cast.state("c"), GroupState::Left);
    assert_eq!(cast.info("a").member_count, 2);
}

/// Retained states are those of five epochs, on every branch, and no input outlives them.
#[test]
fn nothing_outlives_the_window() {
    let mut cast = admins(&["a", "b", "c"]);
    let mut losers = Vec::new();
    for n in 0..9 {
        let worse = gives_up(&mut cast, "b", &format!("b{n}"));
        let better = cast.renames("a", &format!("a{n}"));
        cast.all_hear([&better, &worse]);
        cast.rest(1_000);
        cast.same(&["a", "b", "c"]);
        losers.push(worse);
    }
    assert_eq!(cast.info("c").epoch, 11);
    assert!(!matches!(cast.takes("c", &losers[0]).verdict, Verdict::Applied));
    for who in cast.names() {
        let filed = cast.parts_with(who);
        let path = filed.path.clone();
        drop(filed);
        fork::rows(&path, |tx| {
            let nodes = tx.nodes(&cast.group)?;
            let (kept, rivals): (Vec<_>, Vec<_>) = nodes.iter().partition(|n| n.canonical);
            assert_eq!(kept.iter().map(|n| n.epoch).collect::<Vec<_>>(), [11, 10, 9, 8, 7, 6]);
            assert_eq!(rivals.len(), 5);
            for rival in rivals {
                assert!(kept.iter().any(|n| rival.parent == Some(n.authenticator)));
            }
            let inputs = tx.inputs(&cast.group)?;
            assert!(inputs.iter().all(|i| i.epoch >= 6 && i.state != InputState::Losing));
            assert_eq!(tx.group(&cast.group)?.unwrap().pass.floor, 6);
            Ok(())
        });
    }
}

// rule: E3-3
/// A flood of valid rivals by a member takes a bounded number of states, and honest traffic goes on.
#[test]
fn a_flood_of_rivals_is_bounded() {
    let mut cast = admins(&["a", "b", "c"]);
    let tip = cast.info("a").epoch;
    let flood: Vec<Event> =
        (0..24).map(|n| gives_up(&mut cast, "c", &format!("flood {n}"))).collect();
    let honest = cast.renames("a", "honest");
    cast.hears("b", flood[..12].iter().chain([&honest]).chain(&flood[12..]));
    cast.waits("b", 1_000);
    cast.same(&["a", "b"]);
    assert_eq!(cast.info("b").epoch, tip + 1);
    assert!(cast.beside("b") + cast.watch("b").asleep.len() <= 8);
}

// rule: E3-3
/// One member makes more rival commits than are kept. Another one's branch, which looks worse as long as it is short, is
/// not pushed out by them, and wins when it has grown.
#[test]
fn a_flood_of_rivals_pushes_out_no_branch_of_another() {
    let mut cast = Cast::arranged(&["us", "flooder", "honest"], &[], |all| {
        all[1..].sort_by_key(|filed| filed.member.key());
    });
    let renews = |cast: &mut Cast| {
        let own = cast.prepares("flooder", |engine, group| engine.self_update(group));
        cast.engine("flooder").discard(own.id).unwrap();
        event(&own).clone()
    };
    let flood: Vec<Event> = (0..10).map(|_| renews(&mut cast)).collect();
    let branch = [cast.renews("honest"), cast.renews("honest")];
    cast.hears("us", flood.iter().chain(&branch));
    cast.waits("us", 1_000);
    cast.agree(&["us", "honest"], "the longer branch");
}

// shows: F1-3, C2-4
/// A message that comes in the last epoch of the window while a commit of ours is on its way is in time, whatever the
/// confirmation does to the window.
#[test]
fn a_message_that_came_during_publication_is_not_lost_by_the_confirmation() {
    for restart in [false, true] {
        let mut cast = two();
        let late = cast.says("bob", "in time");
        (0..5).for_each(|_| drop(cast.renames("alice", "on")));
        let sixth = prepares(&mut cast, "alice", "six");
        assert_eq!(cast.takes("alice", &late).verdict, DURING_PUBLICATION);
        if restart {
            cast.restarts("alice");
        }
        cast.at("alice").member.confirms(&sixth);
        assert_eq!(cast.texts("alice"), ["in time"]);
        assert_eq!(received(&cast.engine("alice").tick().unwrap()), ["in time"]);
        assert_eq!(cast.takes("alice", &late).verdict, Verdict::Duplicate);
        // Nothing competes, so the next commit does not wait, and the window has moved on.
        cast.renames("alice", "on");
        let watch = cast.watch("alice");
        assert!(!watch.pass_open && watch.raw == 0);
        assert_eq!(watch.states.len(), 6);
    }
}

/// What nobody can open does not hold our own commits back either, and stays held.
#[test]
fn noise_that_came_during_publication_opens_no_lasting_pass() {
    let mut cast = two();
    let first = prepares(&mut cast, "alice", "first");
    // Of an epoch that alice does not reach: bob is ahead by commits that she never gets.
    cast.renames_to("bob", ["on", "on"]);
    let unopened = cast.says("bob", "elsewhere");
    cast.takes("alice", &unopened);
    cast.at("alice").member.confirms(&first);
    cast.renames("alice", "on");
    assert_eq!(cast.watch("alice").raw, 1);
}

/// A rival that came meanwhile is a rival: the pass goes on, and is counted from before the confirmation.
#[test]
fn a_rival_that_came_during_publication_is_compared() {
    let mut cast = two();
    let [mine, theirs] = ["alice", "bob"].map(|who| prepares(&mut cast, who, who));
    assert_eq!(cast.takes("alice", event(&theirs)).verdict, DURING_PUBLICATION);
    assert_eq!(cast.takes("bob", event(&mine)).verdict, DURING_PUBLICATION);
    cast.at("alice").member.confirms(&mine);
    cast.at("bob").member.confirms(&theirs);
    assert!(settles_in(&mut cast, "alice").is_some(), "a choice is open");
    cast.rest(1_000);
    cast.same(&["alice", "bob"]);
}

// shows: E5-7, E5-8
/// A line of commits applies as it comes, without a wait, and what was said before is still heard: all of it within one
/// pass, in which nothing has been let go yet.
#[test]
fn a_line_of_commits_applies_at_once() {
    let mut cast = two();
    let (texts, line) = speaks_and_commits(&mut cast, 24);
    let before = cast.info("bob").epoch;
    for (n, commit) in line.iter().enumerate() {
        cast.applies("bob", commit);
        assert_eq!(cast.info("bob").epoch, before + n as u64 + 1);
    }
    for text in texts.iter().rev() {
        cast.applies("bob", text);
    }
    let told = cast.waits("bob", 1_000);
    assert!(!told.events.iter().any(|e| matches!(e.body, EventBody::HistoryGap { .. })));
    cast.same(&["alice", "bob"]);
    let watch = cast.watch("bob");
    assert_eq!((watch.pass_open, watch.states.len()), (false, 6));
}

// shows: E5-7, E5-8
/// However long the line is, it is followed as it comes, and a bounded number of states is kept meanwhile: what was said
/// in the last of them can still be heard.
#[test]
fn a_long_line_is_followed_in_bounds() {
    let mut cast = two();
    let (texts, line) = speaks_and_commits(&mut cast, 300);
    for commit in &line {
        cast.applies("bob", commit);
        let watch = cast.watch("bob");
        assert!(watch.pass_open && watch.states.len() <= 257, "{}", watch.states.len());
    }
    for text in &texts[44..] {
        cast.applies("bob", text);
    }
    assert_eq!(cast.takes("bob", &texts[43]).verdict, CLOSED, "its key is gone");
    cast.waits("bob", 1_000);
    let watch = cast.watch("bob");
    assert_eq!((watch.pass_open, watch.states.len()), (false, 6));
    cast.agree(&["alice", "bob"], "a long line");
}

// shows: E5-7, E5-8, F1-3
/// A line in one batch, of any length and in any order, is applied by that call with all that was said on it; our own
/// commits wait for the quiet time all the same.
#[test]
fn a_line_in_one_batch_needs_no_tick() {
    for (length, reversed) in [(12, false), (12, true), (90, false), (90, true)] {
        let mut cast = two();
        let (texts, line) = speaks_and_commits(&mut cast, length);
        let both = texts.into_iter().zip(line).flat_map(|(text, commit)| [text, commit]);
        let mut events: Vec<Event> = both.collect();
        if reversed {
            events.reverse();
        }
        cast.at("bob").member.takes_all(&events);
        cast.same(&["alice", "bob"]);
        let heard = cast.texts("bob");
        assert!(heard.len() == length && heard.is_sorted(), "each once, by epochs: {heard:?}");
        let watch = cast.watch("bob");
        assert!(watch.states.len() <= length + 2 && watch.raw == 0 && watch.inputs == 0);
        assert!(settles_in(&mut cast, "bob").is_some(), "a rival may still come");
        cast.waits("bob", 1_000);
        assert!(settles_in(&mut cast, "bob").is_none());
    }
}

/// A fork in a batch is chosen as anywhere else: its line stops where the pass does, both branches are compared when it
/// is over, and the rest follows.
#[test]
fn a_batch_with_a_fork_waits_for_the_choice() {
    for reversed in [false, true] {
        let mut cast = three();
        let mut events: Vec<Event> = (0..20).map(|_| cast.renames("alice", "on")).collect();
        cast.hears("bob", &events);
        cast.waits("bob", 1_000);
        let fork = cast.info("bob").epoch;
        // Bob's branch is longer, so alice's commit and what she says on it are withdrawn.
        events.extend([cast.renames("alice", "on"), cast.says("alice", "only there")]);
        let longer = cast.renames_to("bob", ["on", "on"]);
        cast.hears("alice", &longer);
        cast.waits("alice", 1_000);
        events.extend(longer);
        events.extend((0..20).map(|_| cast.renames("alice", "on")));
        if reversed {
            events.reverse();
        }
        cast.at("carol").member.takes_all(&events);
        let came = cast.info("carol").epoch;
        assert!((fork + 1..=fork + 5).contains(&came), "{came}, the fork at {fork}");
        cast.waits_often("carol", 8, 1_000);
        cast.same(&["alice", "carol"]);
    }
}

/// With a rival in sight the pass reaches five epochs and no further, as for a member that waits for its end.
#[test]
fn a_line_with_a_rival_waits() {
    let mut cast = three();
    let rival = cast.renames("bob", "on");
    let line: Vec<Event> = (0..8).map(|_| cast.renames("alice", "on")).collect();
    cast.applies("carol", &line[0]);
    cast.takes("carol", &rival);
    for commit in &line[1..5] {
        cast.applies("carol", commit);
    }
    assert_eq!(cast.takes("carol", &line[5]).verdict, WAITS);
    cast.hears("carol", &line[6..]);
    cast.waits_often("carol", 2, 1_000);
    cast.same(&["alice", "carol"]);
}

// shows: E4-5, F1-3
/// The oldest state of the window is there until the pass is over: for what was said in it, and for a rival made on it.
#[test]
fn the_oldest_state_lasts_as_long_as_the_pass() {
    let mut cast = Cast::new(&["alice", "bob", "carol", "dave"], &["bob"]);
    let text = cast.says("dave", "in the first epoch");
    let rival = cast.renames("bob", "on");
    for n in 0..6 {
        let commit = cast.renames("alice", "on");
        cast.applies("carol", &commit);
        if n < 5 {
            cast.waits("carol", 1_000);
        }
    }
    assert_eq!(received(&cast.applies("carol", &text)), ["in the first epoch"]);
    let verdict = cast.takes("carol", &rival).verdict;
    assert_eq!(verdict, RIVAL, "eligible, as for who waited before applying");
    cast.waits("carol", 1_000);
    assert_eq!(cast.watch("carol").states.iter().filter(|s| s.followed).count(), 6);
}

// What follows is of a branch that lost long ago and is still retained, or is not: it decides nothing any more, and what is
// said there is marked.

/// Alice and bob are admins; carol and dave are members.
fn four() -> Cast {
    Cast::new(&["alice", "bob", "carol", "dave"], &["bob"])
}

/// All hear this, and time passes.
fn all_know(cast: &mut Cast, events: &[&Event]) {
    cast.all_hear(events.iter().copied());
    cast.rest(6_000);
}

// shows: E4-6
/// Two race, and the loser is retained; two speak in what follows. Epochs later one commits once, to which two answer, and
/// the other twice. Whoever has made two commits by himself no longer has the old loser, nor has erin, who came after that
/// race: all end on the same branch, whatever is between the races.
#[test]
fn an_old_loser_does_not_decide_between_two_others() {
    for peaceful in 0..6 {
        let mut cast = four();
        let old = [cast.renames("alice", "first"), cast.renames("bob", "second")];
        all_know(&mut cast, &[&old[0], &old[1]]);
        let said = [cast.says("carol", "hello"), cast.says("dave", "hi")];
        all_know(&mut cast, &[&said[0], &said[1]]);
        let added = cast.adds("alice", "erin");
        cast.joins("erin", &added.welcome);
        all_know(&mut cast, &[&added.commit]);
        for n in 0..peaceful {
            let commit = cast.renames("alice", &format!("in peace {n}"));
            all_know(&mut cast, &[&commit]);
        }
        let one = cast.renames("alice", "one");
        let two = cast.renames_to("bob", ["two", "more"]);
        cast.takes("carol", &one);
        cast.takes("dave", &one);
        let said = [cast.says("carol", "on one"), cast.says("dave", "too")];
        all_know(&mut cast, &[&one, &two[0], &two[1], &said[0], &said[1]]);
        cast.rest(6_000);
        cast.all_agree(&format!("{peaceful} between"));
        // Two voices outweigh a commit more.
        assert_eq!(cast.name("erin"), "one", "{peaceful} between");
    }
}

// shows: E5-10
/// Each branch has been heard by two when the choice is made, so a third voice on the loser changes nothing, and no pass is
/// opened for it. It is in everybody's history, marked, whenever it comes, and whoever advances alone after that.
#[test]
fn what_is_said_on_the_loser_after_the_choice_is_marked() {
    for early in [true, false] {
        let mut cast = four();
        let (a, b) = (cast.renames("alice", "a"), cast.renames("bob", "b"));
        cast.takes("carol", &a);
        cast.takes("dave", &b);
        let mut told = vec![a, b];
        told.extend(cast.names().into_iter().map(|who| cast.says(who, "heard")));
        let late = ["late, of b's", "and again"].map(|text| cast.says("bob", text));
        if early {
            told.extend(late.clone());
        }
        all_know(&mut cast, &told.iter().collect::<Vec<_>>());
        let lost = cast.name("alice") == "a";
        for who in cast.names() {
            let outcomes = late.each_ref().map(|late| cast.takes(who, late));
            if early || who == "bob" || !lost {
                continue;
            }
            for told in outcomes {
                assert_eq!(told.verdict, RIVAL);
                let mark = |e: &EventBody| matches!(e, EventBody::MessagesInvalidated { message_ids } if message_ids.len() == 1);
                assert_eq!(told.events.iter().filter(|e| mark(&e.body)).count(), 1);
            }
        }
        // Alice advances until nothing of that race is retained; told again, it is what it was.
        for n in 0..8 {
            let commit = cast.renames("alice", &format!("{n}"));
            all_know(&mut cast, &[&commit]);
        }
        cast.all_hear(&late);
        for who in cast.names() {
            let said = cast.end(who).said;
            for text in ["late, of b's", "and again"] {
                assert!(said.contains(&(text.into(), lost)), "{early} {who}: {said:?}");
            }
        }
    }
}
