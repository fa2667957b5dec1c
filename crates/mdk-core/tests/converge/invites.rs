//! Two admins invite at once: of their commits one wins, and whoever was invited ends where the others do. Whoever a commit
//! of ours adds is invited when that commit is true, by whatever way it became so, and not before.

use mdk_core::{DeferredReason, EventBody, GroupState, Outcome, Pending, Verdict, testing};
use mdk_wire::{Event, EventId, GroupMessage, OsRandom, group_message};

use crate::kit::acts::invited;
use crate::kit::cast::{Cast, Who};
use crate::kit::{self, RIVAL, WAITS, event, received};

/// Alice, bob and dave; carol is in no group.
fn two_and_one_to_come() -> (Cast, Event) {
    let mut cast = Cast::two_admins_and("dave");
    cast.enters("carol");
    let package = cast.at("carol").member.key_package();
    (cast, package)
}

/// Carol was invited on two branches, and all hear all of it: she is in the one where the others are, and it goes on.
fn all_come_together(cast: &mut Cast, events: &[Event], case: &str) {
    for who in cast.names() {
        cast.hears(who, events);
        cast.waits_often(who, 2, 1_000);
    }
    cast.accepts_all("carol");
    cast.all_agree(case);
    let info = cast.info("carol");
    assert_eq!((info.state, info.member_count), (GroupState::Active, 4), "{case}");
}

/// Commits go on, also hers, and nothing of the other branch outlives the window.
fn all_goes_on(cast: &mut Cast, case: &str) {
    cast.all_speak();
    cast.rest(1_000);
    cast.forgets_what_competed("carol", &["alice", "bob", "dave"], case);
}

// shows: B4-17
/// Both invite carol. She takes up both Welcomes, in either order, and ends on the branch that wins: by the committers'
/// keys, by what is said, or by a commit more.
#[test]
fn of_two_invitations_the_branch_that_wins_is_followed() {
    for decisive in ["keys", "voices", "depth"] {
        for (first, restart, answers) in
            [(0, false, "each"), (1, false, "each"), (0, true, "late"), (1, true, "late")]
        {
            let case = format!("{decisive}, first {first}");
            let (mut cast, package) = two_and_one_to_come();
            let invitations = ["alice", "bob"].map(|who| cast.adds_by(who, &package));
            let mut events = invitations.each_ref().map(|added| added.commit.clone()).to_vec();
            let winner = if decisive == "keys" { "alice" } else { "bob" };
            // Dave hears of the second one first, and speaks there; so does its author.
            if decisive == "voices" {
                cast.applies("dave", &events[1]);
                events.extend([cast.says("dave", "with you"), cast.says("bob", "with me")]);
            }
            if decisive == "depth" {
                events.push(cast.renews("bob"));
            }
            let welcomes = invitations.each_ref().map(|added| &added.welcome);
            assert!(invited(&cast.takes("carol", welcomes[first])));
            if answers == "each" {
                cast.accepts_all("carol");
            }
            assert_eq!(cast.takes("carol", welcomes[1 - first]).verdict, RIVAL);
            if restart {
                cast.restarts("carol");
            }
            for welcome in welcomes {
                assert_eq!(cast.takes("carol", welcome).verdict, Verdict::Duplicate);
            }
            for who in cast.names() {
                cast.hears(who, &events);
                cast.waits_often(who, 2, 1_000);
            }
            for inviter in cast.inviters("carol") {
                assert_eq!(inviter, cast.key(winner), "{case}");
            }
            all_come_together(&mut cast, &[], &case);
            // What was said to her on the winner, she has.
            let texts = cast.texts("carol");
            assert_eq!(texts.len(), if decisive == "voices" { 2 } else { 0 }, "{case}: {texts:?}");
            all_goes_on(&mut cast, &case);
        }
    }
}

