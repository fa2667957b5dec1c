//! The kind of an MLS message, and its epoch (protocol/events.md D1, D2).
//!
//! The claimed epoch is not authenticated here: it may park a message, but never condemns one that could be valid.

use mdk_store::Tx;
use openmls::prelude::ContentType;

use crate::fork_choice::settling::beyond;
use crate::mls::decode::decode;
use crate::mls::work::Work;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership::is_out;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::operations::receive::{
    apply_commit, apply_proposal, locate_parent, open_message, refuse,
};

pub(crate) fn classify(work: &mut Work<'_>, opened: Opened) -> Result<Verdict, Halt> {
    let message = decode(&opened.bytes)?;
    if message.group_id().as_slice() != opened.row.id.as_bytes() {
        return Err(
            Rejection::new(RejectCode::InvalidEncoding, "D1-7", "another group's message").into()
        );
    }
    let claimed = message.epoch().as_u64();
    let tip = opened.row.epoch;
    let stale = |rule, reason| Err(Rejection::new(RejectCode::StaleEpoch, rule, reason).into());
    if claimed < opened.row.join_epoch {
        // rule: D2-4 what was sent before we joined is stale
        return stale("D2-4", "sent before we joined");
    }
    // rule: D2-3 what was sent before the retained epochs is stale
    if claimed < opened.row.pass.floor {
        return stale("D2-3", "its epoch is no longer retained");
    }
    if message.content_type() == ContentType::Commit
        && beyond(&opened.row.pass, claimed, work.records.input.batching)
    {
        let verdict = refuse::hold_opened(&mut work.records, &opened, DeferredReason::FutureEpoch)?;
        // Noise has taken the room. Then a line is not left for the end of the batch: a commit that leads on applies at
        // once.
        let full = verdict == Verdict::Deferred(DeferredReason::ResourceRefused);
        let far = beyond(&opened.row.pass, claimed, false);
        if !full || far {
            if !far {
                work.records.input.parked = true;
                // (which is taken up at the end of the batch, with everything else in it)
                let id = opened.row.id.clone();
                work.records.effects.follow(FollowUp::RetryBuffered(id));
            }
            return Ok(verdict);
        }
        work.records.input.kept_raw = false;
    }
    let over = is_out(opened.row.status);
    let on_tip = claimed == tip && !over;
    let sealed_here = opened.opener == opened.row.authenticator;
    match message.content_type() {
        ContentType::Application => open_message::open_message(work, opened, message),
        // A message that the key of another state opened is for that state.
        ContentType::Commit if on_tip && sealed_here => {
            apply_commit::apply_commit(work, opened, message)
        }
        ContentType::Proposal if on_tip && sealed_here => {
            apply_proposal::apply_proposal(work, opened, message)
        }
        // rule: D2-1 a message of an epoch to come waits for its commit
        _ if claimed > tip && !has_state(work.records.tx, &opened, claimed)? => {
            refuse::hold_opened(&mut work.records, &opened, DeferredReason::FutureEpoch)
        }
        // rule: D2-2 (a commit on an epoch we have left competes with one that we applied)
        ContentType::Commit => {
            locate_parent::place_commit(&mut work.records, work.crypto, &opened, &message, false)
        }
        // rule: D6-10 who is out keeps what is proposed in a retained state: a branch that keeps us may refer to it
        ContentType::Proposal => {
            apply_proposal::place_proposal(&mut work.records, work.crypto, &opened, &message)
        }
    }
}

fn has_state(tx: &Tx<'_>, opened: &Opened, epoch: u64) -> Result<bool, Halt> {
    Ok(tx.states(&opened.row.id)?.iter().any(|n| !n.removed && n.epoch == epoch))
}
