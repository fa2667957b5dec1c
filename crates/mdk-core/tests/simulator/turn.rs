//! A member's turn: what comes to it, what it sends, what the relays say of it.

use mdk_core::{DeferredReason, Engine, Error, Outcome, Pending, RejectCode, Verdict, testing};
use mdk_wire::{Event, kind};

use super::plan::{draw, happens};
use super::world::{Checked, Published, World, fault};

impl World {
    /// What a call brought: answers are published, invites accepted.
    pub fn after(&mut self, who: usize, outcome: Outcome, salt: u64) -> Checked {
        self.tell_marks(who, &outcome);
        self.judge_reply(who, &outcome.reply)?;
        for (n, event) in outcome.reply.iter().enumerate() {
            // Whoever invites asks for a fresh KeyPackage here.
            if event.kind() == kind::KEY_PACKAGE {
                continue;
            }
            self.send(who, event, draw(&[salt, 60, n as u64]));
        }
        let invites = self.must(who, "invites", Engine::invites)?;
        for invite in &invites {
            self.members[who].root = None;
            self.members[who].asked = false;
            self.must(who, "accepting", |e| e.accept(&invite.id))?;
        }
        if outcome.reply.iter().any(|e| e.kind() == kind::GROUP_MESSAGE) {
            self.adopt(who, salt)?;
        }
        self.look(who).map(|_| ())
    }

    /// C2: what is handed out waits for a relay, or is true already; whoever published anything else would be stranded there.
    /// (Who has asked to leave hands out no commits.)
    fn judge_reply(&mut self, who: usize, reply: &[Event]) -> Checked {
        let commits: Vec<&Event> =
            reply.iter().filter(|e| e.kind() == kind::GROUP_MESSAGE).collect();
        if commits.is_empty() || self.members[who].asked {
            return Ok(());
        }
        let pending = self.must(who, "pending", Engine::pending)?;
        let group = self.group.clone();
        for event in commits {
            if pending.iter().any(|made| made.event.as_ref() == Some(event)) {
                continue;
            }
            let watch = self.must(who, "watch", |e| testing::watch(e, &group))?;
            let content = self.must(who, "content", |e| testing::content_of(e, &group, event))?;
            let followed = watch.states.iter().filter(|state| state.followed);
            if content.is_none() || followed.into_iter().all(|state| state.commit != content) {
                let text =
                    format!("member {who} hands out a commit that is neither pending nor true");
                return fault("given way", text);
            }
        }
        Ok(())
    }

    pub fn send(&mut self, who: usize, event: &Event, salt: u64) -> Option<u64> {
        self.net.publish(who, event.to_json(), event.id(), self.now, salt)
    }

    /// Publishes a commit that was prepared. Its Welcomes go out when it is confirmed.
    pub fn publish(&mut self, who: usize, made: &Pending, salt: u64) {
        let Some(event) = &made.event else { return };
        let ack = self.send(who, event, salt);
        self.commits += 1;
        let group = self.group.clone();
        let content = self.call(who, |e| testing::content_of(e, &group, event)).ok().flatten();
        let (id, automatic, event) = (made.id, made.automatic, event.id());
        self.tell(|world| {
            let at = world.name(world.members[who].tip);
            let (place, welcomes) = (world.net.log.len(), made.welcomes.len());
            let content = content.map_or("?".into(), |content| content.to_hex());
            format!("{who} at {at} publishes {} at {place}, {welcomes} Welcomes", &content[..6])
        });
        self.contents.extend(content.map(|content| (event, content)));
        self.members[who].published.retain(|p| p.id != id);
        let fate = draw(&[salt, 63]);
        let welcomes = made.welcomes.clone();
        // An invitation that is out, and that its maker gives up before anything of it comes back: whom it adds is a member
        // all the same. (More often than other commits: there are few of them.)
        let given_up =
            ack.is_some() && self.plan.echo && !welcomes.is_empty() && happens(30, &[fate, 60]);
        if given_up && self.call(who, |e| e.discard(id)).is_ok() {
            return;
        }
        self.members[who].published.push(Published { id, ack, automatic, event, welcomes, fate });
    }

    /// Takes charge of commits that the engine says are pending, as after a restart.
    pub fn adopt(&mut self, who: usize, salt: u64) -> Checked {
        let pending = self.must(who, "pending", Engine::pending)?;
        for made in pending {
            if !self.members[who].published.iter().any(|p| p.id == made.id) {
                self.publish(who, &made, draw(&[salt, 62]));
            }
        }
        Ok(())
    }

