//! The result of an event that is refused, or that cannot take effect yet.

use mdk_store::{InputClass, InputState, NodeRow};

use crate::mls::decode;
use crate::mls::refusal::Refusal;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::JUDGE_AGAIN;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::handshakes_tried::{Vain, proposals_on};
use crate::state_store::log_entry::Stored;
use crate::state_store::records::Records;

/// Turns a refusal into a verdict. A group that was taken and is not put back is loaded again by its next use.
pub(crate) fn refuse(
    records: &mut Records<'_>,
    opened: &Opened,
    epoch: u64,
    class: Option<InputClass>,
    refusal: Refusal,
) -> Result<Verdict, Halt> {
    let reason = match refusal {
        Refusal::Reject(rejection) => {
            if rejection.rule == "D2-8" {
                records.input.behind = Some((opened.row.id.clone(), opened.sent_at));
            }
            return Err(rejection.into());
        }
        Refusal::Fail(error) => return Err(error.into()),
        Refusal::Wait(reason) => reason,
        Refusal::Elsewhere => DeferredReason::MissingParent,
        Refusal::OwnLost => DeferredReason::CannotJudge,
    };
    match class {
        Some(class) => records.handshakes().hold_input(opened, class, epoch, reason),
        None => hold_opened(records, opened, reason),
    }
}

/// As `hold`; an input is kept already.
pub(crate) fn hold_opened(
    records: &mut Records<'_>,
    opened: &Opened,
    reason: DeferredReason,
) -> Result<Verdict, Halt> {
    let Some(event) = &opened.event else { return Ok(Verdict::Deferred(reason)) };
    let verdict = records.buffered().hold(&opened.row, event, reason)?;
    // rule: F1-10 what a key has opened is not of a time before ours, if it does not say so
    let claims = decode::decode(&opened.bytes).map(|message| message.epoch().as_u64());
    if claims.is_ok_and(|epoch| epoch >= opened.row.join_epoch) {
        records.tx.may_be_lost(&event.id())?;
    }
    Ok(verdict)
}

/// A commit whose state is known, but which lacks something else.
pub(crate) fn wait_on(
    records: &mut Records<'_>,
    opened: &Opened,
    node: &NodeRow,
    epoch: u64,
    reason: DeferredReason,
) -> Result<Verdict, Halt> {
    let due = (reason == DeferredReason::CannotJudge)
        .then(|| records.call.now_millis.saturating_add(JUDGE_AGAIN));
    let parent = Some(node.authenticator);
    if reason == DeferredReason::CannotJudge {
        tell_unjudged(records, opened, node)?;
    }
    if reason == DeferredReason::MissingParent {
        let inputs = records.tx.input_heads(&opened.row.id)?;
        let lacks = Vain::Lacks(proposals_on(&inputs, &node.authenticator));
        records.memory.tried.note(opened.content_id, node.authenticator, lacks);
    }
    records.handshakes().keep_input(
        opened,
        InputClass::Commit,
        epoch,
        (InputState::Waiting, parent, due),
        reason,
    )
}

// rule: F1-12 who still stands before a commit that nobody may judge any more when it is tried again is told, once
/// Tells it, without a verdict on the group: any member can send such a commit, and a clock that is wrong makes one. If
/// the others took it in time, this member cannot follow them, and learns it from nothing else.
pub(crate) fn tell_unjudged(
    records: &mut Records<'_>,
    opened: &Opened,
    node: &NodeRow,
) -> Result<(), Halt> {
    let id = &opened.row.id;
    let tried = records.tx.input(id, &opened.content_id)?.map(|input| input.received_at);
    let again = tried.is_some_and(|at| at.saturating_add(JUDGE_AGAIN / 1000) <= records.now());
    if again && records.groups().current_row(id)?.authenticator == node.authenticator {
        let subject = [&b"unjudged"[..], &node.authenticator].concat();
        records.log().emit(id, &subject, &Stored::CannotFollow { epoch: node.epoch })?;
    }
    Ok(())
}