// shows: B4-17
/// One invites carol at once, the other an epoch later. The Welcome that leads further comes first; the other one is
/// taken up beside it, and she ends where everybody ends: by a commit more, or by what is said.
#[test]
fn of_two_invitations_to_different_epochs_the_branch_that_wins_is_followed() {
    for decisive in ["depth", "voices", "neither"] {
        for (restart, answers) in [(false, "each"), (true, "late")] {
            let (mut cast, package) = two_and_one_to_come();
            let lower = cast.adds_by("alice", &package);
            let before = cast.renews("bob");
            let higher = cast.adds_by("bob", &package);
            let mut events = vec![lower.commit.clone(), before, higher.commit];
            let mut said = Vec::new();
            match decisive {
                "depth" => {
                    events.extend([cast.renews("alice"), cast.renews("alice")]);
                    said = vec!["at last"];
                    events.push(cast.says("alice", "at last"));
                }
                "voices" => {
                    cast.applies("dave", &lower.commit);
                    said = vec!["with me", "with you"];
                    events.extend([cast.says("dave", "with you"), cast.says("alice", "with me")]);
                }
                _ => {}
            }
            assert!(invited(&cast.takes("carol", &higher.welcome)));
            if answers == "each" {
                cast.accepts_all("carol");
            }
            assert_eq!(cast.takes("carol", &lower.welcome).verdict, RIVAL, "{decisive}");
            if restart {
                cast.restarts("carol");
            }
            assert_eq!(cast.takes("carol", &lower.welcome).verdict, Verdict::Duplicate);
            all_come_together(&mut cast, &events, decisive);
            let mut texts = cast.texts("carol");
            texts.sort();
            assert_eq!(texts, said, "{decisive}");
            all_goes_on(&mut cast, decisive);
        }
    }
}

// shows: B4-17
/// The Welcome of an earlier membership comes after that of the later one, and two spoke in between: that is no branch
/// that takes her out again, in whatever order its commits come.
#[test]
fn an_earlier_invitation_on_the_same_branch_takes_nobody_out() {
    for removal_last in [false, true] {
        let mut cast = Cast::two_admins_and("dave");
        let first = cast.adds("alice", "carol");
        cast.applies("dave", &first.commit);
        let said = [cast.says("alice", "one"), cast.says("dave", "two")];
        let (removal, again) = cast.adds_again("alice", "carol");
        cast.joins("carol", &again.welcome);
        cast.takes("carol", &first.welcome);
        let mut events = vec![&removal];
        events.splice(if removal_last { 0..0 } else { 1..1 }, &said);
        for event in events {
            cast.takes("carol", event);
            cast.waits("carol", 1_000);
        }
        cast.waits("carol", 1_000);
        assert_eq!(cast.state("carol"), GroupState::Active, "{removal_last}");
        cast.agree(&["alice", "carol"], &format!("{removal_last}"));
        let hello = cast.says("alice", "hello");
        assert_eq!(received(&cast.applies("carol", &hello)), ["hello"]);
    }
}

// shows: B4-17, E6-2
/// What claims to be of an epoch that only the other invitation led to loses nothing that we ever had.
#[test]
fn a_commit_of_nowhere_below_our_own_beginning_is_no_loss() {
    let (mut cast, package) = two_and_one_to_come();
    let group = cast.group.clone();
    let event_key =
        |cast: &mut Cast, who: Who| testing::state(cast.engine(who), &group).unwrap().event_key;
    let lower = cast.adds_by("alice", &package);
    let alices = event_key(&mut cast, "alice");
    let before = cast.renews("bob");
    let higher = cast.adds_by("bob", &package);
    cast.joins("carol", &higher.welcome);
    cast.takes("carol", &lower.welcome);
    // The commit of the one branch, under the key of the other's.
    cast.copies("dave", "copy");
    cast.applies("copy", &before);
    let key = event_key(&mut cast, "copy");
    let sealed = GroupMessage::parse(higher.commit).unwrap();
    let bytes = sealed.open(&key).unwrap();
    let moved =
        group_message::seal(&bytes, &alices, &sealed.group, kit::now(), None, &mut OsRandom);
    let verdict = cast.takes("carol", &moved.unwrap()).verdict;
    assert_eq!(verdict, Verdict::Deferred(DeferredReason::MissingParent));
    assert_eq!(cast.state("carol"), GroupState::Active);
}

