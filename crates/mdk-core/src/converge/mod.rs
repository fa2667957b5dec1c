//! Members that see the same events in different orders end in the same state.
//!
//! A commit on the tip applies at once. A commit on any other retained state is tried on a copy and becomes a
//! *candidate*: a state beside the followed branch, with its key, so that what is said there can be read and counted.
//! The first commit of either sort opens a *pass*; when nothing relevant has come for a while, or after a while in any
//! case, the pass closes: the tips are compared ([`order`]), and if another one wins, the group moves there in one
//! transaction ([`switch`]). Until then no commit of ours is made.
//!
//! All of it is in the rows: what is compared are the retained states and who spoke in them, so nothing has to be
//! frozen, and a restart at any point finds the same choice. Why applying at once comes to what waiting comes to: the
//! choice depends on the tree and the witnesses only, and the tree on which commits came, not on which one is followed
//! meanwhile. The epoch that eligibility is counted from is that of the opening of the pass, for both.

pub(crate) mod branch;
pub(crate) mod contest;
pub(crate) mod crowd;
pub(crate) mod gaps;
pub(crate) mod marks;
pub(crate) mod order;
pub(crate) mod place;
#[cfg(test)]
mod proposal;
pub(crate) mod replay;
mod settled;
pub(crate) mod switch;
pub(crate) mod tried;
mod word;

use mdk_store::{CommitStatus, GroupRow, GroupStatus, MessageRow, NodeRow, PassRow, Seen};
use mdk_wire::{EventId, GroupId};

use crate::ctx::Ctx;
use crate::error::{Error, Result};
use crate::event_log::Stored;
use crate::group;
use crate::outbound::PURPOSE_DISBAND;
use crate::outcome::Verdict;
use branch::{Auth, Tree};

/// Candidate tips whose states are kept whole, per group: of more, the worst sleep ([`crowd`]).
pub(crate) const MAX_RIVALS: usize = 8;

/// States that an open pass retains of a line that it follows: what was said in them, and rivals of them, may still come.
/// As many as commits of a group wait at most, so that those that came before what they lead on from lose nothing.
pub(crate) const MAX_LINE: u64 = 256;

/// How long a history that is being fetched keeps a pass open at most, in milliseconds: our own commits wait for it.
const MOST_FETCHED: u64 = 20_000;

/// Passes that one call closes for a group.
const MAX_PASSES: usize = 10_000;

/// How long the states of a group that we are out of are kept, in seconds: a branch that keeps us may still win. Nothing
/// advances such a group, so the time has to end it.
const OUT_FOR: u64 = 86_400;

/// Opens the pass, or makes it wait on. (rule: E5-1)
pub(crate) fn touch(pass: &mut PassRow, epoch: u64, now_millis: u64) {
    if pass.opened == 0 {
        pass.opened = now_millis.max(1);
        pass.base = epoch;
    }
    pass.relevant = now_millis.max(1);
}

/// The epoch that the choice counts from which a rival of now takes part in. A line may have gone far since its pass was
/// opened; branches are counted in the window of where it has come to.
pub(crate) fn base_for_rival(row: &GroupRow) -> u64 {
    match (row.pass.opened, row.pass.contested) {
        (0, _) => row.epoch,
        (_, 0) => row.pass.base.max(row.epoch.saturating_sub(order::POLICY.max_rewind_commits)),
        _ => row.pass.base,
    }
}

/// Whether a commit leads further than the open pass reaches: what lies beyond is for the next one, and what was said
/// before can still come meanwhile. (rule: E5-7)
///
/// A pass without rivals has nothing to choose, so a line of commits is followed as far as it goes (rule: E5-8). With
/// rivals it reaches as far from the fork, or from its opening, as branches may differ: a member that waited with the
/// whole line would open its pass there. `early` says that rivals may be among what is still to be read in this call:
/// then the line is left to the end of it, when everything is taken up by epochs and no rival is passed by.
pub(crate) fn beyond(pass: &PassRow, epoch: u64, early: bool) -> bool {
    let from = match pass.contested {
        _ if pass.opened == 0 => return false,
        0 if !early => return false,
        0 => pass.base,
        contested => pass.base.max(contested.saturating_sub(1)),
    };
    epoch >= from.saturating_add(order::POLICY.max_rewind_commits)
}

/// Whether another branch may still take the place of the followed one: a choice is to come, or a branch that lost is
/// retained.
pub(crate) fn undecided(pass: &PassRow) -> bool {
    pass.opened != 0 || pass.contested != 0
}

