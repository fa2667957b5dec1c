//! Who was put out, and whoever else knows the id of a group, can invite to a copy of their own: that must not keep anybody
//! from being invited to the group that the others are in. Of several invitations the answer to one takes none of the others
//! with it.

use mdk_core::{Error, EventBody, GroupState, Verdict};
use mdk_wire::Event;

use crate::kit::acts::invited;
use crate::kit::cast::{Added, Cast, Who};
use crate::kit::{RIVAL, WAITS, received};

/// Alice has put bob out, who has not heard of it. Carol has heard of it.
fn former_admin() -> Cast {
    let mut cast = Cast::two_admins_and("carol");
    let out = cast.removes("alice", "bob");
    cast.applies("carol", &out);
    cast
}

/// Bob goes on for long in his copy.
fn goes_on(cast: &mut Cast) {
    (0..12).for_each(|n| drop(cast.renames("bob", &format!("stray {n}"))));
}

/// Carol, who was in the group and has been put out of it and of bob's copy, or dave, who is new.
fn invitee(cast: &mut Cast, was_in: bool) -> Who {
    if !was_in {
        return "dave";
    }
    let removal = cast.removes("alice", "carol");
    cast.applies("carol", &removal);
    cast.removes("bob", "carol");
    "carol"
}

// shows: B4-31
/// Carol is out, and declines what bob invites her to: she is what she was, and can be invited.
#[test]
fn declining_a_strangers_invitation_leaves_the_way_back_open() {
    for later in [0, 5] {
        let mut cast = former_admin();
        goes_on(&mut cast);
        let (_, stray) = cast.adds_again("bob", "carol");
        let removal = cast.removes("alice", "carol");
        cast.applies("carol", &removal);
        let before = cast.info("carol");
        // (made before what bob has made)
        let added = cast.adds("alice", "carol");
        cast.waits("carol", later * 1_000);
        assert!(invited(&cast.takes("carol", &stray.welcome)));
        cast.declines("carol", "bob");
        let after = cast.info("carol");
        assert_eq!(after.state, GroupState::Left);
        assert_eq!(
            (after.epoch, after.name, after.admins),
            (before.epoch, before.name, before.admins)
        );
        assert!(invited(&cast.takes("carol", &added.welcome)));
        cast.accepts("carol", "alice");
        cast.is_with("carol", "alice");
    }
}

// shows: B4-32
/// Carol has not answered bob's invitation when alice's comes, or the other way round: she is asked both, and answers
/// either first.
#[test]
fn two_invitations_of_people_who_do_not_know_each_other_are_both_asked() {
    let ways =
        [(true, false, true), (true, true, true), (false, false, true), (true, false, false)];
    for (was_in, first) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        for (yes, restart, far) in ways {
            let case = format!("was in: {was_in}, first {first}, yes: {yes}, far: {far}");
            let mut cast = former_admin();
            if far {
                goes_on(&mut cast);
            } else {
                cast.demotes("bob", "alice");
            }
            let who = invitee(&mut cast, was_in);
            let both = [cast.adds("bob", who), cast.adds("alice", who)];
            cast.waits(who, 1_000);
            assert!(invited(&cast.takes(who, &both[first].welcome)), "{case}");
            let second = cast.takes(who, &both[1 - first].welcome);
            assert_eq!(second.verdict, WAITS, "{case}");
            let told = second.events.iter().filter_map(|e| match &e.body {
                EventBody::Invited { invite } => Some(invite.inviter),
                _ => None,
            });
            let told: Vec<_> = told.collect();
            assert_eq!(told, [cast.key(["alice", "bob"][first])], "{case}");
            if restart {
                cast.restarts(who);
            }
            assert_eq!(cast.invites(who).len(), 2, "{case}");
            let logged = cast.log(who);
            let logged = logged.iter().filter(|body| matches!(body, EventBody::Invited { .. }));
            assert_eq!(logged.count(), 2, "{case}");
            assert_eq!(cast.invite_by(who, "alice").group_id, cast.group, "{case}");
            if !yes {
                cast.declines(who, "bob");
            }
            cast.accepts(who, "alice");
            assert!(cast.invites(who).is_empty(), "{case}");
            cast.is_with(who, "alice");
        }
    }
}