// shows: B4-16
/// Both branches that carol was invited to lose to a third one, which she cannot see: when she is invited again, by those
/// who won, she is let in, although a branch that lost is still known.
#[test]
fn who_was_invited_on_two_branches_that_lost_can_be_invited_again() {
    let mut cast = Cast::two_admins_and("dave");
    let promoted = cast.promotes("alice", &["dave"]);
    cast.hears_all_but("alice", [&promoted]);
    cast.rest(1_000);
    cast.enters("carol");
    let package = cast.at("carol").member.key_package();
    let lost = ["alice", "bob"].map(|who| cast.adds_by(who, &package));
    let won = [cast.renews("dave"), cast.renews("dave")];
    cast.joins("carol", &lost[0].welcome);
    assert_eq!(cast.takes("carol", &lost[1].welcome).verdict, RIVAL);
    cast.all_hear(lost.iter().map(|added| &added.commit).chain(&won));
    cast.rest(1_000);
    let again = cast.adds("alice", "carol");
    for who in ["bob", "dave"] {
        cast.takes(who, &again.commit);
        cast.waits(who, 1_000);
    }
    assert_eq!(cast.takes("carol", &again.welcome).verdict, WAITS);
    assert!(!invited(&cast.waits("carol", 60_000)));
    assert!(invited(&cast.waits("carol", 61_000)));
    cast.accepts_all("carol");
    cast.all_agree("invited again");
    cast.all_speak();
}

/// One invites eve and the other frank. Whose commit loses is told so and may do it again with the same KeyPackage: it is
/// no more than a wish of a moment that has passed, so nobody does it unasked (protocol/commits.md C2;
/// protocol/branches.md E5; only a disband is made anew, C5). The Welcome is for the new epoch then.
#[test]
fn whose_invitation_lost_is_told_and_may_invite_again() {
    for took_the_first in [false, true] {
        let mut cast = Cast::two_admins_and("dave");
        let group = cast.group.clone();
        cast.enters("frank");
        let package = cast.at("frank").member.key_package();
        let wins = cast.adds("alice", "eve");
        let loses = cast.adds_by("bob", &package);
        cast.joins("eve", &wins.welcome);
        if took_the_first {
            cast.joins("frank", &loses.welcome);
        }
        // Which commit it is, by the key of a member that has retained the state it was made on.
        let digest = testing::content_of(cast.engine("alice"), &group, &loses.commit).unwrap();
        for who in cast.names() {
            cast.hears(who, [&wins.commit, &loses.commit]);
            let told = cast.waits(who, 1_000).events;
            let withdrawn = told.iter().any(|e| {
                matches!(&e.body, EventBody::ChangeWithdrawn { commit } if Some(*commit) == digest)
            });
            if who == "alice" || who == "bob" {
                assert_eq!(withdrawn, who == "bob", "its author is told");
            }
        }
        let frank = cast.key("frank");
        let members = cast.engine("bob").members(&group).unwrap();
        assert!(!members.iter().any(|member| member.public_key == frank));

        let again = cast.adds_by("bob", &package);
        for who in ["alice", "dave", "eve"] {
            cast.applies(who, &again.commit);
            cast.waits(who, 1_000);
        }
        let outcome = cast.takes("frank", &again.welcome);
        if took_the_first {
            // It may be the membership after a removal that is still to come; then it is what leads out of here.
            assert_eq!(outcome.verdict, WAITS);
            assert!(invited(&cast.waits("frank", 121_000)));
        } else {
            assert!(invited(&outcome));
        }
        cast.accepts_all("frank");
        cast.all_agree("invited again");
        cast.all_speak();
    }
}

