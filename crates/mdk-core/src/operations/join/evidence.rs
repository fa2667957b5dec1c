//! What speaks for an invite, or against the branch that is followed.

use std::collections::{BTreeMap, BTreeSet};

use mdk_store::{GroupRow, NodeRow};
use mdk_wire::{EventId, PublicKey, Timestamp};

use crate::ctx::Ctx;
use crate::fork_choice::branch_order;
use crate::fork_choice::settling::undecided;
use crate::model::error::Result;
use crate::model::invites::Offer;
use crate::model::limits::PATIENCE;
use crate::model::membership;
use crate::operations::join::retry_welcomes::is_settled;
use crate::policy::invite::may_rival;
use crate::state_store::history_gaps;
use crate::state_store::removals_of_us;

/// Where a Welcome that leads to the others finds us.
pub(crate) enum Behind {
    /// On a branch that lost, from this epoch on.
    Lost(u64),
    /// On their way, as far as we could follow it.
    Away,
}

impl Ctx<'_> {
    /// Whether a Welcome for a group that we are in leads to where the others are, if its maker is an admin by our own
    /// account: it has waited long, and our membership is so young that it may have begun on a branch that lost, or nothing
    /// speaks for our being where the others are (B4-25); or a branch is known that removed us. And the branch that it comes
    /// from beats all of ours by the order of branches, as far as it can be seen from here.
    pub(crate) fn is_left_behind(
        &mut self,
        row: &GroupRow,
        offer: &Offer,
    ) -> Result<Option<Behind>> {
        let came = self.waits_since(row, &offer.invite)?;
        // A removal that is known tells where the branches parted, and nothing more has to be waited for (rule: B4-18).
        let removal = removals_of_us::removal_before(self.tx, row, offer.epoch)?;
        let mut from = match removal {
            Some((_, fork)) => fork.saturating_add(1),
            None if !self.was_patient(came) => return Ok(None),
            None => row.join_epoch,
        };
        if row.pass.opened != 0 {
            return Ok(None);
        }
        let mut behind = Behind::Lost(from);
        if removal.is_none() && is_settled(row) {
            // (who has founded a group may be the only one who says or changes anything there)
            let alone = match row.welcome {
                Some(_) if row.pass.floor > row.join_epoch => self.alone_since(row)?,
                _ => None,
            };
            if alone.is_none() {
                behind = Behind::Away;
            }
            // rule: B4-21 whom nobody has joined on a branch since all that is retained of it is not held back by its length
            if alone.is_some_and(|since| came.is_some_and(|at| at >= since)) {
                return Ok(Some(behind));
            }
            if alone.is_none() {
                if !self.is_deserted(row, offer.made.min(came.unwrap_or(0)))? {
                    return Ok(None);
                }
                from = row.pass.floor;
            }
        }
        // (of all that we know of: several of them may have lost)
        let nodes = self.tx.nodes(&row.id)?;
        let highest =
            nodes.iter().filter(|n| !n.removed).map(|n| n.epoch).fold(row.epoch, u64::max);
        let mut speakers: BTreeMap<u64, BTreeSet<PublicKey>> = BTreeMap::new();
        for witness in self.tx.witnesses(&row.id, 0)? {
            if witness.epoch >= from {
                speakers.entry(witness.epoch).or_default().insert(witness.sender);
            }
        }
        let quorum = speakers.values().any(|who| who.len() >= branch_order::POLICY.quorum_senders);
        Ok((offer.epoch > highest.saturating_add(u64::from(quorum))).then_some(behind))
    }

    // rule: B4-25 who cannot follow the others any more is led to them by an invitation, if nobody was heard here since
    /// Whether nothing speaks for others being where we are, since a Welcome was made: no admin invites whom it sees in the
    /// group, so somebody is elsewhere, and who goes on here says that it is not all of them. Whoever has missed a commit
    /// for good, or cannot judge it, learns of the others by nothing else.
    ///
    /// What was said before that may be read after the Welcome has come, in any order, so its own time counts (but none that
    /// lies ahead of ours). And as long as things are read, more of them may come, the removal of us, too.
    fn is_deserted(&mut self, row: &GroupRow, made: Timestamp) -> Result<bool> {
        if membership::is_out(row.status)
            || self.groups().publishing(row)?
            || !self.is_quiet(row)?
        {
            return Ok(false);
        }
        // Of those who go on elsewhere something comes that cannot be read, if only the commit that added us. Without it
        // nothing may be heard because no relay of the group answers, and what is said there may still be for us. Older
        // things tell nothing of that: a stranger may have made them. (Who invites may date the commit before its Welcome,
        // by as long as it takes to publish it.)
        let since = made.saturating_sub(PATIENCE);
        let refused = self.memory.buffered.refused.get(&row.id).copied();
        if history_gaps::last_unread(self.tx, row)?.max(refused).is_none_or(|at| at < since) {
            self.wants_sign = Some(since);
            return Ok(false);
        }
        let me = self.me();
        let nodes = self.tx.nodes(&row.id)?;
        let commits = nodes.iter().any(|n| {
            let others = n.canonical && n.parent.is_some() && n.committer != Some(me);
            others && n.sent_at.min(n.made_at / 1000) > made
        });
        let beside: BTreeSet<_> =
            nodes.iter().filter(|n| !n.canonical).map(|n| n.authenticator).collect();
        let heard = self.tx.heard_after(&row.id, &me, made)?;
        Ok(!commits && heard.iter().all(|state| beside.contains(state)))
    }

    /// Whether nothing of others has come for as long as a Welcome waits. (A clock that was ahead says nothing about it.)
    pub(crate) fn is_quiet(&self, row: &GroupRow) -> Result<bool> {
        let (heard, now) = (history_gaps::last_heard(self.tx, self.me(), &row.id)?, self.now());
        Ok(heard > now || heard.saturating_add(PATIENCE) <= now)
    }

    /// When a Welcome came that waits, in Unix seconds.
    fn waits_since(&mut self, row: &GroupRow, invite: &EventId) -> Result<Option<u64>> {
        let held = self.waiting().held_welcomes(&row.id)?;
        Ok(held.iter().find(|w| w.event_id == *invite).map(|w| w.received_at))
    }

    /// Whether a Welcome that came then has waited long enough.
    fn was_patient(&self, came: Option<u64>) -> bool {
        came.is_some_and(|at| at.saturating_add(PATIENCE) <= self.now())
    }

    // rule: B4-39 nobody is known not to be an admin as long as another branch may win that has made it one
    /// Whether a Welcome to a later epoch than our membership began in is not to be refused yet for its maker: branches
    /// compete, or it has just come, and by another subscription than what may compete.
    pub(crate) fn is_early(&mut self, row: &GroupRow, offer: &Offer) -> Result<bool> {
        let came = self.waits_since(row, &offer.invite)?;
        Ok(offer.epoch > row.join_epoch && (undecided(&row.pass) || !self.was_patient(came)))
    }

    // rule: B4-22 where a Welcome leads that has waited long is compared with where our own has led
    /// Whether a Welcome to a later epoch than our membership began in is to be kept beside it: no removal has come that
    /// it could lead on from, so it may be of a branch that parted before both; the state that our own Welcome led to is
    /// still retained, so the two can be compared; and as far as it can be seen from here it does not win by itself (that
    /// is B4-16). What is said and committed there can be followed from now on, and decides.
    pub(crate) fn may_rival_later(&mut self, row: &GroupRow, offer: &Offer) -> Result<bool> {
        Ok(self.may_compare(row, offer)? && self.is_left_behind(row, offer)?.is_none())
    }

    /// Whether a Welcome to a later epoch has waited long enough, and what our own led to is still there to be compared with.
    pub(crate) fn may_compare(&mut self, row: &GroupRow, offer: &Offer) -> Result<bool> {
        let came = self.waits_since(row, &offer.invite)?;
        Ok(offer.epoch > row.join_epoch
            && row.pass.opened == 0
            && self.was_patient(came)
            && may_rival(row, row.join_epoch))
    }

    /// Since when, in Unix seconds, all that we followed was made by us and nobody else spoke, if that is all that is
    /// retained. Who is in a group that others follow may be so too, when they are silent: but no admin of such a group
    /// invites a member of it.
    fn alone_since(&self, row: &GroupRow) -> Result<Option<u64>> {
        let me = self.me();
        let nodes = self.tx.nodes(&row.id)?;
        let Some(oldest) = nodes.iter().find(|n| n.canonical && n.epoch == row.pass.floor) else {
            return Ok(None);
        };
        let ours = |n: &&NodeRow| n.canonical && n.epoch > row.pass.floor;
        let spoke = self.tx.witnesses(&row.id, 0)?;
        let others = nodes.iter().filter(ours).any(|n| n.committer != Some(me))
            || spoke.iter().any(|said| said.epoch >= row.pass.floor && said.sender != me);
        Ok((!others).then_some(oldest.made_at.div_ceil(1000)))
    }
}