    /// Relays have answered.
    pub fn acknowledge(&mut self, who: usize, all: bool) -> Checked {
        let now = self.now;
        let due = |p: &Published| p.ack.is_some_and(|at| all || at <= now);
        let mut published = std::mem::take(&mut self.members[who].published);
        let ready: Vec<Published> = published.extract_if(.., |p| due(p)).collect();
        self.members[who].published = published;
        if ready.is_empty() {
            return Ok(());
        }
        for commit in ready {
            // (by its echo it is known again)
            let lost = !all && self.plan.echo && happens(6, &[commit.fate]);
            if lost && !commit.automatic {
                // The answer never came, and the caller gives the commit up although it is out.
                match self.call(who, |e| e.discard(commit.id)) {
                    Ok(()) | Err(Error::CommitLost) => continue,
                    Err(Error::NotAllowed(_)) => {}
                    Err(e) => return fault("error", format!("member {who}, discarding: {e}")),
                }
            }
            match self.call(who, |e| e.confirm(commit.id)) {
                Ok(_) => {}
                // What the engine made by itself gives way to another's.
                Err(Error::CommitLost) if commit.automatic => {}
                Err(e) => return fault("error", format!("member {who}, confirming: {e}")),
            }
            // It ends before they are sent: the next process hands them out.
            if !all && !commit.welcomes.is_empty() && happens(30, &[commit.fate, 61]) {
                self.open(who);
                continue;
            }
            for (n, welcome) in commit.welcomes.iter().enumerate() {
                self.send(who, welcome, draw(&[commit.fate, 62, n as u64]));
            }
        }
        self.look(who).map(|_| ())
    }

    /// Hands events to a member, singly or together.
    pub fn take(&mut self, who: usize, places: &[usize], salt: u64, die: bool) -> Checked {
        if places.is_empty() {
            return Ok(());
        }
        // What comes singly comes to a member that each may have moved on.
        if places.len() > 1 && !happens(60, &[salt, 64]) {
            for (n, place) in places.iter().enumerate() {
                let last = n + 1 == places.len();
                self.take(who, &[*place], draw(&[salt, 68, n as u64]), die && last)?;
            }
            return Ok(());
        }
        let arrival = self.arrives(who, places)?;
        let json: Vec<String> = places.iter().map(|p| self.net.log[*p].json.clone()).collect();
        let mut outcomes = Vec::new();
        if json.len() > 1 {
            let bytes: Vec<&[u8]> = json.iter().map(|j| j.as_bytes()).collect();
            outcomes = self.must(who, "process_many", |e| e.process_many(&bytes))?;
        } else {
            for json in &json {
                outcomes.push(self.must(who, "process", |e| e.process(json.as_bytes()))?);
            }
        }
        let out = self.members[who].tip.is_none();
        for (place, outcome) in places.iter().zip(&outcomes) {
            self.tell_outcome(who, *place, outcome);
            // A client that is not in the group has no subscription to it, and one that keeps no more asks again.
            let again = match outcome.verdict {
                Verdict::Rejected(rejection) => out || rejection.code == RejectCode::UnknownGroup,
                Verdict::Deferred(reason) => reason == DeferredReason::ResourceRefused,
                _ => false,
            };
            if again {
                self.net.misses(who, *place);
            } else if let Some(commit) = self.contents.get(&self.net.log[*place].id) {
                let epoch = self.members[who].tip.map_or(0, |tip| self.tree.epoch(&tip));
                self.members[who].had.entry(*commit).or_insert(epoch);
            }
            // The end of a group is final when its pass is over: a rival that comes then is too late for this member.
            let ended = matches!(outcome.verdict, Verdict::Rejected(r) if r.rule == "D1-3");
            let event = self.net.log[*place].id;
            if ended && *place >= self.members[who].since && self.contents.contains_key(&event) {
                self.members[who].late_rivals.insert(event);
            }
            if matches!(outcome.verdict, Verdict::Rejected(r) if r.rule == "B4-4") {
                self.members[who].refused.insert(*place);
            }
            if matches!(outcome.verdict, Verdict::Rejected(r) if r.code == RejectCode::StaleEpoch) {
                self.members[who].stale.insert(event);
            }
        }
        if die {
            self.open(who);
        }
        self.note_arrival(who, arrival, places, &outcomes)?;
        if die {
            return self.adopt(who, salt);
        }
        for (n, outcome) in outcomes.into_iter().enumerate() {
            self.after(who, outcome, draw(&[salt, 65, n as u64]))?;
        }
        Ok(())
    }

    /// A member's turn: what has come, what is due.
    pub fn turn(&mut self, who: usize, salt: u64) -> Checked {
        let due = self.net.due(who, self.now);
        self.take(who, &due, draw(&[salt, 66]), false)?;
        self.acknowledge(who, false)?;
        self.timer(who, salt)
    }

    pub fn timer(&mut self, who: usize, salt: u64) -> Checked {
        let outcome = self.must(who, "tick", Engine::tick)?;
        self.after(who, outcome, draw(&[salt, 67]))
    }

    /// Whether a commit by this member keeps all branches within what members can go back.
    pub fn may_commit(&mut self, who: usize) -> bool {
        if self.members[who].tip.is_none() {
            return false;
        }
        let mut tips = Vec::new();
        let mut mover = 0;
        for (i, member) in self.members.iter().enumerate() {
            let Some(tip) = member.tip else { continue };
            if i == who {
                mover = tips.len();
            }
            tips.push((tip, member.published.len() as u64));
        }
        self.tree.spread(&tips, mover) <= 4
    }
}
