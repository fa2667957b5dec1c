//! What members do: `alice.removes(&group, bob.key(), &mut [&mut carol])`. A commit is confirmed at once, and those who
//! are named apply it.

use std::ops::{Deref, DerefMut};

use mdk_core::testing::say_anything;
use mdk_core::{
    GroupUpdate, Invite, NewGroup, NewMessage, Outcome, Outgoing, Pending, Result, Verdict,
};
use mdk_wire::{Event, GroupId, PublicKey, kind};

use super::fork::Filed;
use super::{Member, RELAY, event, received};

/// A group with these members and the relay of all.
pub fn new_group(name: &str, members: Vec<Event>) -> NewGroup {
    let relays = vec![RELAY.to_owned()];
    NewGroup { name: name.to_owned(), relays, members, ..NewGroup::default() }
}

pub fn chat(text: impl Into<String>) -> NewMessage {
    NewMessage { text: text.into(), kind: kind::CHAT, ..NewMessage::default() }
}

/// Another name.
pub fn named(name: impl Into<String>) -> GroupUpdate {
    GroupUpdate { name: Some(name.into()), ..GroupUpdate::default() }
}

/// Another retention, in seconds.
pub fn kept_for(seconds: u64) -> GroupUpdate {
    GroupUpdate { retention: Some(seconds), ..GroupUpdate::default() }
}

/// Other relays.
pub fn relayed_by(relays: Vec<String>) -> GroupUpdate {
    GroupUpdate { relays: Some(relays), ..GroupUpdate::default() }
}

impl Deref for Filed {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.member
    }
}

impl DerefMut for Filed {
    fn deref_mut(&mut self) -> &mut Member {
        &mut self.member
    }
}

impl Member {
    #[track_caller]
    pub fn commits(&mut self, pending: Result<Pending>, others: &mut [&mut Member]) -> Pending {
        let pending = pending.unwrap();
        self.confirms(&pending);
        for other in others {
            other.applies(event(&pending));
        }
        pending
    }

    #[track_caller]
    pub fn updates(&mut self, group: &GroupId, others: &mut [&mut Member]) -> Pending {
        let pending = self.engine.self_update(group);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn changes(
        &mut self,
        group: &GroupId,
        update: GroupUpdate,
        others: &mut [&mut Member],
    ) -> Pending {
        let pending = self.engine.update_group(group, update);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn promotes(
        &mut self,
        group: &GroupId,
        whom: PublicKey,
        others: &mut [&mut Member],
    ) -> Pending {
        let pending = self.engine.promote(group, &[whom]);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn demotes(
        &mut self,
        group: &GroupId,
        whom: PublicKey,
        others: &mut [&mut Member],
    ) -> Pending {
        let pending = self.engine.demote(group, &[whom]);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn removes(
        &mut self,
        group: &GroupId,
        whom: PublicKey,
        others: &mut [&mut Member],
    ) -> Pending {
        let pending = self.engine.remove_members(group, &[whom]);
        self.commits(pending, others)
    }

    /// The owner of the KeyPackage does not join: the Welcome is in what this returns.
    #[track_caller]
    pub fn adds(&mut self, group: &GroupId, package: Event, others: &mut [&mut Member]) -> Pending {
        let pending = self.engine.add_members(group, &[package], false);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn disbands(&mut self, group: &GroupId, others: &mut [&mut Member]) -> Pending {
        let pending = self.engine.disband(group);
        self.commits(pending, others)
    }

    #[track_caller]
    pub fn sends(&mut self, group: &GroupId, message: NewMessage) -> Outgoing {
        say_anything(&mut self.engine, group, message).unwrap()
    }

    /// As [`Member::says`], with what it is in the history.
    #[track_caller]
    pub fn utters(&mut self, group: &GroupId, text: &str) -> Outgoing {
        self.sends(group, chat(text))
    }

    /// The others read what this one says.
    #[track_caller]
    pub fn tells(&mut self, group: &GroupId, text: &str, others: &mut [&mut Member]) {
        let said = self.says(group, text);
        for other in others {
            assert_eq!(received(&other.applies(&said)), [text], "{} reads it", other.name);
        }
    }

    /// The event breaks this rule.
    #[track_caller]
    pub fn refuses(&mut self, event: &Event, rule: &str) {
        let verdict = self.takes(event).verdict;
        assert!(matches!(verdict, Verdict::Rejected(r) if r.rule == rule), "{verdict:?}");
    }

    /// Declines the one invitation that there is.
    #[track_caller]
    pub fn declines(&mut self) -> Invite {
        let [invite] = self.engine.invites().unwrap().try_into().unwrap();
        self.engine.decline(&invite.id).unwrap();
        invite
    }

    /// Time passes and the engine is told.
    #[track_caller]
    pub fn waits(&mut self, millis: u64) -> Outcome {
        self.clock.advance_millis(millis);
        self.engine.tick().unwrap()
    }

    #[track_caller]
    pub fn digest(&mut self) -> [u8; 32] {
        self.engine.digest().unwrap()
    }
}
