//! A group with a member who has kept his state, and what he makes of it.

use mdk_core::{EventBody, Outcome, Pending};
use mdk_wire::{Event, GroupId, PublicKey};

use crate::kit::fork::{Filed, found, later, numbered};
use crate::kit::{event, folder};

/// Alice and bob are admins; carol is a member, and so is mallory, or an admin. He has kept his state.
pub(super) struct Betrayed {
    /// Alice, bob, carol.
    pub(super) honest: Vec<Filed>,
    pub(super) mallory: Filed,
    /// His state of before.
    pub(super) kept: Filed,
    pub(super) group: GroupId,
    /// What the honest ones have made by themselves, and nobody has yet.
    pub(super) made: Vec<Event>,
    /// All commits of the honest ones since then.
    pub(super) log: Vec<Event>,
    _places: [tempfile::TempDir; 2],
}

impl Betrayed {
    pub(super) fn new(admin: bool) -> Self {
        Self::of(admin, 4)
    }

    /// His number decides his key, by which ties are broken.
    pub(super) fn of(admin: bool, number: u8) -> Self {
        let places = [folder(), folder()];
        let mut all = numbered(places[0].path(), &["alice", "bob", "carol"]);
        all.push(Filed::new(places[0].path(), "mallory", number));
        let group = found(&mut all, if admin { &[1, 3] } else { &[1] });
        later(&mut all, 10_000);
        let mut mallory = all.pop().unwrap();
        let kept = mallory.copied(places[1].path());
        Self {
            honest: all,
            mallory,
            kept,
            group,
            made: Vec::new(),
            log: Vec::new(),
            _places: places,
        }
    }

    pub(super) fn him(&self) -> PublicKey {
        self.mallory.key()
    }

    /// All take a commit of alice, and some time passes.
    pub(super) fn settles(&mut self, pending: &Pending) {
        self.log.push(event(pending).clone());
        self.honest[0].confirms(pending);
        for other in &mut self.honest[1..] {
            other.applies(event(pending));
        }
        self.made.extend(self.honest[0].waits(10_000).reply);
        later(&mut self.honest[1..], 10_000);
    }

    pub(super) fn removed(&mut self, seal: bool) {
        let (him, group) = (self.him(), self.group.clone());
        let alice = &mut self.honest[0].engine;
        let pending = match seal {
            true => alice.remove_and_seal(&group, &[him]),
            false => alice.remove_members(&group, &[him]),
        };
        self.settles(&pending.unwrap());
    }

    /// Commits that he made before, and publishes now.
    pub(super) fn revenge(&mut self, commits: usize) -> Vec<Event> {
        let group = self.group.clone();
        let made = (0..commits).map(|_| self.kept.updates(&group, &mut []).event.unwrap());
        made.collect()
    }

    /// What everybody is told when these come, and the choice is made.
    pub(super) fn come(&mut self, events: &[Event]) -> Vec<Vec<EventBody>> {
        let made = &mut self.made;
        let take = |member: &mut Filed| {
            let mut outcomes = member.takes_all(events);
            outcomes.push(member.waits(6_000));
            let all = outcomes.into_iter();
            let told = |outcome: Outcome| {
                made.extend(outcome.reply);
                outcome.events
            };
            all.flat_map(told).map(|event| event.body).collect()
        };
        self.honest.iter_mut().map(take).collect()
    }

    pub(super) fn members(&mut self) -> Vec<usize> {
        let group = self.group.clone();
        self.honest.iter_mut().map(|member| member.info(&group).member_count).collect()
    }

    /// Lets time pass at alice, and gives what she makes by herself to all.
    pub(super) fn alice_works(&mut self) -> usize {
        let mut made = std::mem::take(&mut self.made);
        made.extend(self.honest[0].waits(2_500).reply);
        self.log.extend(made.iter().cloned());
        for event in &made {
            for member in &mut self.honest {
                member.takes(event);
            }
        }
        later(&mut self.honest[1..], 2_500);
        made.len()
    }

    pub(super) fn contested(&mut self) -> Vec<bool> {
        let group = self.group.clone();
        self.honest.iter_mut().map(|member| member.info(&group).removals.contested).collect()
    }
}

pub(super) fn undone(told: &[EventBody], him: PublicKey) -> Vec<bool> {
    let who = |body: &EventBody| match body {
        EventBody::RemovalUndone { account, demoted, by, .. } => {
            assert_eq!((*account, *by), (him, Some(him)));
            Some(*demoted)
        }
        _ => None,
    };
    told.iter().filter_map(who).collect()
}
