//! What the protocol itself allows at the end of a world, each with the sentence of docs/internals/protocol that allows
//! it. No more than that is excused.

use std::collections::BTreeSet;

use mdk_core::testing;
use mdk_wire::ContentId;

use super::tree::Auth;
use super::world::{Checked, Said, World};

impl World {
    /// The commits on a branch.
    pub fn commits_of(&self, chain: &[Auth]) -> BTreeSet<ContentId> {
        chain.iter().filter_map(|state| self.tree.commit(state)).collect()
    }

    /// Left behind: it joined on a branch that lost, is not in the group that won, and so nobody there can have invited it.
    ///
    /// B4: "The joiner's own Add commit (source = join_epoch-1) cannot be authenticated: stale." So it cannot see that the
    /// commit that added it lost, nor follow what won. Whoever *is* a member there was sent a Welcome by the commit that
    /// added it, and has to be where that leads: B4 step 5 for a copy that ended, B4-16 and B4-17 for one that lasts.
    pub fn was_left_behind(&self, who: usize, tip: &Auth, chain: &[Auth]) -> bool {
        let joined_there = self.members[who].root.is_some_and(|root| chain.contains(&root));
        !joined_there && !self.tree.is_member(tip, who)
    }

    /// Blind: the winner removed it, and its own branch is not beaten by as much of the winner as it can see.
    ///
    /// H2: "Removed member: it cannot follow its removal branch beyond the removal, so it scores that branch too low and
    /// may keep a losing one." What it can see ends with the removal. E4 counts depth first, and witnesses add one at
    /// most, so a branch that ends more than one epoch below the removal was never the better one.
    pub fn is_blind(&mut self, who: usize, tip: &Auth, chain: &[Auth]) -> Checked<bool> {
        let Some(own) = self.members[who].tip else { return Ok(false) };
        let joined_there = self.members[who].root.is_some_and(|root| chain.contains(&root));
        if !joined_there || self.tree.is_member(tip, who) || chain.contains(&own) {
            return Ok(false);
        }
        let group = self.group.clone();
        let watch = self.must(who, "watch", |e| testing::watch(e, &group))?;
        let commits = self.commits_of(chain);
        let seen = watch.states.iter().filter(|s| s.removed);
        let seen =
            seen.filter(|s| s.commit.is_some_and(|c| commits.contains(&c))).map(|s| s.epoch).min();
        // When it is no longer retained: not before the last state of the winner that still has it.
        let last = chain.iter().find(|state| self.tree.is_member(state, who));
        let Some(removal) = seen.or(last.map(|state| self.tree.epoch(state) + 1)) else {
            return Ok(false);
        };
        Ok(self.tree.epoch(&own) + 1 >= removal)
    }

    /// Too far: when the first commit of the winner came that parts from its own branch, it had gone further than a member
    /// goes back. (No member does so by a commit of its own: [`World::may_commit`]. But leaves are answered.)
    ///
    /// E4: "Eligible tips = leaves of the tree, incl. the canonical tip, whose divergence epoch f satisfies base−f ≤5 and
    /// whose parent states are retained."
    pub fn went_too_far(&self, who: usize, chain: &[Auth]) -> bool {
        let member = &self.members[who];
        let own = member.tip.map(|tip| self.tree.chain(&tip)).unwrap_or_default();
        let Some(fork) = chain.iter().position(|state| own.contains(state)) else { return false };
        let parts = fork.checked_sub(1).and_then(|place| self.tree.commit(&chain[place]));
        let came = parts.and_then(|commit| member.had.get(&commit));
        came.is_some_and(|epoch| *epoch > self.tree.epoch(&chain[fork]) + 5)
    }

    /// Ended: it took a disband for the winner, and a commit of the branch that really won came when it was over.
    ///
    /// C5: "After confirm it is a candidate: a pass must run (Recovering) before terminalising. [...] any disband wins ->
    /// tombstone [...], one event, never withdrawn. Receivers treat a disband edge the same way." A pass takes what came
    /// until it was over (E5 step 3), so all that the winner consists of must not have been there.
    pub fn ended_before_it_came(&self, who: usize, chain: &[Auth]) -> bool {
        let commits = self.commits_of(chain);
        let late = self.members[who].late_rivals.iter();
        late.filter_map(|event| self.contents.get(event)).any(|content| commits.contains(content))
    }

    /// Lost sight: it was put out on a branch that lost, and joined anew before all had come of the winner that could have
    /// told it so. What it had read on the loser stays as it was.
    ///
    /// D6: what a copy that is over has retained goes with the copy, and B4 step 5 replaces that by a fresh Welcome, which
    /// says nothing of the branch before it.
    pub fn lost_sight(&self, who: usize, said: &Said, chain: &[Auth]) -> bool {
        let member = &self.members[who];
        let Some(root) = member.root.filter(|root| chain.contains(root)) else { return false };
        let own = self.tree.chain(&said.state);
        if self.tree.epoch(&said.state) >= self.tree.epoch(&root) || own.contains(&root) {
            return false;
        }
        // What it could follow of the winner: from the fork up to the commit that put it out there.
        let ours = chain.windows(2).filter(|pair| self.tree.is_member(&pair[1], who));
        let before = ours.filter(|pair| self.tree.epoch(&pair[0]) <= self.tree.epoch(&root));
        let mut needed = before.map(|pair| pair[0]).filter(|state| !own.contains(state));
        if needed.any(|s| self.tree.commit(&s).is_some_and(|c| !member.had_then.contains(&c))) {
            return true;
        }
        // H2, as in [`World::is_blind`]: of a winner that put it out it sees no more than that.
        let before = |state: &&Auth| self.tree.epoch(state) < self.tree.epoch(&root);
        let out = chain.iter().filter(before).filter(|state| !self.tree.is_member(state, who));
        let removal = out.map(|state| self.tree.epoch(state)).filter(|epoch| {
            chain.iter().any(|s| self.tree.epoch(s) + 1 == *epoch && self.tree.is_member(s, who))
        });
        removal.max().is_some_and(|removal| self.tree.epoch(&said.state) + 1 >= removal)
    }

    /// Went elsewhere: where it went out was no state of the winner, so for it the winner began with what it joined then.
    pub fn went_elsewhere(&self, who: usize, chain: &[Auth]) -> bool {
        self.members[who].left_at.is_some_and(|state| !chain.contains(&state))
    }
}
