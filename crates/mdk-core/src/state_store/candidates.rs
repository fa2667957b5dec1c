//! States beside the followed branch.

use mdk_store::{NodeRow, Tx};

use crate::fork_choice::settling::{base_for_rival, touch};
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::records::Records;
use crate::state_store::removals_of_others;

/// Takes a state in, and makes its follow-ups due.
pub(crate) fn add_rival(records: &mut Records<'_>, node: NodeRow) -> Result<Verdict, Halt> {
    let id = node.group.clone();
    records.tx.put_route(&node.nostr_group_id, &id, node.epoch)?;
    records.memory.for_client.rerouted = true;
    records.tx.put_node(&node)?;
    removals_of_others::note_put_out(records.groups(), records.call, &node)?;
    let (now, epoch, auth) = (records.call.now_millis, node.epoch, node.authenticator);
    let row = records.edit_row(&id, |row| {
        let base = base_for_rival(row);
        touch(&mut row.pass, row.epoch, now);
        row.pass.base = base;
        // (a state that we were invited to has left our own branch before either began)
        let from = node.parent.map_or(row.join_epoch.min(epoch), |_| epoch);
        row.pass.contested = match row.pass.contested {
            0 => from,
            other => other.min(from),
        };
    })?;
    records.memory.undecided.entry(id.clone()).or_default().rival = now;
    records.effects.new_states.push((id.clone(), auth));
    records.effects.follow(FollowUp::RetryBuffered(id.clone()));
    // Nothing competes with a commit on the tip.
    if node.parent == Some(row.authenticator) && !membership::is_out(row.status) {
        records.effects.follow(FollowUp::FollowBranch(id, auth));
        return Ok(Verdict::Applied);
    }
    records.effects.follow(FollowUp::LimitBranches(id));
    Ok(Verdict::Deferred(DeferredReason::Rival))
}

/// Whether a state of another branch opened it, and is of the epoch that it claims.
pub(crate) fn is_candidate(tx: &Tx<'_>, opened: &Opened, epoch: u64) -> Result<bool, Halt> {
    if opened.opener == opened.row.authenticator || opened.row.pass.contested == 0 {
        return Ok(false);
    }
    let states = tx.states(&opened.row.id)?;
    Ok(states.iter().any(|n| !n.canonical && n.epoch == epoch && n.authenticator == opened.opener))
}
