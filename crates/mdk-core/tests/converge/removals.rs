//! Who is out of a group: comes back when the branch that put it out loses, in whatever order its commits come, and
//! keeps no key when nothing can bring it back.

use mdk_core::{EventBody, RejectCode, Verdict};
use mdk_store::GroupRow;
use mdk_wire::kind;

use crate::kit::fork::{self, orders};
use crate::kit::tale::{Tale, story};

/// Alice and carol are admins, bob is a member.
const THREE: &str = "alice bob carol*";

/// What of a group is left when nothing can bring it back.
fn row_of(tale: &mut Tale, who: &str) -> GroupRow {
    let (filed, group) = (tale.cast.parts_with(who), tale.cast.group.clone());
    let path = filed.path.clone();
    drop(filed);
    fork::rows(&path, |tx| {
        assert!(tx.nodes(&group)?.is_empty() && tx.inputs(&group)?.is_empty());
        assert!(tx.held(&group)?.is_empty() && tx.mls_dump(&group)?.expose().len() < 2);
        assert!(tx.sendable_welcomes()?.is_empty() && tx.withheld_welcomes(&group)?.is_empty());
        for commit in 1..20 {
            assert!(tx.pending(commit)?.is_none());
        }
        Ok(tx.group(&group)?.unwrap())
    })
}

fn refused(tale: &mut Tale, said: &str) {
    let said = tale.event(said);
    let Verdict::Rejected(rejection) = tale.cast.takes("bob", &said).verdict else { panic!() };
    assert_eq!((rejection.code, rejection.rule), (RejectCode::UnknownGroup, "D1-3"));
}