/// What of the Welcomes of a commit is to be published. (The first tick of a process hands out others, too.)
fn welcomes(made: &Pending, outcome: &Outcome) -> Vec<Event> {
    let ours = |event: &&Event| made.welcomes.iter().any(|welcome| welcome.id() == event.id());
    outcome.reply.iter().filter(ours).cloned().collect()
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(Event::id).collect()
}

/// Alice has prepared a commit that adds carol, and what of its Welcomes was handed out by what she has heard.
struct Adding {
    cast: Cast,
    made: Pending,
    handed_out: Vec<Event>,
}

impl Adding {
    /// Alice, bob and dave are admins; carol is nobody yet. All are settled.
    fn new() -> Self {
        let mut cast = Cast::new(&["alice", "bob", "dave"], &["bob", "dave"]);
        cast.rest(9_000);
        cast.enters("carol");
        let package = cast.at("carol").member.key_package();
        let made =
            cast.prepares("alice", |engine, group| engine.add_members(group, &[package], false));
        Self { cast, made, handed_out: Vec::new() }
    }

    fn confirmed() -> Self {
        let mut adding = Self::new();
        adding.cast.at("alice").member.confirms(&adding.made);
        adding
    }

    fn commit(&self) -> Event {
        event(&self.made).clone()
    }

    fn alice_takes(&mut self, events: &[Event]) {
        for event in events {
            let told = self.cast.takes("alice", event);
            self.handed_out.extend(welcomes(&self.made, &told));
        }
    }

    fn alice_waits(&mut self, millis: u64) {
        let told = self.cast.waits("alice", millis);
        self.handed_out.extend(welcomes(&self.made, &told));
    }

    /// Bob has heard of nothing, and makes two commits that beat it.
    fn loses(&mut self) {
        let here = line(&mut self.cast, "bob", ["b1", "b2"]);
        self.alice_takes(&here);
        self.alice_waits(10_000);
    }

    /// Dave follows it.
    fn is_followed(&mut self) {
        let commit = self.commit();
        self.cast.takes("dave", &commit);
        self.cast.waits("dave", 10_000);
    }

    /// Alice ends, and begins again.
    fn restarts(&mut self) {
        self.cast.restarts("alice");
        self.handed_out.clear();
        self.alice_waits(1_000);
    }

    fn carol_joins(&mut self) {
        assert_eq!(ids(&self.handed_out), ids(&self.made.welcomes));
        let welcome = self.handed_out[0].clone();
        assert_eq!(self.cast.takes("carol", &welcome).verdict, Verdict::Applied);
        self.cast.accepts_all("carol");
        // What went out twice is seen.
        let again = self.cast.takes("carol", &self.made.welcomes[0]).verdict;
        assert_eq!(again, Verdict::Duplicate);
    }
}

/// Commits one after the other, by somebody who has heard of nothing else meanwhile.
fn line(cast: &mut Cast, who: Who, names: [&str; 2]) -> [Event; 2] {
    names.map(|name| {
        let commit = cast.renames(who, name);
        cast.waits(who, 10_000);
        commit
    })
}

/// Dave renames the group and removes somebody.
fn renames_and_removes(cast: &mut Cast, whom: Who) -> [Event; 2] {
    let renamed = cast.renames("dave", "d1");
    cast.waits("dave", 10_000);
    [renamed, cast.removes("dave", whom)]
}

