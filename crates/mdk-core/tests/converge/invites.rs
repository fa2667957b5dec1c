//! Two admins invite at once: of their commits one wins, and whoever was invited ends where the others do. Whoever a commit
//! of ours adds is invited when that commit is true, by whatever way it became so, and not before.

use mdk_core::{DeferredReason, Verdict, testing};
use mdk_wire::{GroupMessage, OsRandom, group_message};

use crate::kit;
use crate::kit::cast::Who;
use crate::kit::tale::{Tale, story};

/// Carol, who was invited on two branches, is in the one where the others are, and it goes on, also by commits of hers;
/// nothing of the other branch outlives the window.
const ALL_GOES_ON: &str = "
    all wait 1s x2; carol accepts; all agree; carol is active; carol counts 4
    [voices] carol has one two
    [late-word] carol has at-last
    [!voices !late-word] carol has
    all speak; all wait 1s; carol forgets alice bob dave
";

// shows: B4-17
/// Both invite carol. She takes up both Welcomes, in either order, and ends on the branch that wins: by the committers'
/// keys, by what is said, or by a commit more.
#[test]
fn of_two_invitations_the_branch_that_wins_is_followed() {
    for decisive in ["keys", "voices", "depth"] {
        for way in ["each", "each second", "restart", "restart second"] {
            let mut tale = Tale::of("alice bob* dave", &format!("{decisive} {way}"));
            // Dave hears of the second one first, and speaks there; so does its author.
            story!(tale; "
                package: carol package; a: alice adds carol package; b: bob adds carol package
                [voices] dave applies b; one: dave says; two: bob says
                [depth] more: bob renews
                [!second] carol takes a.w asked
                [second] carol takes b.w asked
                [each] carol accepts
                [!second] carol takes b.w =rival
                [second] carol takes a.w =rival
                [restart] carol restarts
                carol takes a.w b.w =duplicate
                all take a b
                [voices] all take one two
                [depth] all take more
                all wait 1s x2
            ");
            let winner = tale.cast.key(if decisive == "keys" { "alice" } else { "bob" });
            assert!(tale.cast.inviters("carol").iter().all(|inviter| *inviter == winner));
            tale.plays(ALL_GOES_ON);
        }
    }
}

// shows: B4-17
/// One invites carol at once, the other an epoch later. The Welcome that leads further comes first; the other one is
/// taken up beside it, and she ends where everybody ends: by a commit more, or by what is said.
#[test]
fn of_two_invitations_to_different_epochs_the_branch_that_wins_is_followed() {
    for decisive in ["depth late-word", "voices", "neither"] {
        for way in ["each", "restart"] {
            let mut tale = Tale::of("alice bob* dave", &format!("{decisive} {way}"));
            story!(tale; "
                package: carol package; lower: alice adds carol package
                before: bob renews; higher: bob adds carol package
                [depth] more still: alice renews; at-last: alice says
                [voices] dave applies lower; one: dave says; two: alice says
                carol takes higher.w asked
                [each] carol accepts
                carol takes lower.w =rival
                [restart] carol restarts
                carol takes lower.w =duplicate; all take lower before higher
                [depth] all take more still at-last
                [voices] all take one two
            ");
            tale.plays(ALL_GOES_ON);
        }
    }
}

// shows: B4-17, E6-2
/// What claims to be of an epoch that only the other invitation led to loses nothing that we ever had.
#[test]
fn a_commit_of_nowhere_below_our_own_beginning_is_no_loss() {
    let mut tale = Tale::of("alice bob* dave", "");
    let event_key = |tale: &mut Tale, who: Who| {
        let group = tale.cast.group.clone();
        testing::state(tale.cast.engine(who), &group).unwrap().event_key
    };
    tale.plays("package: carol package; lower: alice adds carol package");
    let alices = event_key(&mut tale, "alice");
    // The commit of the one branch, under the key of the other's.
    story!(tale; "
        before: bob renews; higher: bob adds carol package
        carol joins higher.w; carol takes lower.w; dave applies before
    ");
    let key = event_key(&mut tale, "dave");
    let sealed = GroupMessage::parse(tale.event("higher")).unwrap();
    let bytes = sealed.open(&key).unwrap();
    let moved =
        group_message::seal(&bytes, &alices, &sealed.group, kit::now(), None, &mut OsRandom);
    let verdict = tale.cast.takes("carol", &moved.unwrap()).verdict;
    assert_eq!(verdict, Verdict::Deferred(DeferredReason::MissingParent));
    tale.plays("carol is active");
}

// shows: B4-16
/// Both branches that carol was invited to lose to a third one, which she cannot see: when she is invited again, by those
/// who won, she is let in, although a branch that lost is still known.
#[test]
fn who_was_invited_on_two_branches_that_lost_can_be_invited_again() {
    story!("alice bob* dave*", [""]; "
        package: carol package; a: alice adds carol package; b: bob adds carol package
        d1 d2: dave renews; carol joins a.w; carol takes b.w =rival
        all take a b d1 d2; all wait 1s
        again: alice adds carol; bob,dave take again; bob,dave wait 1s; carol takes again.w =waits
        carol waits 60s unasked; carol waits 61s asked; carol accepts; all agree; all speak
    ");
}

// What follows is of what alice hands out of the Welcome of a commit that adds carol: since her process began, and not as
// long as the commit is not true.

/// Bob has heard of nothing, and makes two commits that beat alice's.
const LOSES: &str = "
    b1: bob renames; bob waits 10s; b2: bob renames; bob waits 10s; alice takes b1 b2; alice waits 10s
";

/// Dave follows it, and makes two commits on it.
const WINS_AGAIN: &str = "
    dave takes added; dave waits 10s; d1: dave renames; dave waits 10s
    [out] d2: dave removes alice
    [!out] d2: dave renames
    dave waits 10s; alice takes d1 d2
";

const CAROL_JOINS: &str = "
    alice hands-out added.w; carol takes added.w =applied; carol accepts
    carol takes added.w =duplicate -- what went out twice is seen
";

// rule: C2-8
/// Alice ends between her commit that adds carol and the publication of its Welcome. The commit loses to two of bob's,
/// and wins with two that dave makes on it: then the Welcome goes out, also after a restart, and not while it is lost.
#[test]
fn a_commit_that_lost_and_wins_again_invites() {
    for case in ["", "restart"] {
        let mut tale = Tale::of("alice bob* dave*", case);
        tale.plays("all wait 9s; added: alice adds carol").plays(LOSES);
        story!(tale; "
            alice counts 3; alice hands-out; alice restarts; alice waits 1s x2; alice hands-out
        ");
        tale.plays(WINS_AGAIN);
        story!(tale; "
            bob takes added d1 d2; bob waits 10s; alice waits 10s; alice counts 4
            [restart] alice restarts; alice waits 1s
        ");
        tale.plays(CAROL_JOINS);
        story!(tale; "
            carol takes d1 d2; carol waits 10s; all agree; carol speaks alice bob dave
        ");
    }
}

// rule: C2-8
/// A relay has the commit, and its answer was lost, so the program gave the commit up. It comes back, and is true at
/// once, or when others have built on it.
#[test]
fn a_commit_that_was_given_up_and_is_true_invites() {
    for case in ["", "restart", "rival", "rival restart"] {
        let mut tale = Tale::of("alice bob* dave*", case);
        story!(tale; "
            all wait 9s; added: alice tries-to-add carol; alice waits 1s; alice hands-out
            [restart] alice restarts; alice waits 1s; alice hands-out
            [!rival] alice applies added
        ");
        if tale.is("rival") {
            tale.plays(LOSES).plays("alice takes added; alice waits 10s; alice hands-out");
            tale.plays(WINS_AGAIN);
        }
        story!(tale; "
            alice waits 10s; alice counts 4
            [restart] alice restarts; alice waits 1s
        ");
        tale.plays(CAROL_JOINS);
        story!(tale; "
            carol is active
            [!rival] carol speaks alice
        ");
    }
}

// shows: C2-8
/// Alice's commit wins with one of dave's that puts her out: carol is a member for all who are left, and only alice has
/// the Welcome.
#[test]
fn who_is_put_out_still_invites_whom_its_commit_has_added() {
    let mut tale = Tale::of("alice bob* dave*", "out");
    tale.plays("all wait 9s; added: alice adds carol").plays(LOSES).plays(WINS_AGAIN);
    tale.plays("alice waits 10s; alice is removed").plays(CAROL_JOINS);
    tale.plays("carol takes d1 d2; carol waits 10s; carol speaks dave");
}