impl Ctx<'_, '_> {
    /// When an open pass is over, in Unix milliseconds. `None`: none is open.
    ///
    /// Closing lets go of states that the next page of a history may still be read in. So time in which we were at work is
    /// not counted, because nobody could give us that page meanwhile, and while a history is being fetched it waits on.
    fn deadline(&self, id: &GroupId, pass: &PassRow) -> Option<u64> {
        let after = |from: u64, millis: u64| {
            from.saturating_add(millis).saturating_add(self.worked.since(from))
        };
        (pass.opened != 0).then(|| {
            let quiet = after(pass.relevant, self.config.settle_quiet_millis);
            let over = quiet.min(after(pass.opened, self.config.settle_max_millis));
            let more = self.more.get(id).copied().unwrap_or(0);
            over.max(more.min(pass.opened.saturating_add(MOST_FETCHED)))
        })
    }

    /// Whether the open pass is to be closed. (rule: E5-2; a clock that went back closes it)
    pub(crate) fn is_due(&self, id: &GroupId, pass: &PassRow) -> bool {
        self.deadline(id, pass)
            .is_some_and(|at| at <= self.now_millis || self.now_millis < pass.relevant)
    }

    /// The pass of a group, read as cheaply as it can be: every event asks.
    fn pass_of(&self, id: &GroupId) -> Result<PassRow> {
        match self.cache.peek(id) {
            Some(group) => Ok(group.row.pass),
            None => Ok(self.row(id)?.pass),
        }
    }

    /// The row as this transaction has it.
    pub(crate) fn current_row(&self, id: &GroupId) -> Result<GroupRow> {
        self.cached_row(id).map_or_else(|| self.row(id), Ok)
    }

    /// Changes a group's row, in the cache too.
    pub(crate) fn edit_row(
        &mut self,
        id: &GroupId,
        edit: impl FnOnce(&mut GroupRow),
    ) -> Result<GroupRow> {
        if let Some(mut group) = self.cache.take(id) {
            edit(&mut group.row);
            self.tx.update_group(&group.row)?;
            let row = group.row.clone();
            self.put(group);
            return Ok(row);
        }
        let mut row = self.row(id)?;
        edit(&mut row);
        self.tx.update_group(&row)?;
        Ok(row)
    }

    // rule: E5-3 while a pass is open no commit of ours is made
    /// Lets a commit of ours through, or says how long it has to wait.
    pub(crate) fn require_settled(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        if self.is_due(id, &row.pass) {
            self.close_pass(id)?;
            return Ok(());
        }
        match self.deadline(id, &row.pass) {
            Some(at) => Err(Error::Settling { millis: at.saturating_sub(self.now_millis) }),
            None => Ok(()),
        }
    }

    /// Whether commits of ours have to wait.
    pub(crate) fn is_settling(&self, id: &GroupId) -> Result<bool> {
        let pass = self.pass_of(id)?;
        Ok(pass.opened != 0 && !self.is_due(id, &pass))
    }

    /// Closes the pass if its time has come.
    pub(crate) fn close_due(&mut self, id: &GroupId) -> Result<()> {
        // What is taken up together is one input, and is taken up before anything is let go (rule: F1-3).
        if self.retrying {
            return Ok(());
        }
        // What had waited may have opened another, which is over too where no quiet is waited for.
        for _ in 0..MAX_PASSES {
            let pass = self.pass_of(id)?;
            // A batch is one input.
            if !self.is_due(id, &pass) || self.batching && pass.relevant == self.now_millis {
                break;
            }
            self.close_pass(id)?;
            if self.pass_of(id)? == pass {
                break;
            }
        }
        Ok(())
    }

    /// Ends a pass that was opened for what had been held, if there was nothing in it to choose.
    pub(crate) fn close_unless_moved(&mut self, id: &GroupId, auth: Auth) -> Result<()> {
        let row = self.current_row(id)?;
        let still = row.authenticator == auth && row.pass.contested == 0;
        if still && row.status != GroupStatus::Disbanding { self.close_pass(id) } else { Ok(()) }
    }

