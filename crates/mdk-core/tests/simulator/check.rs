//! The end of a world: everything arrives, time passes, and everybody must agree.

use std::collections::{BTreeMap, BTreeSet};

use mdk_core::testing;
use mdk_core::{EventBody, GroupState};
use mdk_wire::EventId;
use serde::Serialize;

use super::plan::draw;
use super::tree::Auth;
use super::world::{Checked, World, fault};

/// Rounds without movement that are rest.
const STILL: u32 = 4;

/// What a world came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub agreed: usize,
    pub epoch: u64,
    pub messages: usize,
    pub invalidated: usize,
    /// Members whom the protocol leaves behind ([`World::was_left_behind`]).
    pub left_behind: usize,
    /// Members who cannot see how far the branch goes that removed them ([`World::is_blind`]).
    pub blind: usize,
    /// Members who had gone too far to go back when the other branch came ([`World::went_too_far`]).
    pub too_far: usize,
    /// Members for whom the group has ended while others go on ([`World::ended_before_it_came`]).
    pub ended: usize,
    /// Messages that came after their epoch had left the window ([`World::judge_messages`]).
    pub too_late: usize,
}

impl World {
    /// Everything that was sent reaches everybody.
    pub fn settle(&mut self) -> Checked {
        let mut still = 0;
        let mut last = (0, Vec::new());
        for round in 0..400u64 {
            let salt = draw(&[self.plan.seed, 40, round]);
            for who in 0..self.members.len() {
                self.heals(who, draw(&[salt, 1]));
                self.acknowledge(who, true)?;
                let due = self.net.due(who, u64::MAX);
                self.take(who, &due, draw(&[salt, 2, who as u64]), false)?;
                let missed = self.net.resync(who, draw(&[salt, 3, who as u64]));
                self.take(who, &missed, draw(&[salt, 4, who as u64]), false)?;
            }
            // Long enough for whatever waits.
            self.pass(40_000);
            for who in 0..self.members.len() {
                self.timer(who, draw(&[salt, 5, who as u64]))?;
            }
            let tips: Vec<Option<Auth>> = self.members.iter().map(|m| m.tip).collect();
            let busy = self.members.iter().any(|m| !m.published.is_empty())
                || (0..self.members.len())
                    .any(|who| self.members[who].tip.is_some() && self.net.is_missing(who));
            let now = (self.net.log.len(), tips);
            still = if now == last && !busy { still + 1 } else { 0 };
            if still >= STILL {
                return Ok(());
            }
            last = now;
        }
        let published: Vec<usize> = self.members.iter().map(|m| m.published.len()).collect();
        let missing: Vec<usize> = (0..self.members.len())
            .filter(|who| self.members[*who].tip.is_some() && self.net.is_missing(*who))
            .collect();
        let sent = self.net.log.len();
        let text = format!("pending {published:?}, events missing at {missing:?}, {sent} sent");
        fault("restless", text)
    }

    /// All of it once more: nothing may change.
    pub fn repeat(&mut self) -> Checked {
        for who in 0..self.members.len() {
            let before = self.members[who].tip;
            let all: Vec<usize> = (0..self.net.log.len()).collect();
            let sent = self.net.log.len();
            self.take(who, &all, 1, false)?;
            self.timer(who, 1)?;
            if self.members[who].tip != before || self.net.log.len() != sent {
                return fault("repetition", format!("member {who} moved by what it had"));
            }
        }
        Ok(())
    }

    /// Everybody is told that there is no more. F5: "End: fetch says complete and nothing new opens. What still does not
    /// open: HistoryGap once".
    pub fn is_complete(&mut self) -> Checked {
        for who in 0..self.members.len() {
            let outcome = self.must(who, "settle", mdk_core::Engine::settle)?;
            self.after(who, outcome, draw(&[self.plan.seed, 41, who as u64]))?;
        }
        Ok(())
    }

    /// What came too late has been reported: when all had come if its time says that nothing can open it any more, after
    /// a month in any case (D1 step 6: "expiry drops the bytes without a verdict and raises a gap event").
    pub fn a_month_later(&mut self) -> Checked {
        let before: Vec<u64> = self.members.iter().map(|m| m.unsaid).collect();
        self.pass(31 * 86_400_000);
        for (who, unsaid) in before.into_iter().enumerate().filter(|(_, unsaid)| *unsaid > 0) {
            let outcome = self.must(who, "tick", mdk_core::Engine::tick)?;
            let gaps = outcome.events.iter().map(|event| match event.body {
                EventBody::HistoryGap { count, .. } => count,
                _ => 0,
            });
            let gaps: u64 = gaps.sum();
            if unsaid > gaps {
                let text = format!("member {who} lost {unsaid} late messages, reported {gaps}");
                return fault("silent", text);
            }
        }
        Ok(())
    }