// shows: B4-32
/// Carol has accepted what bob invited her to. Alice, whom she knew as an admin before, asks her all the same; and who never
/// knew alice is asked once it wants to go. What was accepted stays until she says otherwise.
#[test]
fn who_accepted_a_strangers_invitation_is_still_asked_by_the_others() {
    for was_in in [true, false] {
        let mut cast = former_admin();
        goes_on(&mut cast);
        let who = invitee(&mut cast, was_in);
        let stray = cast.adds("bob", who);
        cast.waits(who, 1_000);
        cast.waits("alice", 5_000);
        cast.takes(who, &stray.welcome);
        cast.accepts(who, "bob");
        let added = cast.adds("alice", who);
        let verdict = cast.takes(who, &added.welcome).verdict;
        if was_in {
            assert_eq!(verdict, WAITS);
        } else {
            assert!(matches!(verdict, Verdict::Rejected(_)), "{verdict:?}");
            cast.leaves(who);
            assert_eq!(cast.takes(who, &added.welcome).verdict, WAITS);
        }
        cast.waits(who, 600_000);
        let expected = if was_in { GroupState::Active } else { GroupState::Leaving };
        assert_eq!(cast.state(who), expected);
        cast.accepts(who, "alice");
        cast.is_with(who, "alice");
    }
}

// shows: B4-20
/// Bob puts carol out again, whom he had invited: what alice makes after that is no invitation from before.
#[test]
fn what_was_made_after_a_membership_far_ahead_is_not_from_before_it() {
    let mut cast = former_admin();
    goes_on(&mut cast);
    let stray = cast.adds("bob", "dave");
    cast.joins("dave", &stray.welcome);
    cast.waits("alice", 5_000);
    let added = cast.adds("alice", "dave");
    let removal = cast.removes("bob", "dave");
    cast.applies("dave", &removal);
    assert!(invited(&cast.takes("dave", &added.welcome)));
    cast.accepts("dave", "alice");
    cast.is_with("dave", "alice");
}

// shows: B4-34
/// Bob ends his copy, or puts the invitee out of it, before she has answered: alice's invitation, which waits or is yet to
/// come, is asked all the same.
#[test]
fn a_copy_that_ends_before_the_answer_takes_no_other_invitation_with_it() {
    for was_in in [false, true] {
        for (disbands, waits) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut cast = former_admin();
            cast.demotes("bob", "alice");
            goes_on(&mut cast);
            let who = invitee(&mut cast, was_in);
            let stray = cast.adds("bob", who);
            let added = cast.adds("alice", who);
            cast.waits(who, 3_000);
            assert!(invited(&cast.takes(who, &stray.welcome)));
            if waits {
                assert_eq!(cast.takes(who, &added.welcome).verdict, WAITS);
            }
            let end = if disbands { cast.disbands("bob") } else { cast.removes("bob", who) };
            cast.takes(who, &end);
            cast.waits(who, 100_000);
            if !waits {
                cast.takes(who, &added.welcome);
            }
            cast.waits(who, 1_000);
            assert_eq!(cast.inviters(who), [cast.key("alice")], "{was_in} {disbands} {waits}");
            cast.accepts(who, "alice");
            cast.is_with(who, "alice");
        }
    }
}

// rule: A4-9
/// Both invitations are for one KeyPackage, which has a successor since the first one came; the user answers in the evening.
#[test]
fn the_key_package_of_a_waiting_welcome_stays() {
    let mut cast = former_admin();
    goes_on(&mut cast);
    cast.enters("dave");
    let package = cast.at("dave").member.key_package();
    let [stray, added] = ["bob", "alice"].map(|by| cast.adds_by(by, &package));
    assert!(invited(&cast.takes("dave", &stray.welcome)));
    assert_eq!(cast.takes("dave", &added.welcome).verdict, WAITS);
    cast.at("dave").member.key_package();
    cast.waits("dave", 10 * 3_600_000);
    cast.accepts("dave", "alice");
    cast.is_with("dave", "alice");
}

