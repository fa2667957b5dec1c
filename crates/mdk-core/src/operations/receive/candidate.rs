//! A commit beside the followed branch.

use mdk_store::NodeRow;

use crate::fork_choice::settling::{base_for_rival, touch};
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::operations::others_elsewhere;
use crate::state_store::records::Records;
use crate::state_store::seen;

/// As [`add_candidate`], when nothing has to be noted about what led there.
pub(crate) fn add_rival(records: &mut Records<'_>, node: NodeRow) -> Result<Verdict, Halt> {
    let id = node.group.clone();
    records.tx.put_route(&node.nostr_group_id, &id, node.epoch)?;
    records.memory.rerouted = true;
    records.tx.put_node(&node)?;
    others_elsewhere::note_put_out(records.groups(), records.call, &node)?;
    let (now, epoch, auth) = (records.call.now_millis, node.epoch, node.authenticator);
    let row = records.edit_row(&id, |row| {
        let base = base_for_rival(row);
        touch(&mut row.pass, row.epoch, now);
        row.pass.base = base;
        // (what we were invited to has left our own branch before either began)
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

/// A state beside the followed branch. (rule: E3-2)
pub(crate) fn add_candidate(
    records: &mut Records<'_>,
    opened: &Opened,
    node: NodeRow,
) -> Result<Verdict, Halt> {
    seen::done(records.tx, opened)?;
    records.tx.drop_input(&opened.row.id, &opened.content_id)?;
    if records.states().is_surplus(&node)? {
        // (and keeps no pass open)
        return Ok(Verdict::Deferred(DeferredReason::Rival));
    }
    if let Some(parent) = node.parent {
        records.states().keep_commit(opened, node.epoch.saturating_sub(1), parent)?;
    }
    add_rival(records, node)
}
