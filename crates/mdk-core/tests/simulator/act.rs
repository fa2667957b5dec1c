//! What each step of a plan does.

use mdk_core::{Engine, GroupUpdate, NewMessage, Outgoing, Pending};
use mdk_wire::{Event, GroupId, kind};

use super::plan::{Act, Step, draw};
use super::world::{Checked, Said, World};

impl World {
    /// Plays a step; then time passes and everybody has a turn.
    pub fn play(&mut self, step: &Step) -> Checked {
        let salt = step.salt;
        self.tell(|_| format!("{:?}", step.act));
        self.act(step.act, salt)?;
        self.pass(10 + draw(&[salt, 20]) % 200);
        for who in 0..self.members.len() {
            // Not everybody is awake all the time.
            if !draw(&[salt, 21, who as u64]).is_multiple_of(4) {
                self.turn(who, draw(&[salt, 22, who as u64]))?;
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act, salt: u64) -> Checked {
        let n = self.members.len();
        let admin = matches!(
            act,
            Act::Add(..)
                | Act::Remove(..)
                | Act::Rename(_)
                | Act::Promote(..)
                | Act::Demote(..)
                | Act::Race(..)
                | Act::Disband(_)
        );
        let who = self.who(act.actor(), admin);
        let key = |world: &Self, i: usize| world.members[i % n].keys.public_key();
        let group = self.group.clone();
        match act {
            Act::Send(_) => {
                let text = format!("{salt:x}");
                let new = NewMessage { text, kind: kind::CHAT, ..NewMessage::default() };
                self.says(who, salt, |e, g| e.create_message(g, new))
            }
            Act::React(_) => {
                let Some(said) = self.said.get(draw(&[salt, 30]) as usize % self.said.len().max(1))
                else {
                    return Ok(());
                };
                let target = said.id;
                self.says(who, salt, |e, g| e.react(g, &target, "+"))
            }
            Act::Add(a, b) => {
                // By the inviter's own account: the other may stand where nobody else does.
                let there = self.call(who, |e| e.members(&group)).unwrap_or_default();
                let is_there = |key| there.iter().any(|member| member.public_key == key);
                let mut others = (0..n).map(|step| (a + b + step) % n);
                let Some(other) = others.find(|other| !is_there(key(self, *other))) else {
                    return Ok(());
                };
                if !self.may_commit(who) {
                    return Ok(());
                }
                let package: Event = self.key_package(other)?;
                let promote = draw(&[salt, 31]).is_multiple_of(3);
                self.commits(who, salt, |e, g| e.add_members(g, &[package], promote))
            }
            Act::Remove(_, b) => {
                let other = key(self, b);
                self.commits(who, salt, |e, g| e.remove_members(g, &[other]))
            }
            Act::Rename(_) => self.renames(who, salt),
            Act::SelfUpdate(_) => self.commits(who, salt, |e, g| e.self_update(g)),
            Act::Leave(_) => {
                if let Some(event) = self.wish(who, "leave", |e| e.leave(&group))? {
                    self.members[who].asked = true;
                    self.send(who, &event, salt);
                }
                Ok(())
            }
            Act::Promote(_, b) => {
                let other = key(self, b);
                self.commits(who, salt, |e, g| e.promote(g, &[other]))
            }
            Act::Demote(_, b) => {
                let other = key(self, b);
                self.commits(who, salt, |e, g| e.demote(g, &[other]))
            }
            Act::Race(a, b) => {
                let other = self.who(a + 1 + b, true);
                let before = self.commits;
                self.renames(who, draw(&[salt, 32]))?;
                self.renames(other, draw(&[salt, 33]))?;
                // Sometimes one of them goes on before either has heard of the other.
                if draw(&[salt, 34]).is_multiple_of(3) {
                    self.acknowledge(other, true)?;
                    self.renames(other, draw(&[salt, 35]))?;
                }
                self.races += u64::from(self.commits >= before + 2);
                Ok(())
            }
            Act::Crowd(a) => {
                let before = self.commits;
                for who in 0..n {
                    self.commits((a + who) % n, salt, |e, g| e.self_update(g))?;
                }
                self.races += u64::from(self.commits >= before + 2);
                Ok(())
            }
            Act::Disband(_) => {
                self.disbanding = true;
                self.commits(who, salt, |e, g| e.disband(g))
            }
            Act::Wait(millis) => {
                self.pass(millis);
                Ok(())
            }
            Act::Cut(a) => {
                // Somebody has to be there.
                if self.net.cut.len() + 1 < n {
                    self.net.cut.insert(a % n);
                }
                Ok(())
            }
            Act::Heal(a) => {
                self.heals(a % n, salt);
                Ok(())
            }
            Act::Resync(a) => {
                let missed = self.net.resync(a % n, salt);
                self.take(a % n, &missed, salt, false)
            }
            Act::Restart(a) => {
                self.open(a % n);
                self.adopt(a % n, salt)
            }
            Act::DieWithCommit(_) => self.dies_with_commit(who, salt),
            Act::DieWithReplies(a) => {
                let due = self.net.due(a % n, self.now);
                self.take(a % n, &due, salt, true)
            }
            Act::Skew(a, seconds) => {
                self.members[a % n].skew = seconds;
                self.set_clock(a % n);
                Ok(())
            }
        }
    }

    fn renames(&mut self, who: usize, salt: u64) -> Checked {
        let update = GroupUpdate { name: Some(format!("{salt:x}")), ..GroupUpdate::default() };
        self.commits(who, salt, |e, g| e.update_group(g, update))
    }

    fn commits(
        &mut self,
        who: usize,
        salt: u64,
        f: impl FnOnce(&mut Engine, &GroupId) -> mdk_core::Result<Pending>,
    ) -> Checked {
        if !self.may_commit(who) {
            return Ok(());
        }
        let group = self.group.clone();
        if let Some(made) = self.wish(who, "a commit", |e| f(e, &group))? {
            self.publish(who, &made, salt);
        }
        Ok(())
    }

    fn says(
        &mut self,
        who: usize,
        salt: u64,
        f: impl FnOnce(&mut Engine, &GroupId) -> mdk_core::Result<Outgoing>,
    ) -> Checked {
        let group = self.group.clone();
        self.look(who)?;
        let Some(state) = self.members[who].tip else { return Ok(()) };
        if let Some(sent) = self.wish(who, "a message", |e| f(e, &group))? {
            self.send(who, &sent.event, salt);
            let (id, event, at) = (sent.message.id, sent.event.id(), sent.event.created_at());
            self.spoken.push((who, state, id));
            if sent.message.kind == kind::CHAT {
                self.said.push(Said { id, event, at, by: who, state });
            }
        }
        Ok(())
    }

    pub fn heals(&mut self, who: usize, salt: u64) {
        for (n, (json, id)) in self.net.heal(who).into_iter().enumerate() {
            let ack = self.net.publish(who, json, id, self.now, draw(&[salt, 34, n as u64]));
            let mine = self.members[who].published.iter_mut().find(|p| p.event == id);
            if let Some(commit) = mine {
                commit.ack = ack;
            }
        }
    }

    /// The same bytes are handed out again after the restart, and published then.
    fn dies_with_commit(&mut self, who: usize, salt: u64) -> Checked {
        if !self.may_commit(who) {
            return Ok(());
        }
        let group = self.group.clone();
        let made = self.wish(who, "a commit", |e| e.self_update(&group))?;
        self.open(who);
        self.adopt(who, salt)?;
        let again = made.is_none_or(|made| {
            let event = made.event.as_ref().map(Event::id);
            self.members[who].published.iter().any(|p| Some(p.event) == event)
        });
        if again {
            return Ok(());
        }
        super::world::fault("forgotten", format!("member {who} forgot a prepared commit"))
    }

    /// The member that a number means: one who is in the group, and an admin if that is needed and there is one.
    fn who(&mut self, number: usize, admin: bool) -> usize {
        let live: Vec<usize> =
            (0..self.members.len()).filter(|i| self.members[*i].tip.is_some()).collect();
        let mut fit = live.clone();
        if admin {
            let group = self.group.clone();
            fit.retain(|i| {
                let key = self.members[*i].keys.public_key();
                self.call(*i, |e| e.group(&group)).is_ok_and(|info| info.admins.contains(&key))
            });
        }
        let fit = if fit.is_empty() { live } else { fit };
        if fit.is_empty() { number % self.members.len() } else { fit[number % fit.len()] }
    }
}
