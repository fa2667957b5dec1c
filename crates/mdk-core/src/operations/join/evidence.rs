//! Evidence for an invite, or against the branch that is followed.

use std::collections::{BTreeMap, BTreeSet};

use mdk_store::{GroupRow, GroupStatus, NodeRow, Tx};
use mdk_wire::{EventId, GroupId, PublicKey, Timestamp};

use crate::fork_choice::branch_order;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::invites::Offer;
use crate::model::limits::PATIENCE;
use crate::model::membership;
use crate::operations::join::retry_welcomes::is_settled;
use crate::policy::invite::{Behind, Evidence};
use crate::state_store::records::Records;
use crate::state_store::{competing_invites, history_gaps, removals_of_us};

/// The facts that are known of a Welcome before it is opened.
pub(crate) fn evidence(
    records: &mut Records<'_>,
    id: &GroupId,
    known: Option<&GroupRow>,
    offer: &Offer,
) -> Result<Evidence> {
    let Some(row) = known else {
        return Ok(Evidence { deleted: records.tx.ended(id)?, ..Evidence::default() });
    };
    let given_up = row.status.is_stuck();
    let there = !membership::is_over(row.status) && !given_up;
    let later = offer.epoch > row.join_epoch && row.status != GroupStatus::Founding;
    let leads = there && later || row.status == GroupStatus::Leaving;
    let came = waits_since(records, row, &offer.invite)?;
    Ok(Evidence {
        unanswered: competing_invites::ended_unanswered(records.tx, row)?,
        deleted: None,
        removal: match given_up {
            true => None,
            false => removals_of_us::removal_before(records.tx, row, offer.epoch)?
                .map(|(removal, _)| removal),
        },
        behind: if leads { is_left_behind(records, row, offer)? } else { None },
        waited: was_patient(records.call, came),
        asked_again: row.status == GroupStatus::Disbanded
            && competing_invites::is_asked_after_a_strangers(
                records.tx,
                row,
                offer.epoch,
                offer.made,
            )?,
        maker: None,
    })
}

/// Whether a Welcome for a group that we are in leads to where the others are, if its maker is an admin in our view.
/// One of three things holds besides: a branch is known that removed us; the Welcome has waited long, and our
/// membership is so young that it may have begun on a branch that lost; or the Welcome has waited long, and nothing
/// shows that the others are where we are (B4-25). The branch of the Welcome also beats all of ours by the order of
/// branches, as far as it can be seen from here.
fn is_left_behind(
    records: &mut Records<'_>,
    row: &GroupRow,
    offer: &Offer,
) -> Result<Option<Behind>> {
    let came = waits_since(records, row, &offer.invite)?;
    // A removal that is known tells where the branches parted, and nothing more has to be waited for (rule: B4-18).
    let removal = removals_of_us::removal_before(records.tx, row, offer.epoch)?;
    let mut from = match removal {
        Some((_, fork)) => fork.saturating_add(1),
        None if !was_patient(records.call, came) => return Ok(None),
        None => row.join_epoch,
    };
    if row.pass.opened != 0 {
        return Ok(None);
    }
    let mut behind = Behind::Lost(from);
    if removal.is_none() && is_settled(row) {
        // (a founder may be the only one who says or changes anything there)
        let alone = match row.welcome {
            Some(_) if row.pass.floor > row.join_epoch => {
                alone_since(records.tx, records.call, row)?
            }
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
            if !is_deserted(records, row, offer.made.min(came.unwrap_or(0)))? {
                return Ok(None);
            }
            from = row.pass.floor;
        }
    }
    // (of all known branches: several of them may have lost)
    let nodes = records.tx.nodes(&row.id)?;
    let highest = nodes.iter().filter(|n| !n.removed).map(|n| n.epoch).fold(row.epoch, u64::max);
    let mut speakers: BTreeMap<u64, BTreeSet<PublicKey>> = BTreeMap::new();
    for witness in records.tx.witnesses(&row.id, 0)? {
        if witness.epoch >= from {
            speakers.entry(witness.epoch).or_default().insert(witness.sender);
        }
    }
    let quorum = speakers.values().any(|who| who.len() >= branch_order::POLICY.quorum_senders);
    Ok((offer.epoch > highest.saturating_add(u64::from(quorum))).then_some(behind))
}