    /// The invariants. Where no state has more members than all others, the world is well if it is with one of them as
    /// the winner: who has won is not for the numbers of the members to say.
    pub fn judge(&mut self) -> Checked<Summary> {
        let tips = self.most_followed();
        let Some(first) = tips.first() else {
            // The group has ended for everybody: disbanded, or nobody was left.
            return self.judge_histories(None, Summary::default());
        };
        let verdict = self.judge_by(*first);
        if verdict.is_ok() {
            return verdict;
        }
        tips[1..].iter().find_map(|tip| self.judge_by(*tip).ok()).map_or(verdict, Ok)
    }

    /// The invariants, if that state has won.
    fn judge_by(&mut self, tip: Auth) -> Checked<Summary> {
        let states: Vec<Option<GroupState>> =
            (0..self.members.len()).map(|i| self.state(i)).collect();
        let mut summary = Summary::default();
        if let Some((state, removal)) = self.tree.misplaced() {
            let text =
                format!("{} does not come after {}", self.name(Some(state)), removal.to_hex());
            return fault("misplaced", text);
        }
        let chain = self.tree.chain(&tip);
        let group = self.group.clone();
        let mut agreed: Option<(usize, testing::State)> = None;
        for (who, state) in states.iter().enumerate() {
            let belongs = self.tree.is_member(&tip, who);
            if *state == Some(GroupState::Disbanded) {
                let on_branch = self.members[who].root.is_some_and(|root| chain.contains(&root));
                if on_branch && belongs && !self.ended_before_it_came(who, &chain) {
                    return fault("divergence", format!("member {who} saw the end, others go on"));
                }
                summary.ended += 1;
                continue;
            }
            let Some(own) = self.members[who].tip else {
                if belongs {
                    return fault(
                        "left out",
                        format!("member {who} is in the group and does not know it: {state:?}"),
                    );
                }
                continue;
            };
            if own != tip {
                if self.was_left_behind(who, &tip, &chain) {
                    summary.left_behind += 1;
                    continue;
                }
                if self.is_blind(who, &tip, &chain)? {
                    summary.blind += 1;
                    continue;
                }
                if self.went_too_far(who, &chain) {
                    summary.too_far += 1;
                    continue;
                }
                let (there, here) = (self.tree.epoch(&tip), self.tree.epoch(&own));
                let joined = self.members[who].root.is_some_and(|root| chain.contains(&root));
                let waiting = self.has_invitation(who)?;
                return fault(
                    if belongs && !joined { "left out" } else { "divergence" },
                    format!(
                        "member {who} is at epoch {here}, others at {there}; belongs there: {belongs}, joined there: \
                         {joined}, a Welcome waits: {waiting}"
                    ),
                );
            }
            let state = self.must(who, "state", |e| testing::state(e, &group))?;
            if let Some((first, seen)) = &agreed {
                let same = seen.group_context == state.group_context
                    && seen.authenticator == state.authenticator
                    && seen.event_key == state.event_key
                    && seen.leaves == state.leaves;
                if !same {
                    return fault("divergence", format!("members {first} and {who} differ"));
                }
            } else {
                summary.epoch = state.epoch;
                agreed = Some((who, state));
            }
            summary.agreed += 1;
        }
        self.judge_histories(Some(tip), summary)
    }

    /// Whether a Welcome waits with a member.
    fn has_invitation(&mut self, who: usize) -> Checked<bool> {
        let group = self.group.clone();
        Ok(self.must(who, "watch", |e| testing::watch(e, &group))?.welcomes > 0)
    }

    /// The states that most are in, the highest first; of equal ones the first member's, since names of states are chance.
    fn most_followed(&self) -> Vec<Auth> {
        let all: Vec<Auth> = self.members.iter().filter_map(|m| m.tip).collect();
        let many = |tip: &Auth| all.iter().filter(|other| *other == tip).count();
        let most = all.iter().map(many).max().unwrap_or(0);
        let mut tips: Vec<Auth> = Vec::new();
        for tip in all.iter().filter(|tip| many(tip) == most) {
            if !tips.contains(tip) {
                tips.push(*tip);
            }
        }
        tips.sort_by_key(|tip| std::cmp::Reverse(self.tree.epoch(tip)));
        tips
    }

