//! Members on disk who live in one group: `cast.renames("alice", "here")`, one line for each thing that somebody does.

use std::borrow::Borrow;

use mdk_core::testing::{self, Watch};
use mdk_core::{
    Engine, Error, EventBody, GroupInfo, GroupState, GroupUpdate, Invite, Message, Outcome, Pending,
};
use mdk_wire::{Event, GroupId, PublicKey};

use super::acts;
use super::fork::{End, Filed, numbered};
use super::{event, folder, received};

/// By what name somebody goes in a test.
pub type Who = &'static str;

/// Members of one group, and who is to come.
pub struct Cast {
    pub group: GroupId,
    all: Vec<Filed>,
    names: Vec<Who>,
    place: tempfile::TempDir,
}

/// The commit that added somebody, and the Welcome to it.
pub struct Added {
    pub commit: Event,
    pub welcome: Event,
}

impl Cast {
    /// The first one founds a group with the others and makes some of them its admins; all are settled.
    pub fn new(names: &[Who], admins: &[Who]) -> Self {
        Self::arranged(names, admins, |_| ())
    }

    /// As [`Cast::new`], when it was decided who plays whom.
    pub fn arranged(names: &[Who], admins: &[Who], arrange: impl FnOnce(&mut [Filed])) -> Self {
        let place = folder();
        let mut all = numbered(place.path(), names);
        arrange(&mut all);
        let (first, others) = all.split_at_mut(1);
        let mut others: Vec<_> = others.iter_mut().map(|other| &mut other.member).collect();
        let group = first[0].member.founds("before", &mut others);
        let mut cast = Self { group, all, names: names.to_vec(), place };
        if !admins.is_empty() {
            let promoted = cast.promotes(names[0], admins);
            cast.hears_all_but(names[0], [&promoted]);
        }
        cast.rest(1_000);
        cast
    }

    /// Alice and bob, both admins, and a third one, a member. Of alice and bob the first one's commits win.
    pub fn two_admins_and(third: Who) -> Self {
        Self::arranged(&["alice", "bob", third], &["bob"], |all| {
            all[..2].sort_by_key(|filed| filed.member.key());
        })
    }

    fn index(&self, who: &str) -> usize {
        let found = self.names.iter().position(|name| *name == who);
        found.unwrap_or_else(|| panic!("there is no {who}"))
    }

    pub fn names(&self) -> Vec<Who> {
        self.names.clone()
    }

    pub fn at(&mut self, who: &str) -> &mut Filed {
        let at = self.index(who);
        &mut self.all[at]
    }

    pub fn engine(&mut self, who: &str) -> &mut Engine {
        &mut self.at(who).member.engine
    }

    pub fn two(&mut self, one: &str, other: &str) -> (&mut Filed, &mut Filed) {
        let both = [one, other].map(|who| self.index(who));
        let [one, other] = self.all.get_disjoint_mut(both).expect("two members");
        (one, other)
    }

    pub fn key(&self, who: &str) -> PublicKey {
        self.all[self.index(who)].member.key()
    }

    /// Somebody who is in no group yet.
    pub fn enters(&mut self, who: Who) {
        let number = u8::try_from(self.all.len() + 1).expect("a number");
        self.all.push(Filed::new(self.place.path(), who, number));
        self.names.push(who);
    }

    /// A copy of somebody's database goes its own way.
    pub fn copies(&mut self, who: &str, copy: Who) {
        let place = self.place.path().join(copy);
        std::fs::create_dir(&place).expect("a folder");
        let filed = self.at(who).copied(&place);
        self.all.push(filed);
        self.names.push(copy);
    }

    /// Takes somebody out, whose database outlives it.
    pub fn parts_with(&mut self, who: &str) -> Filed {
        let at = self.index(who);
        self.names.remove(at);
        self.all.remove(at)
    }
}

/// What somebody does.
impl Cast {
    pub fn prepares(
        &mut self,
        who: &str,
        change: impl FnOnce(&mut Engine, &GroupId) -> mdk_core::Result<Pending>,
    ) -> Pending {
        let group = self.group.clone();
        change(self.engine(who), &group).expect("a change")
    }

    /// A commit that is true at once for who makes it.
    pub fn commits(
        &mut self,
        who: &str,
        change: impl FnOnce(&mut Engine, &GroupId) -> mdk_core::Result<Pending>,
    ) -> Event {
        let pending = self.prepares(who, change);
        self.at(who).member.confirms(&pending);
        event(&pending).clone()
    }

    pub fn updates(&mut self, who: &str, update: GroupUpdate) -> Event {
        self.commits(who, |engine, group| engine.update_group(group, update))
    }