    /// Chooses, applies the choice, and lets go of what was kept for it.
    pub(crate) fn close_pass(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        // While a commit of the user's is being published, its parent stays where it is (C2-4).
        if row.pass.opened == 0
            || self.publishing(&row)?
            || row.status == GroupStatus::Unrecoverable
        {
            return Ok(());
        }
        if row.pass.contested != 0 {
            self.decide(id, row.pass.base)?;
        } else if group::is_out(row.status) {
            // (what was said before we were out and came since)
            self.sort_messages(id)?;
        }
        let horizon = |epoch| self.horizon(epoch);
        let floor = horizon(self.current_row(id)?.epoch);
        let mut row = self.current_row(id)?;
        row.pass.floor = floor.max(row.pass.floor);
        let (floor, contested) = (row.pass.floor, self.prune(&row)?);
        if contested != 0 {
            self.limit_rivals(id)?;
        }
        let row = self.edit_row(id, |row| {
            row.pass = PassRow { opened: 0, relevant: 0, base: 0, floor, contested, ..row.pass };
        })?;
        if row.status == GroupStatus::Disbanding {
            return self.finish_disbanding(id);
        }
        self.check_own_lost(id)?;
        self.disband_again(id)?;
        self.answer_leaves(id)?;
        self.work_off_removals(id)?;
        self.look_again(id)?;
        self.retry_held(id)
    }

    /// Closes passes until none is open: what was held may open another.
    pub(crate) fn close_all(&mut self, id: &GroupId) -> Result<()> {
        // Each pass advances the group or is the last one; the number bounds what cannot happen.
        for _ in 0..MAX_PASSES {
            let row = self.current_row(id)?;
            if row.pass.opened == 0 || self.publishing(&row)? {
                break;
            }
            self.close_pass(id)?;
        }
        Ok(())
    }

    /// After a pass, or a restart: what waits is tried on every retained state that it was not tried on yet.
    pub(crate) fn look_again(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        let inputs = self.tx.input_heads(id)?;
        if inputs.iter().all(|i| i.state != mdk_store::InputState::Waiting) {
            return Ok(());
        }
        if group::is_over(row.status) || self.publishing(&row)? {
            return Ok(());
        }
        for node in self.tx.states(id)?.iter() {
            let proposals = tried::proposals_on(&inputs, &node.authenticator);
            let open = |i| self.cache.tried.is_open(i, node, proposals, self.now_millis);
            if inputs.iter().any(open) {
                self.fresh.push((id.clone(), node.authenticator));
            }
        }
        Ok(())
    }

    /// What a timer wakes: leaves to be answered, commits to be judged again.
    pub(crate) fn wake_inputs(&mut self) -> Result<()> {
        let due = self.tx.due_inputs(self.now_millis)?;
        let mut leaves: Vec<GroupId> = Vec::new();
        for input in due {
            if input.class == mdk_store::InputClass::Commit {
                self.judge_again(&input)?;
            } else if !leaves.contains(&input.group) {
                leaves.push(input.group);
            }
        }
        for id in leaves {
            self.answer_leaves(&id)?;
        }
        Ok(())
    }

    /// Compares the branches and goes to the winner.
    fn decide(&mut self, id: &GroupId, base: u64) -> Result<()> {
        self.lead_on(id)?;
        let nodes = self.tx.nodes(id)?;
        let tree = Tree::new(&nodes);
        let history = nodes.iter().filter(|n| !n.canonical).map(|n| n.history).min();
        let witnesses = self.tx.witnesses(id, history.unwrap_or(0).min(fork_history(&nodes)))?;
        // A state that cannot be made again leads nowhere, either.
        let mut lost = self.of_one_word(id, &nodes, &witnesses)?;
        lost.extend(self.of_the_put_out(id, &nodes, &witnesses, base)?);
        while let Some(choice) = tree.choose(base, &witnesses, &lost) {
            let winner = choice.winner;
            tracing::debug!(
                rule = ?choice.rule,
                fork = choice.fork_epoch,
                tip = nodes[winner].epoch,
                quorum = choice.quorum,
                score = choice.score as u64,
                "branches were compared"
            );
            if nodes[winner].canonical {
                break;
            }
            let rivals = tree.path(winner).into_iter().take_while(|node| !nodes[*node].canonical);
            let path: Vec<usize> = rivals.collect();
            if self.wake_path(id, &nodes, &path)? {
                self.switch(id, &nodes, &path)?;
                break;
            }
            lost.insert(winner);
        }
        self.sort_messages(id)
    }

    /// Where a removal goes that came before the state that brought us back, that state is where we began.
    fn begin_anew(&self, id: &GroupId, floor: u64) -> Result<()> {
        let nodes = self.tx.nodes(id)?;
        let goes = |auth| {
            nodes.iter().any(|n| n.removed && n.epoch < floor && Some(n.authenticator) == auth)
        };
        for node in nodes.iter().filter(|n| n.epoch >= floor && goes(n.parent)) {
            self.tx.put_node(&NodeRow { parent: None, ..node.clone() })?;
        }
        Ok(())
    }