// rule: C2-8
/// Alice ends between her commit that adds carol and the publication of its Welcome. The commit loses to two of bob's,
/// and wins with two that dave makes on it: then the Welcome goes out, also after a restart, and not while it is lost.
#[test]
fn a_commit_that_lost_and_wins_again_invites() {
    for restart in [false, true] {
        let mut adding = Adding::confirmed();
        adding.loses();
        assert_eq!(adding.cast.info("alice").member_count, 3);
        assert!(adding.handed_out.is_empty(), "it is not true");
        adding.restarts();
        adding.alice_waits(1_000);
        assert!(adding.handed_out.is_empty(), "it is not true");

        adding.is_followed();
        let there = line(&mut adding.cast, "dave", ["d1", "d2"]);
        adding.alice_takes(&there);
        let commit = adding.commit();
        adding.cast.hears("bob", [&commit, &there[0], &there[1]]);
        adding.cast.waits("bob", 10_000);
        adding.alice_waits(10_000);
        assert_eq!(adding.cast.info("alice").member_count, 4);
        if restart {
            adding.restarts();
        }
        adding.carol_joins();
        let cast = &mut adding.cast;
        cast.hears("carol", &there);
        cast.waits("carol", 10_000);
        cast.all_agree("it is true");
        for other in ["alice", "bob", "dave"] {
            cast.speak("carol", other);
        }
    }
}

// rule: C2-8
/// A relay has the commit, and its answer was lost, so the program gave the commit up. It comes back, and is true at
/// once, or when others have built on it.
#[test]
fn a_commit_that_was_given_up_and_is_true_invites() {
    for (rival, restart) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut adding = Adding::new();
        let id = adding.made.id;
        adding.cast.engine("alice").discard(id).unwrap();
        adding.alice_waits(1_000);
        assert!(adding.handed_out.is_empty());
        if restart {
            adding.restarts();
            assert!(adding.handed_out.is_empty());
        }
        let commit = adding.commit();
        if rival {
            adding.loses();
            adding.alice_takes(&[commit]);
            adding.alice_waits(10_000);
            assert!(adding.handed_out.is_empty(), "it is not true");
            adding.is_followed();
            let there = line(&mut adding.cast, "dave", ["d1", "d2"]);
            adding.alice_takes(&there);
        } else {
            let came = adding.cast.applies("alice", &commit);
            adding.handed_out.extend(welcomes(&adding.made, &came));
        }
        adding.alice_waits(10_000);
        assert_eq!(adding.cast.info("alice").member_count, 4, "{rival} {restart}");
        if restart {
            adding.restarts();
        }
        adding.carol_joins();
        assert_eq!(adding.cast.state("carol"), GroupState::Active);
        if !rival {
            adding.cast.speak("carol", "alice");
        }
    }
}

// shows: C2-8
/// Alice's commit wins with one of dave's that puts her out: carol is a member for all who are left, and only alice has
/// the Welcome.
#[test]
fn who_is_put_out_still_invites_whom_its_commit_has_added() {
    let mut adding = Adding::confirmed();
    adding.loses();
    adding.is_followed();
    let there = renames_and_removes(&mut adding.cast, "alice");
    adding.handed_out.clear();
    adding.alice_takes(&there);
    adding.alice_waits(10_000);
    assert_eq!(adding.cast.state("alice"), GroupState::Removed);
    adding.carol_joins();
    adding.cast.hears("carol", &there);
    adding.cast.waits("carol", 10_000);
    adding.cast.speak("carol", "dave");
}

// shows: C2-8
/// On the branch that wins somebody has removed carol again: nothing goes out to her, until a branch wins that keeps her.
#[test]
fn who_is_no_member_any_more_is_not_invited() {
    let mut adding = Adding::confirmed();
    adding.loses();
    adding.is_followed();
    // (of dave there are two, as after a backup)
    adding.cast.copies("dave", "other");
    let without = renames_and_removes(&mut adding.cast, "carol");
    adding.handed_out.clear();
    adding.alice_takes(&without);
    adding.alice_waits(10_000);
    assert!(adding.handed_out.is_empty());
    let info = adding.cast.info("alice");
    assert_eq!((info.name.as_str(), info.member_count), ("d1", 3));
    adding.cast.waits("other", 10_000);
    let keeps = [["e1", "e2"], ["e3", "e4"]].map(|names| line(&mut adding.cast, "other", names));
    adding.alice_takes(&keeps.concat());
    adding.alice_waits(10_000);
    assert_eq!(adding.cast.name("alice"), "e4");
    assert_eq!(ids(&adding.handed_out), ids(&adding.made.welcomes));
}
