//! Who is invited on two branches, of which one has put out whoever made the invitation to the other.

use mdk_core::{DeferredReason, GroupState, Pending, Verdict};
use mdk_wire::{Event, GroupId};

use crate::kit::acts::{adds, commits, removes, renames, speak};
use crate::kit::fork::{Filed, two_admins_and};
use crate::kit::{event, folder};

/// How bob's branch puts alice out of its admins.
type PutsOut = fn(&mut Filed, &GroupId, &Filed) -> Pending;

fn demotes(member: &mut Filed, group: &GroupId, other: &Filed) -> Pending {
    let pending = member.member.engine.demote(group, &[other.member.key()]).unwrap();
    commits(member, pending)
}

const WAYS: [PutsOut; 2] = [removes, demotes];

/// Alice and bob, both admins, and dave; bob adds carol and puts alice out.
struct Apart {
    place: tempfile::TempDir,
    all: Vec<Filed>,
    carol: Filed,
    group: GroupId,
    invited: Pending,
    put_out: Pending,
}

impl Apart {
    fn new(puts_out: PutsOut) -> Self {
        let place = folder();
        let (mut all, group) = two_admins_and("dave", place.path());
        let mut carol = Filed::new(place.path(), "carol", 4);
        let [alice, bob, _] = all.as_mut_slice() else { panic!() };
        let invited = adds(bob, &group, &mut carol);
        let put_out = puts_out(bob, &group, alice);
        Self { place, all, carol, group, invited, put_out }
    }

    /// Alice adds carol after some commits, and makes more.
    fn alice_goes_on(&mut self, before: usize, after: usize) -> (Vec<Event>, Event) {
        let alice = &mut self.all[0];
        let mut line: Vec<Event> = (0..before)
            .map(|n| event(&renames(alice, &self.group, &format!("before {n}"))).clone())
            .collect();
        let added = adds(alice, &self.group, &mut self.carol);
        line.push(event(&added).clone());
        line.extend(
            (0..after).map(|n| event(&renames(alice, &self.group, &format!("after {n}"))).clone()),
        );
        (line, added.welcomes[0].clone())
    }

    /// Carol is with bob, on whose branch alice is nobody.
    fn carol_is_with_bob(&mut self) {
        self.carol.takes(&self.invited.welcomes[0]);
        self.carol.member.joins(&[]);
        self.carol.member.applies(event(&self.put_out));
    }

    /// All others hear of everything and end where alice is. Carol follows when she has heard another one there.
    fn ends_with_alice(&mut self, line: &[Event], what: &str) {
        let began = self.carol.ends(&self.group).authenticator;
        for member in self.all.iter_mut().chain([&mut self.carol]) {
            for event in [event(&self.invited), event(&self.put_out)].into_iter().chain(line) {
                member.takes(event);
            }
            (0..3).for_each(|_| drop(member.waits(1_000)));
        }
        let Self { all, carol, group, .. } = self;
        let said = all[0].member.says(group, "alice alone");
        carol.takes(&said);
        (0..3).for_each(|_| drop(carol.waits(60_000)));
        assert_eq!(carol.ends(group).authenticator, began, "{what}: alice may be alone there");
        let said = [all[2].member.says(group, "dave, too")];
        said.iter().for_each(|said| drop(carol.takes(said)));
        (0..3).for_each(|_| drop(carol.waits(1_000)));
        let end = all[0].ends(group);
        for member in all[1..].iter_mut().chain([&mut *carol]) {
            assert_eq!(member.ends(group).authenticator, end.authenticator, "{what}");
        }
        let info = carol.member.info(group);
        assert_eq!((info.state, info.member_count), (GroupState::Active, 4), "{what}");
        assert_eq!(carol.member.texts(group), ["alice alone", "dave, too"], "{what}");
        speak(&mut all[0], carol, group);
    }
}

// shows: B4-37
#[test]
fn an_invitation_of_one_who_was_put_out_since_is_compared() {
    for puts_out in WAYS {
        for restart in [false, true] {
            let mut apart = Apart::new(puts_out);
            let (line, welcome) = apart.alice_goes_on(0, 3);
            apart.carol_is_with_bob();
            let verdict = apart.carol.takes(&welcome).verdict;
            assert_eq!(verdict, Verdict::Deferred(DeferredReason::Rival));
            if restart {
                apart.carol.restarts();
            }
            apart.ends_with_alice(&line, "at once");
        }
    }
}

// shows: B4-37
/// It leads further than carol's own beginning, by less or by more than bob's branch has gone, so it waits for a removal first.
#[test]
fn one_that_leads_further_is_compared_when_it_has_waited() {
    for puts_out in WAYS {
        for (before, after) in [(1, 3), (3, 1)] {
            let mut apart = Apart::new(puts_out);
            let (line, welcome) = apart.alice_goes_on(before, after);
            apart.carol_is_with_bob();
            let verdict = apart.carol.takes(&welcome).verdict;
            assert_eq!(verdict, Verdict::Deferred(DeferredReason::FutureEpoch));
            for _ in 0..3 {
                apart.carol.waits(60_000);
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
        let place = folder();
        let (mut all, group) = two_admins_and("dave", place.path());
        let mut carol = Filed::new(place.path(), "carol", 4);
        let [alice, bob, _] = all.as_mut_slice() else { panic!() };
        puts_out(bob, &group, alice);
        let invited = adds(bob, &group, &mut carol);
        for _ in 0..2 {
            renames(alice, &group, "more");
        }
        let others = adds(alice, &group, &mut carol);
        carol.takes(&invited.welcomes[0]);
        carol.member.joins(&[]);
        let before = carol.ends(&group);
        carol.takes(&others.welcomes[0]);
        for _ in 0..3 {
            carol.waits(60_000);
        }
        assert_eq!(carol.ends(&group), before);
        assert_eq!(carol.member.info(&group).state, GroupState::Active);
        speak(bob, &mut carol, &group);
    }
}

// rule: B4-38
/// Alice is out, and leads carol alone into a copy of her own, as deep as she likes, with somebody who is in no group.
#[test]
fn one_who_was_put_out_leads_nobody_into_a_copy_of_his_own() {
    for puts_out in WAYS {
        for before in [0, 2] {
            let mut apart = Apart::new(puts_out);
            let (mut line, welcome) = apart.alice_goes_on(before, 1);
            let mut mallory = Filed::new(apart.place.path(), "mallory", 9);
            let added = adds(&mut apart.all[0], &apart.group, &mut mallory);
            line.push(event(&added).clone());
            mallory.takes(&added.welcomes[0]);
            mallory.member.joins(&[]);
            line.push(mallory.member.says(&apart.group, "we are all here"));
            apart.carol_is_with_bob();
            let began = apart.carol.ends(&apart.group).authenticator;
            apart.carol.takes(&welcome);
            (0..3).for_each(|_| drop(apart.carol.waits(60_000)));
            line.iter().for_each(|event| drop(apart.carol.takes(event)));
            (0..3).for_each(|_| drop(apart.carol.waits(60_000)));
            assert_eq!(apart.carol.ends(&apart.group).authenticator, began, "{before}");
            let Apart { all, carol, group, .. } = &mut apart;
            speak(&mut all[1], carol, group);
        }
    }
}
