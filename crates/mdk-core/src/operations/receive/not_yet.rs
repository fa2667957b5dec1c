//! What becomes of a handshake that is refused: for ever, or for now.

use mdk_store::{InputClass, InputState, NodeRow};
use openmls::prelude::ProtocolMessage;
use openmls_traits::OpenMlsProvider;

use crate::mls::decode;
use crate::mls::refusal::Refusal;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::JUDGE_AGAIN;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::operations::receive::locate_parent;
use crate::state_store::handshakes_tried::{Vain, proposals_on};
use crate::state_store::records::Records;
use crate::state_store::retained_states;

/// Turns a refusal into a verdict. Where the group was taken and is not put back, the next use reloads it.
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

/// As [`refuse`], for a commit that claims to be made on the tip.
pub(crate) fn refuse_commit(
    work: &mut Work<'_>,
    opened: &Opened,
    message: &ProtocolMessage,
    refusal: Refusal,
) -> Result<Verdict, Halt> {
    let id = &opened.row.id;
    // Proposals loaded for a commit that does not apply do not stay in the OpenMLS store.
    let mut group = work.take(id)?;
    let provider = work.provider();
    group.mls.clear_pending_proposals(provider.storage())?;
    work.put(group);
    let epoch = opened.row.epoch;
    match refusal {
        Refusal::Elsewhere => {
            locate_parent::place_commit(&mut work.records, work.crypto, opened, message, true)
        }
        // rule: D5-3 a commit waits for the proposals that it refers to
        Refusal::Wait(reason) => {
            let tip = retained_states::tip(work.records.groups(), id)?;
            wait_on(&mut work.records, opened, &tip, epoch, reason)
        }
        Refusal::OwnLost => {
            let tip = retained_states::tip(work.records.groups(), id)?;
            work.records.handshakes().own_lost(opened, &tip, epoch)
        }
        refusal => refuse(&mut work.records, opened, epoch, Some(InputClass::Commit), refusal),
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
        locate_parent::tell_unjudged(records, opened, node)?;
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