// rule: B4-25 who cannot follow the others any more is led to them by an invitation, if nobody was heard here since
/// Whether there is no sign since a Welcome was made that others are where we are. An admin does not invite a member
/// that it sees in the group, so the inviter is elsewhere. A member who goes on here shows that not all are. A member
/// who has missed a commit for good, or cannot judge it, learns of the others by nothing else.
///
/// Messages from before the Welcome may be read after it has come, in any order. So the time of each message itself
/// counts, unless it lies ahead of our clock. As long as things are read, more of them may come, our removal among
/// them.
fn is_deserted(records: &mut Records<'_>, row: &GroupRow, made: Timestamp) -> Result<bool> {
    if membership::is_out(row.status)
        || records.groups().publishing(row)?
        || !history_gaps::is_quiet(records.tx, records.call, row)?
    {
        return Ok(false);
    }
    // If others go on elsewhere, events of theirs come that cannot be read: at least the commit that added us. Without
    // such an event, the silence may only mean that no relay of the group answers, and its messages may still be for
    // us. Older events prove nothing: a stranger may have made them. (An inviter may date the commit before its
    // Welcome, by as long as it takes to publish it.)
    let since = made.saturating_sub(PATIENCE);
    let refused = records.memory.buffered.refused.get(&row.id).copied();
    if history_gaps::last_unread(records.tx, row)?.max(refused).is_none_or(|at| at < since) {
        records.input.wants_sign = Some(since);
        return Ok(false);
    }
    let me = records.me();
    let nodes = records.tx.nodes(&row.id)?;
    let commits = nodes.iter().any(|n| {
        let others = n.canonical && n.parent.is_some() && n.committer != Some(me);
        others && n.sent_at.min(n.made_at / 1000) > made
    });
    let beside: BTreeSet<_> =
        nodes.iter().filter(|n| !n.canonical).map(|n| n.authenticator).collect();
    let heard = records.tx.heard_after(&row.id, &me, made)?;
    Ok(!commits && heard.iter().all(|state| beside.contains(state)))
}

/// The time at which a waiting Welcome came, in Unix seconds.
fn waits_since(records: &mut Records<'_>, row: &GroupRow, invite: &EventId) -> Result<Option<u64>> {
    let held = records.waiting().held_welcomes(&row.id)?;
    Ok(held.iter().find(|w| w.event_id == *invite).map(|w| w.received_at))
}

/// Whether a Welcome that came then has waited long enough.
fn was_patient(call: Call<'_>, came: Option<u64>) -> bool {
    came.is_some_and(|at| at.saturating_add(PATIENCE) <= call.now())
}

/// Returns since when, in Unix seconds, we alone have committed and spoken, if that holds for all that is retained. It
/// may also hold in a group that others follow in silence. But no admin of such a group invites a member of it.
fn alone_since(tx: &Tx<'_>, call: Call<'_>, row: &GroupRow) -> Result<Option<u64>> {
    let me = call.me();
    let nodes = tx.nodes(&row.id)?;
    let Some(oldest) = nodes.iter().find(|n| n.canonical && n.epoch == row.pass.floor) else {
        return Ok(None);
    };
    let ours = |n: &&NodeRow| n.canonical && n.epoch > row.pass.floor;
    let spoke = tx.witnesses(&row.id, 0)?;
    let others = nodes.iter().filter(ours).any(|n| n.committer != Some(me))
        || spoke.iter().any(|said| said.epoch >= row.pass.floor && said.sender != me);
    Ok((!others).then_some(oldest.made_at.div_ceil(1000)))
}