// rule: B4-33
/// Bob's Welcomes wait as well as any, but for a place that they leave to those of admins; and when he was one as they
/// came, they make room.
#[test]
fn welcomes_of_a_former_admin_do_not_hold_all_places() {
    for known in [false, true] {
        let mut cast = Cast::two_admins_and("carol");
        let out = cast.removes("alice", "bob");
        goes_on(&mut cast);
        if !known {
            cast.applies("carol", &out);
        }
        for n in 0..6 {
            let (_, stray) = cast.adds_again("bob", "carol");
            let verdict = cast.takes("carol", &stray.welcome).verdict;
            assert_eq!(verdict, WAITS, "{n}, known: {known}");
        }
        if known {
            cast.applies("carol", &out);
        }
        let (removal, added) = cast.adds_again("alice", "carol");
        assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS, "known: {known}");
        assert_eq!(cast.state("carol"), GroupState::Active);
        cast.restarts("carol");
        cast.takes("carol", &removal);
        cast.accepts("carol", "alice");
        cast.is_with("carol", "alice");
    }
}

// rule: B4-33
/// While bob's invitation is not answered, whom he calls an admin is none to carol: his further ones leave a place for
/// alice's.
#[test]
fn further_welcomes_of_who_has_invited_do_not_hold_all_places() {
    let mut cast = former_admin();
    goes_on(&mut cast);
    let removal = cast.removes("alice", "carol");
    cast.applies("carol", &removal);
    for n in 0..6 {
        let (_, stray) = cast.adds_again("bob", "carol");
        let expected = if n == 0 { Verdict::Applied } else { WAITS };
        assert_eq!(cast.takes("carol", &stray.welcome).verdict, expected, "{n}");
    }
    assert_eq!(cast.invites("carol").len(), 1, "of one maker one is asked");
    let added = cast.adds("alice", "carol");
    assert_eq!(cast.takes("carol", &added.welcome).verdict, WAITS);
    cast.accepts("carol", "alice");
    assert!(cast.invites("carol").is_empty());
    cast.is_with("carol", "alice");
}

// shows: B4-34
/// Bob invites dave twice to his copy, the second one takes the place of the first: that was no membership, so that alice's,
/// which waits or comes after it, may be accepted, and stays when bob's is declined.
#[test]
fn a_second_invitation_to_a_copy_takes_nothing_from_that_of_the_others() {
    for (declined, waits) in [(0, true), (0, false), (1, true), (1, false), (2, true), (2, false)] {
        let mut cast = former_admin();
        cast.demotes("bob", "alice");
        goes_on(&mut cast);
        let first = cast.adds("bob", "dave");
        let added = cast.adds("alice", "dave");
        cast.waits("bob", 5_000);
        let (_, second) = cast.adds_again("bob", "dave");
        cast.waits("dave", 10_000);
        assert!(invited(&cast.takes("dave", &first.welcome)));
        if waits {
            assert_eq!(cast.takes("dave", &added.welcome).verdict, WAITS);
        }
        assert_eq!(cast.takes("dave", &second.welcome).verdict, WAITS);
        cast.waits("dave", 130_000);
        assert_eq!(cast.invite_by("dave", "bob").id, second.welcome.id());
        if !waits {
            assert_eq!(cast.takes("dave", &added.welcome).verdict, WAITS);
        }
        if declined > 0 {
            cast.declines("dave", "bob");
            assert_eq!(cast.inviters("dave"), [cast.key("alice")]);
        }
        if declined > 1 {
            cast.declines("dave", "alice");
            assert!(cast.engine("dave").groups(None).unwrap().is_empty(), "he was never there");
            continue;
        }
        cast.accepts("dave", "alice");
        cast.is_with("dave", "alice");
    }
}