    /// Forgets what lies before the retained epochs, on every branch. Gives what is contested after that.
    pub(crate) fn prune(&self, row: &GroupRow) -> Result<u64> {
        let (id, floor) = (&row.id, row.pass.floor);
        if row.pass.contested != 0 {
            self.begin_anew(id, floor)?;
        }
        self.tx.prune_nodes(id, floor)?;
        let mut contested = 0;
        if row.pass.contested != 0 {
            let nodes = self.tx.nodes(id)?;
            let tree = Tree::new(&nodes);
            for (i, node) in nodes.iter().enumerate().filter(|(_, n)| !n.canonical) {
                match tree.anchor(i) {
                    // Its parents are gone, so nothing can be compared with it any more.
                    None => self.drop_state(node)?,
                    Some(shared) if contested == 0 => contested = shared.saturating_add(1),
                    Some(shared) => contested = contested.min(shared.saturating_add(1)),
                }
            }
        }
        self.tx.prune_routes(id, floor, &row.nostr_group_id)?;
        self.tx.prune_inputs(id, floor)?;
        self.tx.prune_discarded(id, floor)?;
        for seq in self.tx.surplus(id, floor)? {
            self.tx.drop_file_keys(seq)?;
            self.tx.expire_message(seq)?;
        }
        self.tx.purge_expired(id, floor)?;
        Ok(contested)
    }

    /// A message that can still change a choice makes the pass wait on, or opens one (rule: E5-5): its epoch lies on a
    /// contested branch, and neither is its sender counted there yet nor is the epoch full. When the choice was made, what is
    /// said on the winner only makes that one stronger. To be called before it counts.
    pub(crate) fn witness(&mut self, said: &MessageRow) -> Result<()> {
        let (id, auth) = (&said.group, &said.authenticator);
        let pass = self.pass_of(id)?;
        if pass.contested == 0 || said.epoch < pass.contested {
            self.cache.counted.remove(auth);
            return Ok(());
        }
        let states = self.tx.states(id)?;
        let Some(node) = states.get(auth) else { return Ok(()) };
        // A branch that lost may stay for long, and much may be said meanwhile: it is read once who spoke.
        if !self.cache.counted.contains_key(auth) {
            let counted = self.tx.witnesses_of(id, auth, node.history)?.into_iter().collect();
            self.cache.put_counted(*auth, counted);
        }
        let new = self.cache.count(*auth, said.sender, order::POLICY.quorum_senders);
        if !new || node.canonical && pass.opened == 0 {
            return Ok(());
        }
        let now = self.now_millis;
        self.edit_row(id, |row| touch(&mut row.pass, row.epoch, now))?;
        Ok(())
    }

    // rule: E4-7 a message of ours counts once a relay has it: what nobody else can know must not lead us where nobody goes
    /// A message of ours is about to count. On the branch that is followed it only makes that one stronger.
    pub(crate) fn witness_ours(&mut self, id: &GroupId, message: &EventId) -> Result<()> {
        if group::is_over(self.current_row(id)?.status) {
            return Ok(());
        }
        let nodes = self.tx.nodes(id)?;
        for copy in self.tx.copies(id, message)?.iter().filter(|copy| copy.mine) {
            self.cache.counted.remove(&copy.authenticator);
            if nodes.iter().any(|n| n.authenticator == copy.authenticator && !n.canonical) {
                self.witness(copy)?;
            }
        }
        Ok(())
    }

    /// A disband that no branch has beaten is final. (rule: C5-1)
    fn finish_disbanding(&mut self, id: &GroupId) -> Result<()> {
        let tip = self.tip(id)?;
        // (it may be another group's that shares the routing id)
        self.rehome_held(id)?;
        self.report_dropped(&self.current_row(id)?, self.tx.held(id)?)?;
        let row = self.edit_row(id, |row| row.status = GroupStatus::Disbanded)?;
        self.end(&row, tip.committer, tip.commit)?;
        self.cache.forget(id);
        Ok(())
    }

