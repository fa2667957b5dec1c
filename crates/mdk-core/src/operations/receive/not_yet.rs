//! What becomes of a handshake that is refused: for ever, or for now.

use mdk_store::InputClass;
use openmls::prelude::ProtocolMessage;
use openmls_traits::OpenMlsProvider;

use crate::ctx::Ctx;
use crate::mls::decode::Opened;
use crate::mls::refusal::Refusal;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::outcome::{DeferredReason, Verdict};

impl Ctx<'_, '_> {
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
            Some(class) => self.hold_input(opened, class, epoch, reason),
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
                let tip = self.tip(id)?;
                self.wait_on(opened, &tip, epoch, reason)
            }
            Refusal::OwnLost => {
                let tip = self.tip(id)?;
                self.own_lost(opened, &tip, epoch)
            }
            refusal => self.refuse(opened, epoch, Some(InputClass::Commit), refusal),
        }
    }
}