    fn judge_histories(&mut self, tip: Option<Auth>, mut summary: Summary) -> Checked<Summary> {
        let chain: Vec<Auth> = tip.map(|tip| self.tree.chain(&tip)).unwrap_or_default();
        for who in 0..self.members.len() {
            let mut reported: BTreeMap<EventId, (usize, usize)> = BTreeMap::new();
            let mut gaps = 0;
            let told = self.events(who)?;
            self.judge_told(who, &told)?;
            for body in told {
                match body {
                    EventBody::MessageReceived { message } => {
                        reported.entry(message.id).or_default().0 += 1;
                    }
                    EventBody::MessagesInvalidated { message_ids } => {
                        for id in message_ids {
                            reported.entry(id).or_default().1 += 1;
                        }
                    }
                    EventBody::HistoryGap { count, .. } => gaps += count,
                    _ => {}
                }
            }
            if let Some((id, n)) = reported.iter().find(|(_, (got, lost))| *got > lost + 1) {
                return fault("repeated", format!("member {who} reported {} {n:?}", id.to_hex()));
            }
            let group = self.group.clone();
            let page = self.call(who, |e| e.messages(&group, u32::MAX, None, None));
            let Ok(page) = page else { continue };
            let mut history: BTreeMap<EventId, bool> = BTreeMap::new();
            for message in page {
                if history.insert(message.id, message.fate.invalidated).is_some() {
                    return fault("repeated", format!("member {who} has a message twice"));
                }
            }
            // What is lost is kept for a month: of what was told so and is not there any more, something was read after all.
            let held = self.call(who, |e| testing::watch(e, &group)).map_or(0, |watch| watch.raw);
            // (F1-15: what was told when its keys went is told again when it comes, since nothing can say which it is)
            let twice = self.passed_over(who, &history).min(held);
            if self.members[who].tip.is_some() && gaps > (held + twice) as u64 {
                let text = format!(
                    "member {who} was told that {gaps} are lost, holds {held}, may have heard of {twice} twice"
                );
                return fault("false gap", text);
            }
            let known: BTreeSet<EventId> = self.said.iter().map(|s| s.id).collect();
            // What was once reported is never taken away.
            if let Some(id) =
                reported.keys().find(|id| known.contains(id) && !history.contains_key(id))
            {
                return fault("deleted", format!("member {who} has no more {}", id.to_hex()));
            }
            summary.invalidated += history.values().filter(|lost| **lost).count();
            let unsaid = self.judge_messages(who, &history, tip, &chain, &mut summary)?;
            self.members[who].unsaid = unsaid.saturating_sub(gaps);
        }
        summary.messages = self.said.len();
        Ok(summary)
    }

    /// How many messages and reactions of others a member does not show as messages although their senders said more in
    /// the same state, on the member's own branch.
    fn passed_over(&self, who: usize, history: &BTreeMap<EventId, bool>) -> usize {
        let own = self.members[who].tip.map(|tip| self.tree.chain(&tip)).unwrap_or_default();
        let missing = self.spoken.iter().enumerate().filter(|(at, (by, state, id))| {
            let went_on = || self.spoken[at + 1..].iter().any(|(b, s, _)| (b, s) == (by, state));
            *by != who && own.contains(state) && !history.contains_key(id) && went_on()
        });
        missing.count()
    }

    /// Gives how many messages came too late without a verdict that says so.
    ///
    /// F6: "Messages that arrive *after* their epoch left the window are lost by design; report stale with a gap event,
    /// never silently." The window is that of the member's own epoch when the message first came, in the call before.
    pub fn judge_messages(
        &self,
        who: usize,
        history: &BTreeMap<EventId, bool>,
        tip: Option<Auth>,
        chain: &[Auth],
        summary: &mut Summary,
    ) -> Checked<u64> {
        let mut unsaid = 0;
        let member = &self.members[who];
        let root = member.root.and_then(|root| chain.iter().position(|s| *s == root));
        for said in &self.said {
            let epoch = self.tree.epoch(&said.state);
            let place = chain.iter().position(|s| *s == said.state);
            match history.get(&said.id) {
                None if said.by == who => {
                    return fault(
                        "deleted",
                        format!("member {who} lost its own message of epoch {epoch}"),
                    );
                }
                Some(lost) => {
                    // On the branch that was chosen it counts, elsewhere it is marked.
                    let unsure = self.lost_sight(who, said, chain)
                        && (!lost || self.went_elsewhere(who, chain));
                    let wrong = *lost == place.is_some() && !unsure;
                    if member.tip.is_some() && member.tip == tip && wrong {
                        let text = format!("member {who}, message of epoch {epoch}: marked {lost}");
                        return fault("marked wrongly", text);
                    }
                }
                // E5 step 5c: "Apps opened only on losing states: invalidated", and kept.
                None if member.taken.contains(&said.event) => {
                    let text =
                        format!("member {who} took a message of epoch {epoch} and has it not");
                    return fault("deleted", text);
                }
                None => {
                    let (Some(place), Some(root)) = (place, root) else { continue };
                    let readable = place <= root
                        && member.tip.is_some()
                        && member.tip == tip
                        && self.tree.is_member(&said.state, who);
                    if !readable {
                        continue;
                    }
                    if member.late.contains(&said.event) && !member.in_time.contains(&said.event) {
                        summary.too_late += 1;
                        // F7: "Traffic from before the join is history, not a gap; created_at may sort it".
                        let told = member.stale.contains(&said.event) || said.at < member.ours_from;
                        unsaid += u64::from(!told);
                        continue;
                    }
                    let text =
                        format!("member {who} never got a message of epoch {epoch} by {}", said.by);
                    return fault("lost", text);
                }
            }
        }
        Ok(unsaid)
    }
}
