//! Welcomes and commits come by two subscriptions: an invitation may be there before the commit that ended the
//! membership before it, or while we stand on a branch that nobody else follows.

use mdk_core::{EventBody, RejectCode, Verdict, testing};

use crate::kit::foreign::{Change, Foreign};
use crate::kit::tale::{Tale, story};
use crate::kit::{REFUSED, WAITS};

// rule: B4-15
/// The Welcome waits until the removal has come; what was said before that is read first.
#[test]
fn a_welcome_before_the_removal_is_taken_up_after_it() {
    story!("alice bob", ["", "restart", "together"]; "
        before: alice says; removal: alice removes bob; added: alice adds bob; after: alice says
        [together] bob gets added.w added after before removal
        [!together] bob takes added.w =waits; bob takes added.w =waits; bob is active
        [restart] bob restarts
        [!together] bob reads before; bob takes after; bob takes removal asked
        [!together] bob takes added.w =duplicate
        bob invited-by alice; bob accepts alice; bob waits 1s
        all agree; bob history before after; alice speaks bob
        [!together] bob holds 0
        [together] bob holds 1 -- the commit that added him
    ");
}

// shows: B4-4, B4-15
/// Only Welcomes of something later wait, a few of them, and a stranger's takes nothing away.
#[test]
fn what_does_not_wait() {
    let mut tale = Tale::of("alice bob", "");
    let cast = &mut tale.cast;
    let mut thief = |epochs: usize| {
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
        let welcome = thief.wraps(&welcome, &package);
        let before = cast.engine("bob").digest().unwrap();
        let verdict = cast.takes("bob", &welcome).verdict;
        (cast.engine("bob").digest().unwrap() == before, verdict)
    };
    // Of the epoch in which bob came, by somebody else: nothing is changed by it.
    let (true, Verdict::Rejected(rejection)) = thief(0) else { panic!() };
    assert_eq!((rejection.rule, rejection.code), ("B4-4", RejectCode::AlreadyApplied));
    // Of later ones: three wait, whoever makes them.
    let verdicts: Vec<Verdict> = (0..6).map(|_| thief(3).1).collect();
    assert_eq!(verdicts, [WAITS, WAITS, WAITS, REFUSED, REFUSED, REFUSED]);
    // However long they wait, the group stays as it is; they are no gap in the history, nor there for ever.
    tale.repeats(3, "all wait 10m; alice speaks bob");
    tale.plays("bob invited-by; bob waits 31d; bob holds 0");
    let told = &tale.told("bob").events;
    assert!(!told.iter().any(|e| matches!(e.body, EventBody::HistoryGap { .. })), "{told:?}");
}

// shows: B4-16
/// Carol is invited on a branch that loses. The others cannot be heard from there; when they invite her again, she is
/// told that the copy is lost, and asked.
#[test]
fn who_joined_on_a_branch_that_lost_can_be_invited_again() {
    story!("alice bob*", ["", "restart"]; "
        added: alice adds carol; carol joins added.w; b1 b2: bob renames
        alice,carol take b1 b2; bob takes added; all wait 1s; alice same bob
        carol counts 3 -- nobody can tell her
        alone: carol says; again: alice adds carol; bob takes again; bob waits 1s
        carol takes again.w =waits; carol waits 60s; carol is active
        [restart] carol restarts
        carol waits 60s let-go; carol invited-by alice; carol is pending
        carol accepts alice; carol agrees alice; carol has alone!
        carol speaks alice bob
    ");
}

// shows: B4-39
/// Alice puts carol out and makes dave an admin, who invites her again. On the side of bob, where carol stands, dave is no
/// admin: that is judged when it is chosen between the sides.
#[test]
fn who_was_promoted_on_the_winner_alone_can_invite() {
    story!("alice bob* carol dave", ["", "restart"]; "
        here: bob renames; removal: alice removes carol; promotion: alice promotes dave
        dave takes removal promotion; dave waits 1s; added: dave adds carol
        alice takes here added; carol applies here
        carol takes removal =rival; carol takes added.w =waits
        [restart] carol restarts
        carol waits 1s asked; carol accepts dave; alice waits 1s; carol with alice
    ");
}

// shows: B4-39
/// As before, and the Welcome is there before anything of the other side. If nothing of it comes, it is refused.
#[test]
fn a_welcome_of_an_unknown_admin_waits_for_the_other_side() {
    story!("alice bob* carol dave", ["", "comes"]; "
        1 2 3 4: bob renames; there: alice renames; dave applies there
        a: alice says; d: dave says; alice takes d
        promotion: alice promotes dave; removal: alice removes carol
        dave takes there a promotion removal; dave waits 1s; added: dave adds carol
        carol takes 1 2 3 4; carol waits 1s; carol takes added.w =waits
        [comes] carol takes there a d promotion removal; carol waits 1s asked
        [comes] carol accepts dave; carol with dave
        [!comes] carol waits 60s; carol keeps 1; carol waits 120s x3; carol keeps 0; carol is active
    ");
}

/// An invitation that waits for the end of a membership is taken up when that cannot be followed any more.
#[test]
fn a_welcome_that_waits_leads_out_of_a_copy_that_was_given_up() {
    // Alice founded the group: no invitation brought her here.
    let mut tale = Tale::of("alice bob*", "");
    tale.plays("bob removes alice; added: bob adds alice; alice takes added.w =waits");
    let group = tale.cast.group.clone();
    testing::give_up(tale.cast.engine("alice"), &group).unwrap();
    tale.plays("alice waits 1s asked; alice accepts; alice speaks bob");
}

// shows: B4-18
/// Bob removes carol and takes her in again, while she and alice follow a commit of alice's that beats the removal by
/// itself. She cannot see beyond the removal but for the Welcome, which may come before it or after it, or after a commit
/// more: it leads her to where the others go, and what was said before the fork she can still read.
#[test]
fn a_welcome_leads_on_from_a_removal_that_was_not_followed() {
    let cases = ["", "early", "early restart", "between", "between early", "between early restart"];
    story!("alice bob* carol", cases; "
        late: bob says; here: alice renames; carol applies here; removal: bob removes carol
        [between] bob renames
        added: bob adds carol; said: carol says
        [early] carol takes added.w =waits
        [restart] carol restarts
        carol takes removal =rival
        [restart] carol restarts
        [!early] carol takes added.w =rival
        carol waits 1s x3; carol agrees bob; carol is active
        carol invited-by -- nobody: she is in it already
        carol has said!; carol reads late
        carol takes added; carol is active -- of an epoch that she has no state of: no loss of hers
        bob takes said here; bob waits 1s; bob speaks carol; bob,carol wait 1s
        carol forgets bob; carol takes added; carol agrees bob
    ");
}

// shows: B4-18
/// As above, but carol has asked to leave, which is what the removal does: the invitation after it is a question to her,
/// whether she has just come or has been there for long.
#[test]
fn who_asked_to_leave_is_asked_again_by_a_welcome_beyond_the_removal() {
    for since in [0, 8] {
        let mut tale = Tale::of("alice bob* carol", "");
        for _ in 0..since {
            tale.plays("before: alice renames; bob,carol take before; all wait 1s");
        }
        // Hers is the branch of a commit more, until she knows of the invitation.
        story!(tale; "
            here: alice renames; leave: carol leaves; answer: bob answers leave; bob takes answer
            more: alice renames; carol takes here more answer; carol waits 1s x2; carol is leaving
            bob renames; bob renames; added: bob adds carol; carol takes added.w asked
            carol accepts; carol agrees bob
        ");
    }
}

// shows: B4-24
/// Bob removes carol and takes her in again, while she follows a commit of alice's that removes bob: to her he is nobody by
/// then. That he was an admin where the two branches parted is what counts, also for somebody who has asked to leave.
#[test]
fn who_was_put_out_by_one_of_the_branch_invites_from_the_other() {
    story!("alice bob* carol", ["", "leaves"]; "
        out: alice removes bob; more: alice renames; carol applies out more
        [leaves] carol leaves
        removal: bob removes carol; b1 b2: bob renames; added: bob adds carol
        carol takes removal added.w; carol waits 1s x3
        alice takes removal b1 b2 added; alice waits 1s x3; all agree
        [leaves] carol is leaving -- she asks there, too
        [!leaves] bob speaks carol
    ");
}

// rule: B4-19
/// Carol is put out by a branch that loses, and the Welcome of the one that wins comes before what it consists of: it waits
/// for the pass, in which what she had read on the loser is marked.
#[test]
fn a_welcome_waits_for_the_pass_that_decides_between_removals() {
    story!("alice bob* carol", [""]; "
        lost: alice renames; said: alice says; out: alice removes carol
        w1 w2: bob renames; removal: bob removes carol; added: bob adds carol
        carol applies lost; carol reads said; carol applies out; carol is removed
        carol takes w1 =rival; carol takes added.w =waits; carol takes w2 removal =rival
        carol has said; carol waits 1s asked; carol has said!
        carol accepts; carol agrees bob
    ");
}

// What follows is of a Welcome that nobody can place yet: it waits, and is then kept beside our own branch until either
// goes on.

// shows: B4-22
/// Alice and bob invite carol, each on a branch of their own, and hers is as long as the other when the Welcome comes: she
/// cannot tell which of them the others follow, since nobody will say so on the loser. When either goes on, she is where
/// the others are, and is asked nothing.
#[test]
fn a_welcome_that_waited_is_kept_beside_ours_until_either_goes_on() {
    story!("alice bob* dave", ["", "restart", "ours"]; "
        first: alice adds carol; a1 a2: alice renames
        carol joins first.w; carol applies a1 a2; carol waits 1s
        b1: bob renames; second: bob adds carol; carol takes second.w =waits
        carol waits 119s; carol beside 0
        [restart] carol restarts
        carol waits 1s; carol beside 1; carol waits 1s; carol is active; carol named a2
        said: carol says
        [ours] more still: alice renames; answer: alice says
        [!ours] more still: bob renames; answer: bob says
        carol takes more still answer; carol waits 1s
        alice,bob,dave take first a1 a2 b1 second more still said; alice,bob,dave wait 1s x2
        all agree; carol invited-by
        [ours] carol has said answer
        [!ours] carol has said! answer
        last: bob says; carol reads last
    ");
}

// rule: B4-22
/// What nobody made whom we know as an admin waits on, and is not kept beside ours.
#[test]
fn a_welcome_of_nobody_that_is_known_waits_on() {
    story!("alice bob* dave", [""]; "
        first: alice adds carol; carol joins first.w; a0 a1: alice renames; carol applies a0 a1
        heard: alice says; carol applies heard; carol says -- two who speak outweigh a commit more
        carol waits 1s
        promoted: bob promotes dave; dave applies promoted; dave waits 1s -- on the other branch only
        d e: dave renames; second: dave adds carol; carol takes second.w =waits
        carol waits 60s x3; carol keeps 1; carol beside 0
    ");
}

// shows: B4-23
/// Bob removes carol and takes her in again, while she follows two commits of alice's. The removal comes when she has
/// waited for it in vain and keeps the other branch beside hers, or follows it already: what was said before the fork
/// counts, however it came.
#[test]
fn a_removal_that_comes_late_is_put_before_what_leads_on_from_it() {
    story!("alice bob* carol", ["", "followed"]; "
        shared: bob says; carol reads shared; a1 a2: alice renames; carol applies a1 a2
        lost: carol says; carol waits 1s
        removal: bob removes carol; added: bob adds carol; carol takes added.w =waits
        carol waits 60s x2; carol waits 1s; carol beside 1; more: bob renames
        [followed] carol takes more; carol waits 1s; carol takes removal; carol waits 1s
        [!followed] carol takes removal; carol waits 1s; carol takes more; carol waits 1s
        carol agrees bob; carol has shared lost!
        bob takes lost; again: carol says; bob reads again; carol forgets bob
    ");
}

// shows: B4-16, B4-21
/// Carol is alone on her branch, and renews her leaf there until no state is retained of when she joined. She is let go
/// all the same: where she is longer than the others, too, because nobody but her has been heard there.
#[test]
fn who_was_alone_for_long_on_a_branch_that_lost_can_be_invited_again() {
    for (alone, others) in [(7, 12), (9, 2)] {
        let mut tale = Tale::of("alice bob* dave", "");
        story!(tale; "
            added: bob adds carol; carol joins added.w; winner: alice renames
            bob,dave take winner added; alice takes added; all wait 2s; all wait 2s; alice same bob
        ");
        tale.repeats(alone, "carol renews; all wait 2s");
        for _ in 0..others {
            tale.plays("on: alice renames; bob,carol,dave take on; all wait 2s");
        }
        story!(tale; "
            again: bob adds carol; alice,dave take again; carol takes again.w =waits
            carol waits 60s; carol is active; carol waits 61s asked
            carol accepts; bob waits 1s; carol with bob
        ");
    }
}

// rule: B4-21
/// Somebody else is heard in the states that are retained: carol is not alone, so a Welcome from another branch waits on.
#[test]
fn who_is_not_alone_is_not_let_go() {
    let mut tale = Tale::of("alice bob* carol", "");
    // On a copy of alice's that nobody follows carol is removed, and invited again.
    tale.plays("alice copies copy; copy removes carol");
    tale.repeats(20, "copy renames");
    tale.plays("stray: copy adds carol");
    for _ in 0..9 {
        tale.plays("own: carol renews; alice,bob take own; alice,bob,carol wait 1s");
    }
    story!(tale; "
        said: bob says; carol applies said; carol takes stray.w =waits
        carol waits 130s x3 unasked; carol is active
    ");
}
