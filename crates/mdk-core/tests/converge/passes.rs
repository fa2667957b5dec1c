//! Passes: how long our own commits wait, how far a pass reaches and what it keeps meanwhile, what comes late, and what a
//! flood of rivals does to it.

use mdk_core::{DeferredReason, EventBody, Verdict, testing};
use mdk_wire::{Event, kind};

use crate::kit::cast::Cast;
use crate::kit::tale::{Tale, story};
use crate::kit::{CLOSED, RIVAL, named, received};

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
    let mut tale = Tale::of("a b*", "");
    tale.plays("0 1 2 3 4 5 6: a offers; b applies 0; b settling 1000");
    for (n, rival) in (1..).zip(["1", "2", "3", "4", "5", "6"]) {
        tale.cast.at("b").member.clock.advance_millis(800);
        let rival = tale.event(rival);
        assert_eq!(tale.cast.takes("b", &rival).verdict, RIVAL);
        assert_eq!(tale.cast.settles_in("b"), Some(1_000.min(5_000 - 800 * n)), "{n}");
    }
    tale.plays("b restarts; b settling 200");
    // No tick is needed, and our own commit does not gate the next one.
    tale.cast.at("b").member.clock.advance_millis(200);
    tale.plays("own too: b renews; a takes 0 1 2 3 4 5 6 own too; a waits 1s; a same b");
}

