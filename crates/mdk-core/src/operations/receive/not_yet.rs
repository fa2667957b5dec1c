//! What becomes of a handshake that is refused: for ever, or for now.

use mdk_store::{InputClass, InputState, NodeRow};
use openmls::prelude::ProtocolMessage;
use openmls_traits::OpenMlsProvider;

use crate::ctx::Ctx;
use crate::mls::decode;
use crate::mls::refusal::Refusal;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::limits::JUDGE_AGAIN;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::state_store::handshakes_tried::{Vain, proposals_on};
use crate::state_store::retained_states;

impl Ctx<'_> {
    /// Turns a refusal into a verdict. Where the group was taken and is not put back, the next use reloads it.
    pub(crate) fn refuse(
        &mut self,
        opened: &Opened,
        epoch: u64,
        class: Option<InputClass>,
        refusal: Refusal,
    ) -> Result<Verdict, Halt> {
        let reason = match refusal {
            Refusal::Reject(rejection) => {
                if rejection.rule == "D2-8" {
                    self.behind = Some((opened.row.id.clone(), opened.sent_at));
                }
                return Err(rejection.into());
            }
            Refusal::Fail(error) => return Err(error.into()),
            Refusal::Wait(reason) => reason,
            Refusal::Elsewhere => DeferredReason::MissingParent,
            Refusal::OwnLost => DeferredReason::CannotJudge,
        };
        match class {
            Some(class) => self.handshakes().hold_input(opened, class, epoch, reason),
            None => self.hold_opened(opened, reason),
        }
    }

    /// As [`Ctx::refuse`], for a commit that claims to be made on the tip.
    pub(crate) fn refuse_commit(
        &mut self,
        opened: &Opened,
        message: &ProtocolMessage,
        refusal: Refusal,
    ) -> Result<Verdict, Halt> {
        let id = &opened.row.id;
        // Proposals loaded for a commit that does not apply do not stay in the OpenMLS store.
        let mut group = self.take(id)?;
        let provider = self.provider();
        group.mls.clear_pending_proposals(provider.storage())?;
        self.put(group);
        let epoch = opened.row.epoch;
        match refusal {
            Refusal::Elsewhere => self.place_commit(opened, message, true),
            // rule: D5-3 a commit waits for the proposals that it refers to
            Refusal::Wait(reason) => {
                let tip = retained_states::tip(self.groups(), id)?;
                self.wait_on(opened, &tip, epoch, reason)
            }
            Refusal::OwnLost => {
                let tip = retained_states::tip(self.groups(), id)?;
                self.handshakes().own_lost(opened, &tip, epoch)
            }
            refusal => self.refuse(opened, epoch, Some(InputClass::Commit), refusal),
        }
    }

    /// As [`Ctx::hold`]; an input is kept already.
    pub(crate) fn hold_opened(
        &mut self,
        opened: &Opened,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        let Some(event) = &opened.event else { return Ok(Verdict::Deferred(reason)) };
        let verdict = self.buffered().hold(&opened.row, event, reason)?;
        // rule: F1-10 what a key has opened is not of a time before ours, if it does not say so
        let claims = decode::decode(&opened.bytes).map(|message| message.epoch().as_u64());
        if claims.is_ok_and(|epoch| epoch >= opened.row.join_epoch) {
            self.tx.may_be_lost(&event.id())?;
        }
        Ok(verdict)
    }

    /// A commit whose state is known, but which lacks something else.
    pub(crate) fn wait_on(
        &mut self,
        opened: &Opened,
        node: &NodeRow,
        epoch: u64,
        reason: DeferredReason,
    ) -> Result<Verdict, Halt> {
        let due = (reason == DeferredReason::CannotJudge)
            .then(|| self.call.now_millis.saturating_add(JUDGE_AGAIN));
        let parent = Some(node.authenticator);
        if reason == DeferredReason::CannotJudge {
            self.tell_unjudged(opened, node)?;
        }
        if reason == DeferredReason::MissingParent {
            let inputs = self.tx.input_heads(&opened.row.id)?;
            let lacks = Vain::Lacks(proposals_on(&inputs, &node.authenticator));
            self.memory.tried.note(opened.content_id, node.authenticator, lacks);
        }
        self.handshakes().keep_input(
            opened,
            InputClass::Commit,
            epoch,
            (InputState::Waiting, parent, due),
            reason,
        )
    }
}