// shows: B4-35
/// Bob's copy is a few commits beside, where alice is an admin still: her invitation is another branch of it and no question
/// of its own. Dave declines bob's, and is asked by alice.
#[test]
fn who_declines_one_of_two_branches_is_asked_for_the_other() {
    for was_in in [false, true] {
        for (commits, restart) in [(1, false), (2, false), (3, true)] {
            let mut cast = former_admin();
            let who = invitee(&mut cast, was_in);
            (0..commits).for_each(|n| drop(cast.renames("bob", &format!("stray {n}"))));
            let both = [cast.adds("bob", who), cast.adds("alice", who)];
            cast.waits(who, 5_000);
            assert!(invited(&cast.takes(who, &both[0].welcome)));
            cast.takes(who, &both[1].welcome);
            assert_eq!(cast.invites(who).len(), 1, "one question");
            cast.waits(who, 200_000);
            if restart {
                cast.restarts(who);
            }
            // (where her branch wins meanwhile, his invitation speaks for her)
            let asked = cast.invites(who).remove(0);
            assert_eq!(asked.id, both[0].welcome.id());
            cast.engine(who).decline(&asked.id).unwrap();
            assert_eq!(cast.invite_by(who, "alice").id, both[1].welcome.id());
            cast.accepts(who, "alice");
            assert_eq!(cast.takes(who, &both[0].welcome).verdict, Verdict::Duplicate);
            cast.is_with(who, "alice");
        }
    }
}

// shows: B4-35
/// Dave was invited by bob, put out before he had seen it, and invited by alice a good while later. Her invitation comes first,
/// and something is said and changed there; he accepts bob's, which is over. When that shows, alice's is asked again, and what
/// had been read for it is read.
#[test]
fn an_invitation_that_gave_way_to_one_that_is_over_comes_back() {
    for restart in [false, true] {
        let mut cast = Cast::two_admins_and("carol");
        let old = cast.adds("bob", "dave");
        cast.applies("alice", &old.commit);
        cast.waits("alice", 5_000);
        let mut log = vec![cast.removes("alice", "dave")];
        log.extend((0..6).map(|n| cast.renames("alice", &format!("later {n}"))));
        let new = cast.adds("alice", "dave");
        let after = cast.renames("alice", "with dave");
        let said = cast.says("alice", "hello dave");
        cast.waits("dave", 10_000);
        assert!(invited(&cast.takes("dave", &new.welcome)));
        assert_eq!(cast.takes("dave", &old.welcome).verdict, WAITS);
        cast.takes("dave", &after);
        assert_eq!(received(&cast.applies("dave", &said)), ["hello dave"]);
        let expected = ["alice", "bob"].map(|who| cast.key(who));
        assert_eq!(cast.inviters("dave"), expected, "in one second; what is followed first");
        cast.accepts("dave", "bob");
        if restart {
            cast.restarts("dave");
        }
        cast.hears("dave", &log);
        cast.waits("dave", 2_000);
        assert_eq!(cast.state("dave"), GroupState::Pending);
        let gone = cast.engine("dave").accept(&old.welcome.id());
        assert!(matches!(gone, Err(Error::InviteNotFound)));
        cast.accepts("dave", "alice");
        // As who asks relays for the history of a group that stands still.
        cast.takes("dave", &after);
        assert_eq!(received(&cast.takes("dave", &said)), ["hello dave"]);
        cast.is_with("dave", "alice");
    }
}

// What follows is of one who is invited on two branches, of which one has put out whoever made the invitation to the other.

/// How bob's branch puts alice out of its admins.
const WAYS: [fn(&mut Cast) -> Event; 2] =
    [|cast| cast.removes("bob", "alice"), |cast| cast.demotes("bob", "alice")];

/// Alice and bob, both admins, and dave; bob adds carol and puts alice out.
struct Apart {
    cast: Cast,
    invited: Added,
    put_out: Event,
}

impl Apart {
    fn new(way: usize) -> Self {
        let mut cast = Cast::two_admins_and("dave");
        let invited = cast.adds("bob", "carol");
        let put_out = WAYS[way](&mut cast);
        Self { cast, invited, put_out }
    }

    /// Alice adds carol after some commits, and makes more.
    fn alice_goes_on(&mut self, before: usize, after: usize) -> (Vec<Event>, Added) {
        let cast = &mut self.cast;
        let mut line = Vec::new();
        line.extend((0..before).map(|n| cast.renames("alice", &format!("before {n}"))));
        let added = cast.adds("alice", "carol");
        line.push(added.commit.clone());
        line.extend((0..after).map(|n| cast.renames("alice", &format!("after {n}"))));
        (line, added)
    }