// shows: D6-4, D6-7
/// Two commits beat the one that put bob out, by a leave or by force: he follows them in every order of the three.
#[test]
fn who_is_out_on_a_branch_that_loses_comes_back_in_every_order() {
    for case in ["leaves", ""] {
        for order in orders(3) {
            let mut tale = Tale::of(THREE, case);
            story!(tale; "
                [leaves] leave: bob leaves; out: alice answers leave
                [!leaves] out: alice removes bob
                c1 c2: carol renames; said: carol says
            ");
            for at in order {
                tale.plays(["bob takes out", "bob takes c1", "bob takes c2"][at]);
                tale.plays("[leaves] bob restarts");
            }
            story!(tale; "
                bob waits 1s x2
                [leaves] bob is leaving
                [!leaves] bob is active
                bob named c2; bob takes said; bob history said; bob holds 0
            ");
        }
    }
}

// rule: D6-10
/// Bob is out, and what dave asks for on the branch that would take him back comes before anything else of it or between
/// its commits: it is at hand when the commit comes that refers to it.
#[test]
fn who_is_out_keeps_what_is_proposed_on_a_branch_that_takes_it_back() {
    for order in orders(3) {
        let mut tale = Tale::of("alice bob carol* dave", "");
        tale.plays("
            removal: alice removes bob; c1: carol renames; dave applies c1; dave waits 1s
            leave: dave leaves; answer: carol answers leave -- alice, who would be first, is elsewhere
            bob takes removal; bob is removed
            bob takes c1 -- while the removal can still lose, what no key opens waits
        ");
        for at in order {
            tale.plays(["bob takes leave", "bob takes answer", "bob takes c1"][at]);
        }
        story!(tale; "
            bob waits 1s x2; bob is active; bob counts 3; carol takes answer; bob agrees carol
        ");
    }
}

// rule: D6-11
/// What was said before the branches parted comes when bob is out on one of them: it is out of sight until he comes back
/// with the other one, which shares that state. What comes when the removal is decided on is refused.
#[test]
fn who_comes_back_has_what_was_said_before_the_branches_parted() {
    for case in ["", "decided"] {
        let mut tale = Tale::of(THREE, case);
        story!(tale; "
            said: carol says; removal: alice removes bob; c1 c2: carol renames; bob takes removal
            [decided] bob waits 1s
        ");
        if tale.is("decided") {
            refused(&mut tale, "said");
        }
        story!(tale; "
            [decided] bob takes c1
            bob takes said =rival; bob history; bob restarts; bob takes c1 c2; bob waits 1s
            bob is active; bob history said; bob takes said =duplicate
        ");
    }
}

// shows: D6-11
/// Before the removal is decided on he is invited again, so much later that the old branch cannot compete with it.
#[test]
fn who_is_invited_within_the_pass_has_what_was_said_before() {
    for later in [0, 1, 6] {
        let mut tale = Tale::of(THREE, "");
        story!(tale; "
            said: carol says; alice takes said; removal: alice removes bob
            bob takes removal; bob takes said =rival
        ");
        tale.repeats(later, "alice waits 1s; alice renews");
        story!(tale; "
            alice waits 1s; added: alice adds bob; bob takes added.w; bob waits 150s
            bob accepts alice; bob history said
        ");
        let told = tale.cast.log("bob");
        let told = told.iter().filter(|body| matches!(body, EventBody::MessageReceived { .. }));
        assert_eq!(told.count(), 1, "{later} commits later");
    }
}

// shows: D6-11, E5-10
/// The removal has won over another branch, which is retained still: what was said before comes late, and is shown.
#[test]
fn who_is_out_has_what_was_said_before_and_came_after_the_pass() {
    story!(THREE, [""]; "
        one two: carol says; a: alice renames; removal: alice removes bob; c: carol renames
        bob takes a removal c; bob waits 1s; bob waits 6s; bob is removed
        bob reads one =applied; bob reads two =applied; bob history one two
    ");
}

// shows: D6-11
/// Two accounts speak on the branch that removes bob, which makes it the better one: he counts them in whatever order it
/// all comes, also when he is out already, and goes where carol goes.
#[test]
fn who_is_out_counts_what_was_said_before_the_removal() {
    for order in orders(3) {
        let mut tale = Tale::of("alice bob carol* dave", "");
        story!(tale; "
            a1: alice renames; dave takes a1; one: alice says; two: dave says
            removal: alice removes bob; c1 c2 c3: carol renames; bob takes a1
        ");
        for at in order {
            tale.plays(["bob takes removal", "bob takes one two", "bob takes c1 c2 c3"][at]);
        }
        story!(tale; "
            carol takes a1 removal one two; carol waits 1s; carol named a1
            bob waits 1s; bob is removed; bob has one two
        ");
    }
}

// rule: D6-9
/// Bob goes over to the branch that renames the group and then removes him, or that removes him at once: he sees the
/// group as it was there when he went, and nothing of what the branch that lost had made of it.
#[test]
fn who_is_put_out_by_another_branch_sees_the_group_as_it_was_there() {
    // Of two commits alice's wins, or carol's.
    let (alice, carol) = (THREE, "carol bob alice*");
    for (members, case) in
        [(alice, "renamed"), (alice, "wins"), (carol, "renamed"), (carol, "loses")]
    {
        story!(members, [case]; "
            [renamed] there: alice renames
            removal: alice removes bob; here: carol renames; bob applies here
            [renamed] bob takes there
            bob takes removal; bob waits 1s
            [renamed] bob is removed; bob named there
            [wins] bob is removed; bob named before
            [loses] bob is active; bob named here
        ");
    }
}

// rule: D6-8
/// The child comes long before its parent, when nothing competes yet: it is refused then. With the parent the other branch
/// is known, is subscribed to, and the child counts when it comes again.
#[test]
fn who_is_out_asks_again_for_a_branch_that_would_take_it_back() {
    story!(THREE, [""]; "
        removal: alice removes bob; c1 c2: carol renames; bob listens
        bob applies removal; bob waits 1s; bob is-deaf; bob takes c2 =rejected
        bob takes c1 =rival; bob listens; bob waits 1s; bob takes c2; bob waits 1s
        bob is active; bob named c2
    ");
}

// shows: D1-3, D6-7
/// Once nothing competes any more, what comes for a group that we are out of is refused.
#[test]
fn who_is_out_for_good_waits_for_nothing() {
    let mut tale = Tale::of(THREE, "");
    story!(tale; "
        removal: alice removes bob; carol,bob apply removal; said: alice says
        bob takes said =closed -- until the choice is made it might belong to another branch
        bob waits 1s; again: alice says
    ");
    let before = tale.cast.engine("bob").digest().unwrap();
    refused(&mut tale, "again");
    assert_eq!(tale.cast.engine("bob").digest().unwrap(), before);
    // What waited goes with the states that it waited for, and is nobody's loss.
    let told = tale.cast.waits("bob", 86_400_000).events;
    assert!(told.is_empty(), "{told:?}");
    let row = row_of(&mut tale, "bob");
    assert_eq!(row.event_key.expose(), &[0; 32], "the key of the last epoch");
}

// rule: C5-5
/// An invitation that is still to be handed out when its group ends is not handed out any more.
#[test]
fn nobody_is_invited_to_a_group_that_has_ended() {
    let mut tale = Tale::of(THREE, "");
    let gift_wraps = |tale: &mut Tale| {
        tale.plays("alice restarts; alice waits 1s");
        tale.told("alice").reply.iter().filter(|event| event.kind() == kind::GIFT_WRAP).count()
    };
    assert_eq!(gift_wraps(&mut tale), 2, "nobody said that they were sent");
    tale.plays("alice disbands");
    assert_eq!(gift_wraps(&mut tale), 2, "the end may be withdrawn");
    tale.plays("alice is disbanded");
    assert_eq!(gift_wraps(&mut tale), 0);
}

// shows: D6-3
/// Of an admin who was put out not even its own commits stay, when its Welcomes have had their time.
#[test]
fn who_has_invited_and_is_out_keeps_no_commit() {
    let mut tale = Tale::of(THREE, "");
    // Its states are kept for a day, its Welcomes for three.
    story!(tale; "
        removal: carol removes alice; alice takes removal; alice waits 1s; alice is removed
        alice waits 2d x2
    ");
    row_of(&mut tale, "alice");
}