    // rule: C5-3 whoever ended the group on a branch that lost still wants it to end
    /// Makes a disband of ours that lost anew on the winner, as long as we are an admin there.
    fn disband_again(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        let me = self.identity.account();
        if row.pass.contested == 0 || row.status != GroupStatus::Active {
            return Ok(());
        }
        for node in self.tx.nodes(id)?.iter().filter(|n| !n.canonical && n.committer == Some(me)) {
            let Some(commit) = node.commit else { continue };
            let Some(own) = self.tx.pending_by_digest(id, &commit)? else { continue };
            if own.purpose != PURPOSE_DISBAND || own.status != CommitStatus::Confirmed {
                continue;
            }
            // Once per commit that lost. It was seen, and is not placed again.
            self.tx.set_commit_status(own.id, CommitStatus::Discarded)?;
            self.tx.mark_seen(commit.as_bytes(), Seen::OwnEcho)?;
            // (Who is no admin there cannot end it: the withdrawal of the end, and the admins of the winner, were told.)
            if row.admins.contains(&me) && self.tx.pending_of(id)?.is_none() {
                let (mark, tx) = (self.cache.mark(), self.tx);
                match tx.savepoint(|_| self.prepare_disband(id, true)) {
                    Ok(again) => self.reply.extend(again.event),
                    Err(Error::Store(error)) => return Err(error.into()),
                    // What others did to the group must stop neither this call nor the work for other groups.
                    Err(_) => {
                        self.cache.forget_since(mark);
                        self.cache.forget(id);
                        tracing::warn!("a group could not be ended again");
                    }
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The node of the current state.
    pub(crate) fn tip(&self, id: &GroupId) -> Result<NodeRow> {
        let auth = self.current_row(id)?.authenticator;
        let node = self.tx.states(id)?.get(&auth).cloned();
        node.ok_or(Error::Unrecoverable("the current state has no row"))
    }

    /// A needed state is gone: nothing is guessed, nothing is sent, what came is kept. (rule: E6-1)
    pub(crate) fn give_up(&mut self, id: &GroupId, reason: &'static str) -> Result<()> {
        let row = self.current_row(id)?;
        if row.status == GroupStatus::Unrecoverable {
            return Ok(());
        }
        // Each membership may end so.
        let subject = [reason.as_bytes(), &row.join_epoch.to_be_bytes()].concat();
        self.edit_row(id, |row| {
            row.status = GroupStatus::Unrecoverable;
            row.pass.opened = 0;
        })?;
        self.emit(id, &subject, &Stored::Unrecoverable { reason: reason.to_owned() })
    }

    /// A commit of ours whose realisation is lost, on the state that we stand on: the others go where we cannot.
    fn check_own_lost(&mut self, id: &GroupId) -> Result<()> {
        let row = self.current_row(id)?;
        let lost = self.tx.input_heads(id)?.iter().any(|i| {
            i.class == mdk_store::InputClass::Commit
                && i.state == mdk_store::InputState::Verified
                && i.parent_auth == Some(row.authenticator)
        });
        if lost { self.give_up(id, "own_commit_lost") } else { Ok(()) }
    }

    /// What a commit counts as once the pass of its call is over: the verdict of waiting becomes one of taking effect.
    pub(crate) fn settled_verdict(
        &self,
        id: &GroupId,
        commit: &mdk_wire::ContentId,
        verdict: Verdict,
    ) -> Result<Verdict> {
        let Verdict::Deferred(crate::outcome::DeferredReason::Rival) = verdict else {
            return Ok(verdict);
        };
        let taken = self.tx.states(id)?.iter().any(|n| n.canonical && n.commit == Some(*commit));
        Ok(if taken { Verdict::Applied } else { verdict })
    }

    /// States of groups that we are out of are not kept for ever. (rule: D6-3)
    pub(crate) fn forget_left(&mut self, row: &GroupRow) -> Result<()> {
        if !matches!(row.status, GroupStatus::Left | GroupStatus::Removed) {
            return Ok(());
        }
        let nodes = self.tx.nodes(&row.id)?;
        let Some(last) = nodes.iter().map(|n| n.made_at).max() else { return Ok(()) };
        if last / 1000 + OUT_FOR > self.now() {
            return Ok(());
        }
        self.tx.prune_nodes(&row.id, u64::MAX)?;
        self.tx.prune_inputs(&row.id, u64::MAX)?;
        self.tx.prune_commits(&row.id, u64::MAX)?;
        self.tx.purge_expired(&row.id, u64::MAX)?;
        self.tx.delete_leave(&row.id)?;
        self.drop_held(&row.id)?;
        self.edit_row(&row.id, |row| {
            row.pass = PassRow { joined_at: row.pass.joined_at, ..PassRow::default() };
        })?;
        debug_assert!(group::is_over(row.status));
        Ok(())
    }
}

/// The lowest position in the history of a state above any fork.
pub(crate) fn fork_history(nodes: &[NodeRow]) -> i64 {
    let contested = nodes.iter().filter(|n| !n.canonical).map(|n| n.epoch).min().unwrap_or(0);
    nodes.iter().filter(|n| n.epoch >= contested).map(|n| n.history).min().unwrap_or(0)
}