    /// Carol is with bob, on whose branch alice is nobody.
    fn carol_is_with_bob(&mut self) {
        self.cast.joins("carol", &self.invited.welcome);
        self.cast.applies("carol", &self.put_out);
    }

    /// All others hear of everything and end where alice is. Carol follows when she has heard another one there.
    fn ends_with_alice(&mut self, line: &[Event], what: &str) {
        let cast = &mut self.cast;
        let began = cast.tip("carol");
        cast.all_hear([&self.invited.commit, &self.put_out].into_iter().chain(line));
        (0..3).for_each(|_| cast.rest(1_000));
        let said = cast.says("alice", "alice alone");
        cast.takes("carol", &said);
        cast.waits_often("carol", 3, 60_000);
        assert_eq!(cast.tip("carol"), began, "{what}: alice may be alone there");
        let said = cast.says("dave", "dave, too");
        cast.takes("carol", &said);
        cast.waits_often("carol", 3, 1_000);
        cast.all_agree(what);
        let info = cast.info("carol");
        assert_eq!((info.state, info.member_count), (GroupState::Active, 4), "{what}");
        assert_eq!(cast.texts("carol"), ["alice alone", "dave, too"], "{what}");
        cast.speak("alice", "carol");
    }
}

// shows: B4-37
/// An invitation that leads further than carol's own beginning, by less or by more than bob's branch has gone, waits for a
/// removal first.
#[test]
fn an_invitation_of_one_who_was_put_out_since_is_compared() {
    for way in [0, 1] {
        for (before, after, restart) in [(0, 3, false), (0, 3, true), (1, 3, false), (3, 1, false)]
        {
            let mut apart = Apart::new(way);
            let (line, added) = apart.alice_goes_on(before, after);
            apart.carol_is_with_bob();
            let expected = if before == 0 { RIVAL } else { WAITS };
            assert_eq!(apart.cast.takes("carol", &added.welcome).verdict, expected);
            if restart {
                apart.cast.restarts("carol");
            }
            if before > 0 {
                apart.cast.waits_often("carol", 3, 60_000);
            }
            apart.ends_with_alice(&line, &format!("{before} and {after}"));
        }
    }
}

// rule: B4-37
/// Who was put out before carol came is nobody to her, whatever it leads to.
#[test]
fn one_of_somebody_who_was_no_admin_when_we_came_is_not() {
    for puts_out in WAYS {
        let mut cast = Cast::two_admins_and("dave");
        puts_out(&mut cast);
        let invited = cast.adds("bob", "carol");
        cast.renames_to("alice", ["more", "more"]);
        let others = cast.adds("alice", "carol");
        cast.joins("carol", &invited.welcome);
        let before = cast.end("carol");
        cast.takes("carol", &others.welcome);
        cast.waits_often("carol", 3, 60_000);
        assert_eq!(cast.end("carol"), before);
        assert_eq!(cast.state("carol"), GroupState::Active);
        cast.speak("bob", "carol");
    }
}

// rule: B4-38
/// Alice is out, and leads carol alone into a copy of her own, as deep as she likes, with somebody who is in no group.
#[test]
fn one_who_was_put_out_leads_nobody_into_a_copy_of_his_own() {
    for (way, before) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
        let mut apart = Apart::new(way);
        let (mut line, to_carol) = apart.alice_goes_on(before, 1);
        let cast = &mut apart.cast;
        let added = cast.adds("alice", "mallory");
        cast.joins("mallory", &added.welcome);
        line.extend([added.commit, cast.says("mallory", "we are all here")]);
        apart.carol_is_with_bob();
        let cast = &mut apart.cast;
        let began = cast.tip("carol");
        cast.takes("carol", &to_carol.welcome);
        cast.waits_often("carol", 3, 60_000);
        cast.hears("carol", &line);
        cast.waits_often("carol", 3, 60_000);
        assert_eq!(cast.tip("carol"), began, "{before}");
        cast.speak("bob", "carol");
    }
}
