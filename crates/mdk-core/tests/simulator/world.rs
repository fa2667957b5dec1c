//! A world: engines on real stores, their clocks, what they sent, and what was seen of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use mdk_core::testing::{self, Watch};
use mdk_core::{Clock as _, Config, Engine, Error, EventBody, GroupState, ManualClock, NewGroup};
use mdk_store::{DatabaseKey, OpenOptions};
use mdk_wire::{ContentId, Event, EventId, GroupId, Keys, PublicKey, Secret};

use super::net::Net;
use super::plan::{Plan, draw};
use super::tree::{Auth, Tree};
use crate::kit::{RELAY, folder};

/// A fault found: its sort, by which a smaller world is recognised, and what exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub sort: &'static str,
    pub text: String,
}

pub type Checked<T = ()> = Result<T, Fault>;

pub fn fault<T>(sort: &'static str, text: impl Into<String>) -> Checked<T> {
    Err(Fault { sort, text: text.into() })
}

/// A commit of a member's that was handed to the relays.
pub struct Published {
    pub id: i64,
    /// When a relay says that it has it; `None` while it could not be sent.
    pub ack: Option<u64>,
    pub automatic: bool,
    pub event: EventId,
    /// What goes out when it is confirmed, and not before.
    pub welcomes: Vec<Event>,
    /// Decides on what becomes of the relay's answer. (The event's id would be another in each run.)
    pub fate: u64,
}

/// A message that was sent.
pub struct Said {
    pub id: EventId,
    pub event: EventId,
    /// When its event says that it was made.
    pub at: u64,
    pub by: usize,
    pub state: Auth,
}

pub struct Member {
    pub keys: Keys,
    engine: Option<Engine>,
    path: PathBuf,
    pub clock: ManualClock,
    /// What the clock should show, in milliseconds.
    shown: u64,
    pub skew: i64,
    pub published: Vec<Published>,
    pub tip: Option<Auth>,
    /// The state in which it joined the last time.
    pub root: Option<Auth>,
    /// The highest epoch that it was in since it joined: what lies too far below is let go of, and does not come back when
    /// another branch wins that is a commit shorter.
    pub highest: u64,
    /// Messages that came only when their epoch had long gone, and messages that came in time.
    pub late: BTreeSet<EventId>,
    pub in_time: BTreeSet<EventId>,
    /// Messages that were refused for coming too late.
    pub stale: BTreeSet<EventId>,
    /// Messages that it has taken, whatever became of the branch that they were said on.
    pub taken: BTreeSet<EventId>,
    /// How many of the late ones it was neither refused nor told of.
    pub unsaid: u64,
    /// How much had been sent when it joined.
    pub since: usize,
    /// The first second of which everything is for it, as its engine has it.
    pub ours_from: u64,
    /// Commits that have come to it, each with the epoch that it was in then, and those that had come when it joined.
    pub had: BTreeMap<ContentId, u64>,
    pub had_then: BTreeSet<ContentId>,
    /// It has asked to leave since it joined.
    pub asked: bool,
    /// The last state that it was in before it went out of the group.
    pub left_at: Option<Auth>,
    /// Commits of later than that which came when it was out of the group.
    pub late_rivals: BTreeSet<EventId>,
    /// Welcomes that were refused since it is in the group already.
    pub refused: BTreeSet<usize>,
}

/// What a world is broken with, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// Members with an odd number prefer the higher committer key.
    #[allow(dead_code)]
    Order,
}

pub struct World {
    pub plan: Plan,
    pub members: Vec<Member>,
    pub by_key: BTreeMap<PublicKey, usize>,
    pub net: Net,
    pub now: u64,
    pub group: GroupId,
    pub tree: Tree,
    pub said: Vec<Said>,
    /// Everything that was said, reactions too, in its order: by whom, in which state, and what.
    pub spoken: Vec<(usize, Auth, EventId)>,
    /// Commits that were published, by what they carry.
    pub contents: BTreeMap<EventId, ContentId>,
    pub broken: Broken,
    pub commits: u64,
    pub races: u64,
    pub disbanding: bool,
    folder: tempfile::TempDir,
}

