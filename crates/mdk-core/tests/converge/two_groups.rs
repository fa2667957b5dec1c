//! Who was put out, and whoever else knows the id of a group, can invite to a copy of their own: that must not keep anybody
//! from being invited to the group that the others are in. Of several invitations the answer to one takes none of the others
//! with it.

use mdk_core::{Error, EventBody};

use crate::kit::tale::{Tale, story};

/// Alice has put bob out, who has not heard of it. The guest, a member, has; or it is `new`, and a member has heard of it.
fn former_admin(case: &str) -> Tale {
    let new = case.split(' ').any(|word| word == "new");
    let mut tale = Tale::of(if new { "alice bob* carol" } else { "alice bob* guest" }, case);
    story!(tale; "
        out: alice removes bob
        [!new] guest applies out
        [new] carol applies out
    ");
    tale
}

/// Bob goes on for long in his copy.
fn goes_on(tale: &mut Tale) {
    tale.repeats(12, "bob renames");
}

/// The guest is not, or no longer, in the group, nor in bob's copy.
const IS_OUT_OF_BOTH: &str = "
    [!new] gone: alice removes guest; guest applies gone; bob removes guest
";

/// As [`former_admin`], with a guest that is out of both.
fn guest_outside(case: &str) -> Tale {
    let mut tale = former_admin(case);
    goes_on(&mut tale);
    tale.plays(IS_OUT_OF_BOTH);
    tale
}

/// Each of the ways, with a guest that was in and with a new one.
fn in_and_new(ways: &[&str]) -> Vec<String> {
    ["was-in", "new"]
        .iter()
        .flat_map(|was| ways.iter().map(move |w| format!("{was} {w}")))
        .collect()
}

// shows: B4-31
/// A guest is out, and declines what bob invites it to: it is what it was, and can be invited.
#[test]
fn declining_a_strangers_invitation_leaves_the_way_back_open() {
    for case in ["", "later"] {
        let mut tale = former_admin(case);
        goes_on(&mut tale);
        story!(tale; "
            bob removes guest; stray: bob adds guest; removal: alice removes guest
            guest applies removal
        ");
        let before = tale.cast.info("guest");
        story!(tale; "
            added: alice adds guest -- made before what bob has made
            [later] guest waits 5s
            guest takes stray.w asked; guest declines bob; guest is left
        ");
        let after = tale.cast.info("guest");
        assert_eq!(
            (after.epoch, after.profile.name, after.admins),
            (before.epoch, before.profile.name, before.admins)
        );
        tale.plays("guest takes added.w asked; guest accepts alice; guest with alice");
    }
}

// shows: B4-32
/// The guest has not answered bob's invitation when alice's comes, or the other way round: it is asked both, and answers
/// either first.
#[test]
fn two_invitations_of_people_who_do_not_know_each_other_are_both_asked() {
    let ways =
        ["far", "far restart", "far no", "", "late far", "late far restart", "late far no", "late"];
    for case in in_and_new(&ways) {
        let mut tale = former_admin(&case);
        match tale.is("far") {
            true => goes_on(&mut tale),
            false => _ = tale.plays("bob demotes alice"),
        }
        tale.plays(IS_OUT_OF_BOTH);
        story!(tale; "
            stray: bob adds guest; added: alice adds guest; guest waits 1s
            [!late] guest takes stray.w by:bob; guest takes added.w =waits by:alice
            [late] guest takes added.w by:alice; guest takes stray.w =waits by:bob
            [restart] guest restarts
        ");
        assert_eq!(tale.cast.invites("guest").len(), 2, "{case}");
        let logged = tale.cast.log("guest");
        let logged = logged.iter().filter(|body| matches!(body, EventBody::Invited { .. }));
        assert_eq!(logged.count(), 2, "{case}");
        assert_eq!(tale.cast.invite_by("guest", "alice").group_id, tale.cast.group, "{case}");
        story!(tale; "
            [no] guest declines bob
            guest accepts alice; guest invited-by; guest with alice
        ");
    }
}

// shows: B4-32
/// A guest has accepted what bob invited it to. Alice, whom it knew as an admin before, asks all the same; and who never
/// knew alice is asked once it wants to go. What was accepted stays until it says otherwise.
#[test]
fn who_accepted_a_strangers_invitation_is_still_asked_by_the_others() {
    for case in ["", "new"] {
        let mut tale = guest_outside(case);
        story!(tale; "
            stray: bob adds guest; guest waits 1s; alice waits 5s
            guest takes stray.w; guest accepts bob; added: alice adds guest
            [!new] guest takes added.w =waits; guest waits 600s; guest is active
            [new] guest takes added.w =rejected; guest leaves; guest takes added.w =waits
            [new] guest waits 600s; guest is leaving
            guest accepts alice; guest with alice
        ");
    }
}

// shows: B4-20
/// Bob puts out again whom he had invited: what alice makes after that is no invitation from before.
#[test]
fn what_was_made_after_a_membership_far_ahead_is_not_from_before_it() {
    let mut tale = guest_outside("new");
    story!(tale; "
        stray: bob adds guest; guest joins stray.w; alice waits 5s; added: alice adds guest
        removal: bob removes guest; guest applies removal
        guest takes added.w asked; guest accepts alice; guest with alice
    ");
}

// shows: B4-34
/// Bob ends his copy, or puts the guest out of it, before it has answered: alice's invitation, which waits or is yet to
/// come, is asked all the same.
#[test]
fn a_copy_that_ends_before_the_answer_takes_no_other_invitation_with_it() {
    for case in in_and_new(&["", "waits", "ends", "ends waits"]) {
        let mut tale = former_admin(&case);
        tale.plays("bob demotes alice");
        goes_on(&mut tale);
        tale.plays(IS_OUT_OF_BOTH);
        story!(tale; "
            stray: bob adds guest; added: alice adds guest; guest waits 3s
            guest takes stray.w asked
            [waits] guest takes added.w =waits
            [ends] end: bob disbands
            [!ends] end: bob removes guest
            guest takes end; guest waits 100s
            [!waits] guest takes added.w
            guest waits 1s; guest invited-by alice; guest accepts alice; guest with alice
        ");
    }
}

// rule: A4-9
/// Both invitations are for one KeyPackage, which has a successor since the first one came; the user answers in the evening.
#[test]
fn the_key_package_of_a_waiting_welcome_stays() {
    let mut tale = guest_outside("new");
    story!(tale; "
        package: guest package; stray: bob adds guest package; added: alice adds guest package
        guest takes stray.w asked; guest takes added.w =waits; next: guest package
        guest waits 10h; guest accepts alice; guest with alice
    ");
}

// rule: B4-33
/// Bob's Welcomes wait as well as any, but for a place that they leave to those of admins; and when he was one as they
/// came, they make room.
#[test]
fn welcomes_of_a_former_admin_do_not_hold_all_places() {
    for case in ["", "known"] {
        let mut tale = Tale::of("alice bob* carol", case);
        tale.plays("out: alice removes bob");
        goes_on(&mut tale);
        tale.plays("[!known] carol applies out");
        for _ in 0..6 {
            tale.plays("bob removes carol; stray: bob adds carol; carol takes stray.w =waits");
        }
        story!(tale; "
            [known] carol applies out
            removal: alice removes carol; added: alice adds carol
            carol takes added.w =waits; carol is active; carol restarts; carol takes removal
            carol accepts alice; carol with alice
        ");
    }
}

// rule: B4-33
/// While bob's invitation is not answered, whom he calls an admin is none to the guest: his further ones leave a place for
/// alice's.
#[test]
fn further_welcomes_of_who_has_invited_do_not_hold_all_places() {
    let mut tale = former_admin("");
    goes_on(&mut tale);
    story!(tale; "
        removal: alice removes guest; guest applies removal; bob removes guest
        stray: bob adds guest; guest takes stray.w =applied
    ");
    for _ in 0..5 {
        tale.plays("bob removes guest; stray: bob adds guest; guest takes stray.w =waits");
    }
    story!(tale; "
        guest invited-by bob -- of one maker one is asked
        added: alice adds guest; guest takes added.w =waits
        guest accepts alice; guest invited-by; guest with alice
    ");
}

// shows: B4-35
/// Bob's copy is a few commits beside, where alice is an admin still: her invitation is another branch of it and no question
/// of its own. The guest declines bob's, and is asked by alice.
#[test]
fn who_declines_one_of_two_branches_is_asked_for_the_other() {
    for case in in_and_new(&["one", "two", "three restart"]) {
        let mut tale = former_admin(&case);
        tale.plays(IS_OUT_OF_BOTH);
        story!(tale; "
            [one] bob renames
            [two] bob renames; bob renames
            [three] bob renames; bob renames; bob renames
            stray: bob adds guest; added: alice adds guest; guest waits 5s
            guest takes stray.w asked; guest takes added.w
        ");
        assert_eq!(tale.cast.invites("guest").len(), 1, "one question");
        story!(tale; "
            guest waits 200s
            [restart] guest restarts
        ");
        // (where her branch wins meanwhile, his invitation speaks for her)
        let asked = tale.cast.invites("guest").remove(0);
        assert_eq!(asked.id, tale.event("stray.w").id());
        tale.cast.engine("guest").decline(&asked.id).unwrap();
        assert_eq!(tale.cast.invite_by("guest", "alice").id, tale.event("added.w").id());
        tale.plays("guest accepts alice; guest takes stray.w =duplicate; guest with alice");
    }
}

// shows: B4-35
/// Dave was invited by bob, put out before he had seen it, and invited by alice a good while later. Her invitation comes first,
/// and something is said and changed there; he accepts bob's, which is over. When that shows, alice's is asked again, and what
/// had been read for it is read.
#[test]
fn an_invitation_that_gave_way_to_one_that_is_over_comes_back() {
    for case in ["", "restart"] {
        let mut tale = Tale::of("alice bob* carol", case);
        story!(tale; "
            old: bob adds dave; alice applies old; alice waits 5s; gone: alice removes dave
            l1 l2 l3 l4 l5 l6: alice renames; new: alice adds dave; after: alice renames
            hello: alice says; dave waits 10s
            dave takes new.w asked; dave takes old.w =waits; dave takes after; dave reads hello
            dave invited-by alice bob -- in one second; what is followed first
            dave accepts bob
            [restart] dave restarts
            dave takes gone l1 l2 l3 l4 l5 l6; dave waits 2s; dave is pending
        ");
        let old = tale.event("old.w").id();
        let over = tale.cast.engine("dave").accept(&old);
        assert!(matches!(over, Err(Error::InviteNotFound)));
        // As who asks relays for the history of a group that stands still.
        tale.plays("dave accepts alice; dave takes after; dave reads hello; dave with alice");
    }
}

// What follows is of one who is invited on two branches, of which one has put out whoever made the invitation to the other.

/// How bob's branch puts alice out of its admins.
const PUTS_OUT: &str = "
    [demotes] out: bob demotes alice
    [!demotes] out: bob removes alice
";

// shows: B4-37
/// Bob adds carol and puts alice out. An invitation of hers that leads further than carol's own beginning, by less or by more
/// than bob's branch has gone, waits for a removal first. All others end where alice is; carol follows when she has heard
/// another one there.
#[test]
fn an_invitation_of_one_who_was_put_out_since_is_compared() {
    for case in ["at-once", "at-once restart", "one", "three", "at-once demotes", "three demotes"] {
        let mut tale = Tale::of("alice bob* dave", case);
        tale.plays("invited: bob adds carol").plays(PUTS_OUT);
        story!(tale; "
            [one] b1: alice renames
            [three] b1 b2 b3: alice renames
            added: alice adds carol; a1: alice renames
            [!three] a2 a3: alice renames
            carol joins invited.w; carol applies out
            [at-once] carol takes added.w =rival
            [!at-once] carol takes added.w =waits
            [restart] carol restarts
            [!at-once] carol waits 60s x3
        ");
        let began = tale.cast.tip("carol");
        story!(tale; "
            [at-once] all take invited out added a1 a2 a3
            [one] all take invited out b1 added a1 a2 a3
            [three] all take invited out b1 b2 b3 added a1
            all wait 1s; all wait 1s; all wait 1s
            alone: alice says; carol takes alone; carol waits 60s x3
        ");
        assert_eq!(tale.cast.tip("carol"), began, "{case}: alice may be alone there");
        story!(tale; "
            too: dave says; carol takes too; carol waits 1s x3; all agree
            carol is active; carol counts 4; carol history alone too; alice speaks carol
        ");
    }
}

// rule: B4-37
/// Who was put out before carol came is nobody to her, whatever it leads to.
#[test]
fn one_of_somebody_who_was_no_admin_when_we_came_is_not() {
    for case in ["", "demotes"] {
        let mut tale = Tale::of("alice bob* dave", case);
        tale.plays(PUTS_OUT);
        story!(tale; "
            invited: bob adds carol; m1 m2: alice renames; others: alice adds carol
            carol joins invited.w
        ");
        let before = tale.cast.end("carol");
        tale.plays("carol takes others.w; carol waits 60s x3; carol is active");
        assert_eq!(tale.cast.end("carol"), before);
        tale.plays("bob speaks carol");
    }
}

// rule: B4-38
/// Alice is out, and leads carol alone into a copy of her own, as deep as she likes, with somebody who is in no group.
#[test]
fn one_who_was_put_out_leads_nobody_into_a_copy_of_his_own() {
    for case in ["", "two", "demotes", "demotes two"] {
        let mut tale = Tale::of("alice bob* dave", case);
        tale.plays("invited: bob adds carol").plays(PUTS_OUT);
        story!(tale; "
            [two] b1 b2: alice renames
            added: alice adds carol; a1: alice renames
            more: alice adds mallory; mallory joins more.w; here: mallory says
            carol joins invited.w; carol applies out
        ");
        let began = tale.cast.tip("carol");
        story!(tale; "
            carol takes added.w; carol waits 60s x3
            [two] carol takes b1 b2
            carol takes added a1 more here; carol waits 60s x3
        ");
        assert_eq!(tale.cast.tip("carol"), began, "{case}");
        tale.plays("bob speaks carol");
    }
}

// shows: B4-34
/// Bob invites twice to his copy, the second one takes the place of the first: that was no membership, so that alice's
/// invitation, which comes after it, may be accepted, and stays when bob's is declined.
#[test]
fn a_second_invitation_to_a_copy_takes_nothing_from_that_of_the_others() {
    story!("alice bob* carol", ["", "declined"]; "
        out: alice removes bob; bob demotes alice; bob renames; bob renames; bob renames
        first: bob adds dave; added: alice adds dave; bob waits 5s
        bob removes dave; second: bob adds dave; dave waits 10s
        dave takes first.w asked; dave takes second.w =waits; dave waits 130s
        dave takes added.w =waits
        [declined] dave declines bob; dave invited-by alice
        dave accepts alice; dave with alice
    ");
}