// shows: E3-1, E3-2
/// A commit that we gave up and a relay took after all competes like any other; so do ones we confirmed.
#[test]
fn our_own_commits_are_realised_again() {
    let mut tale = Tale::of("a b* c*", "");
    story!(tale; "
        gone: b offers; other: c renames -- b's key is the lower one
        b applies other; b restarts; b takes gone =rival
        a applies gone; a takes other; c takes gone; all wait 1s; a same b c; b named gone
    ");
    // A confirmed one that loses first, because others speak on the rival, and wins when it is built upon.
    story!(tale; "
        ours: a renames; theirs: b renames; said: b says; a takes theirs said; a waits 1s
        a named theirs; c applies ours; c waits 1s; more: c renames; deeper: c says
        a restarts; a takes more deeper =rival
        all take ours theirs said more deeper; all wait 1s; a same b c; a named more
    ");
    assert_eq!(tale.cast.info("a").epoch, 5);
}

// shows: E5-5
/// What is said later on a branch that lost can still turn the choice, and only what can turn it opens a pass.
#[test]
fn late_witnesses_turn_the_choice() {
    story!("a b* c*", [""]; "
        better: a renames; worse: b renames; c applies worse; one again: b says; two more: c says
        a takes worse; a waits 1s; a named better; a settled
        a takes one; a settling; a waits 1s; a named worse
        a takes again; a settled -- it only makes the new winner stronger
        a takes two; a settled; a takes more; a settled; a waits 1s; a named worse
        all take one again two more better worse; all wait 1s; a same b c
    ");
}

// shows: E5-5
/// What is said on the branch that is followed anyway makes it stronger, and nobody waits for that.
#[test]
fn what_is_said_on_the_winner_holds_nobody_up() {
    story!("a b* c* d*", [""]; "
        better: a renames; worse: b renames; c takes better worse; a,d take worse; b takes better
        all wait 1s; one: b says; a reads one =applied; a settled; c takes one
        two: c says; a reads two =applied; a settled
        more: d renames -- two speakers are worth the one commit more that the other branch gets
        a takes more =rival; a waits 1s; a named better
    ");
}

// shows: D2-9
/// A leave is asked for again on the branch that won, and answered there.
#[test]
fn a_leave_survives_a_race() {
    let mut tale = Tale::of("a b* c", "");
    story!(tale; "
        ours: a renames; theirs: b renames; c applies theirs; leave: c leaves; c takes ours
        c waits 1s; a takes theirs; b takes ours leave; a,b wait 1s
    ");
    let replies = tale.told("c").reply.iter().filter(|e| e.kind() == kind::GROUP_MESSAGE);
    let [again] = replies.cloned().collect::<Vec<_>>().try_into().unwrap();
    assert_ne!(again.id(), tale.event("leave").id(), "asked again on the winner");
    let answer = tale.cast.answers("a", &again);
    tale.cast.all_hear([&again, &answer]);
    tale.plays("all wait 1s; a same b; c is left; a counts 2");
}

// rule: E3-3
/// One member makes more rival commits than are kept. Another one's branch, which looks worse as long as it is short, is
/// not pushed out by them, and wins when it has grown.
#[test]
fn a_flood_of_rivals_pushes_out_no_branch_of_another() {
    let mut cast = Tale::of("us flooder honest", "").cast;
    let renews = |cast: &mut Cast| {
        let own = cast.prepares("flooder", |engine, group| engine.self_update(group));
        cast.engine("flooder").discard(own.id).unwrap();
        own.event.unwrap()
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
        let mut cast = Cast::new(&["alice", "bob"], &["bob"]);
        let late = cast.says("bob", "in time");
        (0..5).for_each(|_| drop(cast.renames("alice", "on")));
        let sixth = cast.prepares("alice", |e, group| e.update_group(group, named("six")));
        assert_eq!(
            cast.takes("alice", &late).verdict,
            Verdict::Deferred(DeferredReason::PublishInProgress)
        );
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

// shows: E5-7, E5-8
/// However long the line is, it is followed as it comes, and a bounded number of states is kept meanwhile: what was said
/// in the last of them can still be heard.
#[test]
fn a_long_line_is_followed_in_bounds() {
    let mut cast = Cast::new(&["alice", "bob"], &["bob"]);
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
        let mut cast = Cast::new(&["alice", "bob"], &["bob"]);
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
        assert!(cast.settles_in("bob").is_some(), "a rival may still come");
        cast.waits("bob", 1_000);
        assert!(cast.settles_in("bob").is_none());
    }
}

/// Two commits from one epoch, chosen between, cost little more than one that nobody contests: with the winner first, and
/// with the winner last, when the group has to change over.
#[test]
fn a_fork_of_two_costs_a_few_commits() {
    let mut tale = Tale::of("a b* watcher", "");
    let mut costs = |before: &'static str, story: &'static str| {
        tale.plays(before);
        let steps = testing::mls_steps();
        tale.plays(story);
        testing::mls_steps() - steps
    };
    for takes in [
        "watcher takes better worse; watcher waits 1s",
        "watcher takes worse better; watcher waits 1s",
    ] {
        let plain = costs(
            "plain: a renews; b takes plain; b waits 1s",
            "watcher takes plain; watcher waits 1s",
        );
        let fork = costs("better: a renews; worse: b renews", takes);
        assert!(plain > 0 && fork <= 3 * plain, "{fork} against {plain}");
        costs("a takes worse; b takes better; all wait 1s; all agree", "");
    }
}

/// With a rival in sight the pass reaches five epochs and no further, as for a member that waits for its end.
#[test]
fn a_line_with_a_rival_waits() {
    story!("alice bob* carol", [""]; "
        rival: bob renames; 0 1 2 3 4 5 6 7: alice renames; carol applies 0; carol takes rival
        carol applies 1 2 3 4; carol takes 5 =waits; carol takes 6 7; carol waits 1s x2
        alice same carol
    ");
}

// shows: E4-5, F1-3
/// The oldest state of the window is there until the pass is over: for what was said in it, and for a rival made on it.
#[test]
fn the_oldest_state_lasts_as_long_as_the_pass() {
    let mut tale = Tale::of("alice bob* carol dave", "");
    tale.plays("text: dave says; rival: bob renames");
    for _ in 0..5 {
        tale.plays("on: alice renames; carol applies on; carol waits 1s");
    }
    story!(tale; "
        on: alice renames; carol applies on; carol reads text =applied
        carol takes rival =rival -- eligible, as for who waited before applying
        carol waits 1s
    ");
    assert_eq!(tale.cast.watch("carol").states.iter().filter(|s| s.followed).count(), 6);
}

// What follows is of a branch that lost long ago and is still retained, or is not: it decides nothing any more, and what is
// said there is marked.

// shows: E4-6
/// Two race, and the loser is retained; two speak in what follows. Epochs later one commits once, to which two answer, and
/// the other twice. Whoever has made two commits by himself no longer has the old loser, nor has erin, who came after that
/// race: all end on the same branch, whatever is between the races.
#[test]
fn an_old_loser_does_not_decide_between_two_others() {
    for peaceful in [0, 1, 3, 5] {
        let mut tale = Tale::of("alice bob* carol dave", "");
        story!(tale; "
            first: alice renames; second: bob renames; all take first second; all wait 6s
            hello: carol says; hi: dave says; all take hello hi; all wait 6s
            added: alice adds erin; erin joins added.w; all take added; all wait 6s
        ");
        for _ in 0..peaceful {
            tale.plays("peace: alice renames; all take peace; all wait 6s");
        }
        // Two voices outweigh a commit more.
        story!(tale; "
            one: alice renames; two more: bob renames; carol,dave take one
            on-one: carol says; too: dave says; all take one two more on-one too
            all wait 6s; all wait 6s; all agree; erin named one
        ");
    }
}

// shows: E5-10
/// Each branch has been heard by two when the choice is made, so a third voice on the loser changes nothing, and no pass is
/// opened for it. It is in everybody's history, marked, whenever it comes, and whoever advances alone after that.
#[test]
fn what_is_said_on_the_loser_after_the_choice_is_marked() {
    for case in ["", "early"] {
        let mut tale = Tale::of("alice bob* carol dave", case);
        story!(tale; "
            a: alice renames; b: bob renames; carol takes a; dave takes b
            heard1: alice says; heard2: bob says; heard3: carol says; heard4: dave says
            late again: bob says; all take a b heard1 heard2 heard3 heard4
            [early] all take late again
            all wait 6s; alice named a
        ");
        for who in ["alice", "carol", "dave"].into_iter().filter(|_| case.is_empty()) {
            for late in ["late", "again"] {
                let late = tale.event(late);
                let told = tale.cast.takes(who, &late);
                assert_eq!(told.verdict, RIVAL);
                let marks = told.events.iter().filter(|e| match &e.body {
                    EventBody::MessagesInvalidated { message_ids } => message_ids.len() == 1,
                    _ => false,
                });
                assert_eq!(marks.count(), 1);
            }
        }
        // Alice advances until nothing of that race is retained; told again, it is what it was.
        for _ in 0..8 {
            tale.plays("on: alice renames; all take on; all wait 6s");
        }
        story!(tale; "
            all take late again
            all has heard1 heard2! heard3 heard4! late! again!
        ");
    }
}