impl World {
    pub fn new(plan: &Plan, broken: Broken) -> Checked<Self> {
        let folder = folder();
        let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let start = start.expect("after 1970").as_secs() * 1000;
        let mut members = Vec::new();
        let mut by_key = BTreeMap::new();
        for i in 0..plan.members {
            let mut secret = [0u8; 32];
            for (n, part) in secret.chunks_mut(8).enumerate() {
                part.copy_from_slice(&draw(&[plan.seed, 77, i as u64, n as u64]).to_be_bytes());
            }
            let keys = Keys::from_secret(Secret::new(secret)).expect("a key");
            by_key.insert(keys.public_key(), i);
            let member = Member {
                keys,
                engine: None,
                path: folder.path().join(format!("{i}.db")),
                clock: ManualClock::at(start / 1000),
                shown: start,
                skew: 0,
                published: Vec::new(),
                tip: None,
                root: None,
                highest: 0,
                late: BTreeSet::new(),
                in_time: BTreeSet::new(),
                stale: BTreeSet::new(),
                taken: BTreeSet::new(),
                unsaid: 0,
                since: 0,
                ours_from: 0,
                had: BTreeMap::new(),
                had_then: BTreeSet::new(),
                asked: false,
                left_at: None,
                late_rivals: BTreeSet::new(),
                refused: BTreeSet::new(),
            };
            members.push(member);
        }
        let mut world = Self {
            plan: plan.clone(),
            members,
            by_key,
            net: Net::new(plan.members, plan.relays, plan.echo),
            now: start,
            group: GroupId::from_bytes(&[1; 16]).expect("16 bytes"),
            tree: Tree::default(),
            said: Vec::new(),
            spoken: Vec::new(),
            contents: BTreeMap::new(),
            broken,
            commits: 0,
            races: 0,
            disbanding: false,
            folder,
        };
        (0..plan.members).for_each(|i| world.open(i));
        world.found()?;
        Ok(world)
    }

    pub fn open(&mut self, who: usize) {
        let member = &mut self.members[who];
        member.engine = None;
        let key = DatabaseKey::Raw(Secret::new([9; 32]));
        let clock = Arc::new(member.clock.clone());
        let keys = member.keys.clone();
        let engine = Engine::open(
            &member.path,
            keys,
            &key,
            &OpenOptions::default(),
            Config::default(),
            clock,
        );
        member.engine = Some(engine.expect("the engine opens"));
    }

    /// Every call of an engine.
    pub fn call<T>(
        &mut self,
        who: usize,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>,
    ) -> mdk_core::Result<T> {
        let broken = self.broken == Broken::Order && who % 2 == 1;
        #[cfg(feature = "broken-order")]
        testing::break_order(broken);
        assert!(!broken || cfg!(feature = "broken-order"));
        f(self.members[who].engine.as_mut().expect("it is open"))
    }

    fn found(&mut self) -> Checked {
        let mut packages = Vec::new();
        for i in 1..self.plan.founders {
            packages.push(self.key_package(i)?);
        }
        let admins = (1..self.plan.admins).map(|i| self.members[i].keys.public_key()).collect();
        let new = NewGroup {
            name: "a world".into(),
            relays: vec![RELAY.into()],
            members: packages,
            admins,
            ..NewGroup::default()
        };
        let made = self.must(0, "founding", |e| e.create_group(new))?;
        self.must(0, "founding", |e| e.confirm(made.id))?;
        self.group = made.group_id.clone();
        self.look(0)?;
        for welcome in &made.welcomes {
            for i in 1..self.plan.founders {
                let json = welcome.to_json();
                let outcome = self.must(i, "joining", |e| e.process(json.as_bytes()))?;
                self.after(i, outcome, 0)?;
            }
        }
        Ok(())
    }

    pub fn key_package(&mut self, who: usize) -> Checked<Event> {
        self.must(who, "a KeyPackage", |e| e.new_key_package(&[RELAY.into()], None))
    }

    /// A call that cannot be refused.
    pub fn must<T>(
        &mut self,
        who: usize,
        what: &'static str,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>,
    ) -> Checked<T> {
        let result = self.call(who, f);
        result.map_err(|e| Fault { sort: "error", text: format!("member {who}, {what}: {e}") })
    }

    /// A wish of a user's, that may be refused for a reason that a user can understand.
    pub fn wish<T>(
        &mut self,
        who: usize,
        what: &'static str,
        f: impl FnOnce(&mut Engine) -> mdk_core::Result<T>,
    ) -> Checked<Option<T>> {
        match self.call(who, f) {
            Ok(value) => Ok(Some(value)),
            Err(
                Error::NotAdmin
                | Error::Settling { .. }
                | Error::Contested
                | Error::CommitPending
                | Error::NotMember(_)
                | Error::LastAdmin
                | Error::NotAllowed(_)
                | Error::InvalidInput { .. }
                | Error::GroupNotFound
                | Error::MessageNotFound,
            ) => Ok(None),
            Err(e) => fault("error", format!("member {who}, {what}: {e}")),
        }
    }