    pub fn renames(&mut self, who: &str, name: &str) -> Event {
        self.updates(who, GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() })
    }

    /// A new leaf.
    pub fn renews(&mut self, who: &str) -> Event {
        self.commits(who, |engine, group| engine.self_update(group))
    }

    pub fn removes(&mut self, who: &str, whom: &str) -> Event {
        let key = self.key(whom);
        self.commits(who, |engine, group| engine.remove_members(group, &[key]))
    }

    pub fn promotes(&mut self, who: &str, whom: &[Who]) -> Event {
        let keys: Vec<_> = whom.iter().map(|whom| self.key(whom)).collect();
        self.commits(who, |engine, group| engine.promote(group, &keys))
    }

    pub fn demotes(&mut self, who: &str, whom: &str) -> Event {
        let key = self.key(whom);
        self.commits(who, |engine, group| engine.demote(group, &[key]))
    }

    pub fn disbands(&mut self, who: &str) -> Event {
        self.commits(who, |engine, group| engine.disband(group))
    }

    pub fn adds_by(&mut self, who: &str, package: &Event) -> Added {
        let packages = std::slice::from_ref(package);
        let pending =
            self.prepares(who, |engine, group| engine.add_members(group, packages, false));
        self.at(who).member.confirms(&pending);
        Added { commit: event(&pending).clone(), welcome: pending.welcomes[0].clone() }
    }

    /// Whom it adds may be new here.
    pub fn adds(&mut self, who: &str, whom: Who) -> Added {
        if !self.names.contains(&whom) {
            self.enters(whom);
        }
        let package = self.at(whom).member.key_package();
        self.adds_by(who, &package)
    }

    pub fn says(&mut self, who: &str, text: &str) -> Event {
        let group = self.group.clone();
        self.at(who).member.says(&group, text)
    }

    pub fn leaves(&mut self, who: &str) -> Event {
        let group = self.group.clone();
        self.engine(who).leave(&group).expect("leaving")
    }

    /// Answers a leave, however long another one may be waited for.
    pub fn answers(&mut self, who: &str, leave: &Event) -> Event {
        let mut replies = self.takes(who, leave).reply;
        for _ in 0..120 {
            replies.extend(self.waits(who, 1_000).reply);
        }
        let [answer] = replies.try_into().expect("one answer");
        answer
    }

    pub fn takes(&mut self, who: &str, event: &Event) -> Outcome {
        self.at(who).takes(event)
    }

    pub fn applies(&mut self, who: &str, event: &Event) -> Outcome {
        self.at(who).member.applies(event)
    }

    pub fn hears(&mut self, who: &str, events: impl IntoIterator<Item: Borrow<Event>>) {
        for event in events {
            self.takes(who, event.borrow());
        }
    }

    pub fn all_hear(&mut self, events: impl IntoIterator<Item: Borrow<Event>>) {
        let events: Vec<_> = events.into_iter().collect();
        for member in &mut self.all {
            events.iter().for_each(|event| drop(member.takes(event.borrow())));
        }
    }

    pub fn hears_all_but(&mut self, who: &str, events: impl IntoIterator<Item: Borrow<Event>>) {
        let events: Vec<_> = events.into_iter().collect();
        for name in self.names().into_iter().filter(|name| *name != who) {
            self.hears(name, events.iter().map(Borrow::borrow));
        }
    }

    /// Time passes for one, who is told.
    pub fn waits(&mut self, who: &str, millis: u64) -> Outcome {
        self.at(who).waits(millis)
    }

    pub fn waits_often(&mut self, who: &str, times: usize, millis: u64) {
        (0..times).for_each(|_| drop(self.waits(who, millis)));
    }

    /// Time passes for all.
    pub fn rest(&mut self, millis: u64) {
        self.all.iter_mut().for_each(|member| drop(member.waits(millis)));
    }

    pub fn restarts(&mut self, who: &str) {
        self.at(who).restarts();
    }

    /// Takes a Welcome, and accepts all that it is asked.
    pub fn joins(&mut self, who: &str, welcome: &Event) {
        self.at(who).member.joins(std::slice::from_ref(welcome));
    }

    pub fn accepts_all(&mut self, who: &str) {
        self.at(who).member.joins(&[]);
    }

    /// Accepts what one has invited it to, which may be said twice.
    pub fn accepts(&mut self, who: &str, inviter: &str) {
        let invite = self.invite_by(who, inviter);
        for _ in 0..2 {
            let info = self.engine(who).accept(&invite.id).expect("accepting");
            assert_eq!(info.state, GroupState::Active);
        }
    }

    pub fn declines(&mut self, who: &str, inviter: &str) {
        let invite = self.invite_by(who, inviter);
        self.engine(who).decline(&invite.id).expect("declining");
        let again = self.engine(who).decline(&invite.id);
        assert!(matches!(again, Err(Error::InviteNotFound)));
    }
}

/// What somebody sees.
impl Cast {
    pub fn info(&mut self, who: &str) -> GroupInfo {
        let group = self.group.clone();
        self.at(who).member.info(&group)
    }