    /// Time passes for all, by everybody's own clock.
    pub fn pass(&mut self, millis: u64) {
        self.now += millis;
        for i in 0..self.members.len() {
            self.set_clock(i);
        }
    }

    pub fn set_clock(&mut self, who: usize) {
        let member = &mut self.members[who];
        let shown = self.now.saturating_add_signed(member.skew * 1000);
        if shown < member.clock.now_millis() {
            member.clock.set(shown / 1000);
        }
        member.clock.advance_millis(shown.saturating_sub(member.clock.now_millis()));
        member.shown = shown;
    }

    pub fn state(&mut self, who: usize) -> Option<GroupState> {
        let group = self.group.clone();
        self.call(who, |e| e.group(&group)).ok().map(|info| info.state)
    }

    /// Notes where a member stands.
    pub fn look(&mut self, who: usize) -> Checked<Option<Watch>> {
        let group = self.group.clone();
        let state = match self.call(who, |e| e.group(&group)) {
            Ok(info) => info.state,
            Err(Error::GroupNotFound) => return Ok(None),
            Err(e) => return fault("error", format!("member {who}: {e}")),
        };
        if state == GroupState::Unrecoverable {
            return fault("unrecoverable", format!("member {who} gave up"));
        }
        let watch = self.must(who, "watch", |e| testing::watch(e, &group))?;
        self.tree.learn(&watch.states, &watch.asleep);
        if !matches!(state, GroupState::Active | GroupState::Leaving) {
            if self.members[who].tip.is_some() {
                self.members[who].left_at = self.members[who].tip;
                self.tell(|world| {
                    format!(
                        "{who} is out ({state:?}), after {}",
                        world.name(world.members[who].tip)
                    )
                });
            }
            self.members[who].tip = None;
            // A client fetches its invitations again with each connection, and what was refused since it was in may be from
            // a branch that has kept it (B4-20).
            for welcome in std::mem::take(&mut self.members[who].refused) {
                self.net.misses(who, welcome);
            }
            return Ok(Some(watch));
        }
        let tip = watch.states.iter().filter(|s| s.followed).max_by_key(|s| s.epoch);
        let Some(tip) = tip.map(|s| s.authenticator) else {
            return fault("error", format!("member {who} follows nothing"));
        };
        if self.members[who].root.is_none() {
            self.members[who].root = Some(tip);
            self.members[who].since = self.net.log.len();
            self.members[who].ours_from = watch.ours_from;
            // F7 is about what was made before the join, whatever the engine takes for its time.
            let now = self.members[who].clock.now();
            if watch.ours_from > now + 1 {
                let text =
                    format!("member {who} joined at {now}, and counts from {}", watch.ours_from);
                return fault("late beginning", text);
            }
            self.members[who].had_then = self.members[who].had.keys().copied().collect();
            self.members[who].highest = 0;
        }
        if self.members[who].tip != Some(tip) {
            self.tell(|world| {
                format!(
                    "{who} goes from {} to {}",
                    world.name(world.members[who].tip),
                    world.name(Some(tip))
                )
            });
        }
        let epoch = self.tree.epoch(&tip);
        self.members[who].highest = self.members[who].highest.max(epoch);
        self.members[who].tip = Some(tip);
        if !self.tree.knows_members(&tip) {
            let list = self.must(who, "members", |e| e.members(&group))?;
            let list = list.iter().filter_map(|m| self.by_key.get(&m.public_key).copied());
            self.tree.set_members(tip, list.collect());
        }
        self.bounded(who, &watch)?;
        Ok(Some(watch))
    }

    /// Nothing that is kept grows with time.
    fn bounded(&self, who: usize, watch: &Watch) -> Checked {
        let sent = self.net.log.len();
        for (count, limit, what) in [
            (watch.states.len(), 64, "states"),
            (watch.inputs, 512, "opened commits and proposals"),
            (watch.raw, sent.min(8192), "unopened events"),
        ] {
            if count > limit {
                return fault("unbounded", format!("member {who} keeps {count} {what}"));
            }
        }
        Ok(())
    }

    /// Every event that a member has reported.
    pub fn events(&mut self, who: usize) -> Checked<Vec<EventBody>> {
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let page = self.must(who, "events", |e| e.events(after, 1000))?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.cursor;
            all.extend(page.into_iter().map(|e| e.body));
        }
    }

    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}