    pub fn state(&mut self, who: &str) -> GroupState {
        self.info(who).state
    }

    pub fn name(&mut self, who: &str) -> String {
        self.info(who).profile.name
    }

    pub fn texts(&mut self, who: &str) -> Vec<String> {
        let group = self.group.clone();
        self.at(who).member.texts(&group)
    }

    pub fn messages(&mut self, who: &str) -> Vec<Message> {
        let group = self.group.clone();
        self.engine(who).messages(&group, 100, None, None).expect("messages")
    }

    pub fn end(&mut self, who: &str) -> End {
        let group = self.group.clone();
        self.at(who).ends(&group)
    }

    /// The name of the state that somebody is in.
    pub fn tip(&mut self, who: &str) -> String {
        self.end(who).authenticator
    }

    pub fn watch(&mut self, who: &str) -> Watch {
        let group = self.group.clone();
        testing::watch(self.engine(who), &group).expect("the group")
    }

    /// How long a commit of its own would have to wait, if at all.
    pub fn settles_in(&mut self, who: &str) -> Option<u64> {
        let group = self.group.clone();
        match self.engine(who).self_update(&group) {
            Ok(own) => self.engine(who).discard(own.id).map(|()| None).expect("giving it up"),
            Err(Error::Settling { millis }) => Some(millis),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// How many states are retained beside the followed branch.
    pub fn beside(&mut self, who: &str) -> usize {
        self.watch(who).states.iter().filter(|state| !state.followed).count()
    }

    /// Everything that somebody was told.
    pub fn log(&mut self, who: &str) -> Vec<EventBody> {
        let events = self.engine(who).events(0, 100_000).expect("a log");
        events.into_iter().map(|event| event.body).collect()
    }

    pub fn invites(&mut self, who: &str) -> Vec<Invite> {
        self.engine(who).invites().expect("invites")
    }

    pub fn inviters(&mut self, who: &str) -> Vec<PublicKey> {
        self.invites(who).iter().map(|invite| invite.inviter).collect()
    }

    pub fn invite_by(&mut self, who: &str, inviter: &str) -> Invite {
        let key = self.key(inviter);
        let mut all = self.invites(who);
        all.retain(|invite| invite.inviter == key);
        assert_eq!(all.len(), 1, "invitations of {inviter}");
        all.remove(0)
    }

    /// Whether the group's events are subscribed to.
    pub fn subscribes(&mut self, who: &str, route: &str) -> bool {
        let interests = self.engine(who).interests().expect("interests");
        interests.iter().any(|interest| interest.filter.contains(route))
    }
}

/// What must be.
impl Cast {
    /// These are in one state.
    #[track_caller]
    pub fn agree(&mut self, who: &[Who], case: &str) {
        let tips: Vec<_> = who.iter().map(|who| (*who, self.tip(who))).collect();
        assert!(tips.windows(2).all(|two| two[0].1 == two[1].1), "{case}: {tips:?}");
    }

    /// All are in one state.
    #[track_caller]
    pub fn all_agree(&mut self, case: &str) {
        self.agree(&self.names(), case);
    }

    /// These are in one state and have read the same.
    #[track_caller]
    pub fn same(&mut self, who: &[Who]) {
        let ends: Vec<_> = who.iter().map(|who| self.end(who)).collect();
        assert!(ends.windows(2).all(|two| two[0] == two[1]), "{ends:#?}");
    }

    /// Each of the two hears the other.
    #[track_caller]
    pub fn speak(&mut self, one: &str, other: &str) {
        let group = self.group.clone();
        let (one, other) = self.two(one, other);
        acts::speak(one, other, &group);
    }

    /// Everybody hears everybody.
    #[track_caller]
    pub fn all_speak(&mut self) {
        for from in self.names() {
            let text = format!("from {from}");
            let said = self.says(from, &text);
            for to in self.names().into_iter().filter(|to| *to != from) {
                assert_eq!(received(&self.applies(to, &said)), std::slice::from_ref(&text));
            }
        }
    }

    /// One who can read what the other says.
    #[track_caller]
    pub fn is_with(&mut self, who: &str, other: &str) {
        assert_eq!(self.state(who), GroupState::Active);
        assert_eq!(self.tip(who), self.tip(other));
        self.speak(other, who);
    }

    /// Somebody commits on, these follow, and nothing of what competed before is retained.
    #[track_caller]
    pub fn forgets_what_competed(&mut self, who: &str, others: &[Who], case: &str) {
        for _ in 0..7 {
            let own = self.renews(who);
            for other in others {
                self.takes(other, &own);
                self.waits(other, 1_000);
            }
            self.waits(who, 1_000);
        }
        let states = self.watch(who).states;
        assert!(states.iter().all(|state| state.followed) && states.len() == 6, "{case}");
    }
}
