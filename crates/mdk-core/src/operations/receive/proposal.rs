//! A proposal.

use mdk_store::{InputClass, InputRow, InputState, NodeRow};
use openmls::prelude::{ProcessedMessageContent, Proposal, ProtocolMessage};

use crate::ctx::Ctx;
use crate::mls::refusal::{Refusal, refusal, sender_account};
use crate::mls::replay::Proposed;
use crate::mls::views;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::limits::MAX_PROPOSALS;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::policy;
use crate::state_store::handshakes_tried::Vain;
use crate::state_store::seen;

impl Ctx<'_> {
    /// A proposal that was not made on the tip. (rule: D2-9)
    pub(crate) fn place_proposal(
        &mut self,
        opened: &Opened,
        message: &ProtocolMessage,
    ) -> Result<Verdict, Halt> {
        let epoch = message.epoch().as_u64();
        let id = opened.row.id.clone();
        let states = self.tx.states(&id)?;
        let mut nodes: Vec<&NodeRow> =
            states.iter().filter(|n| n.authenticator == opened.opener).collect();
        nodes.retain(|n| n.epoch == epoch && !n.removed);
        nodes.retain(|n| !self.memory.tried.is_elsewhere(opened.content_id, n.authenticator));
        for node in nodes {
            let (sender, view) = match self.copies().try_proposal(&id, message.clone(), node)? {
                Proposed::Made { sender, view } => (sender, view),
                Proposed::Missing => continue,
                Proposed::Elsewhere => {
                    let (proposal, state) = (opened.content_id, node.authenticator);
                    self.memory.tried.note(proposal, state, Vain::Elsewhere);
                    continue;
                }
            };
            let mut input = opened.input(InputClass::Proposal, epoch, self.now());
            input.state = InputState::Verified;
            input.sender = sender;
            input.parent_auth = Some(node.authenticator);
            if !self.keep_proposal(&input)? {
                return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
            }
            debug_assert!(view.sender.is_some() || sender.is_none());
            seen::done(self.tx, opened)?;
            self.effects.new_states.push((id.clone(), node.authenticator));
            self.effects.follow(FollowUp::RetryBuffered(id));
            // It has no effect of its own here; a commit of its state may refer to it.
            return Ok(Verdict::Deferred(DeferredReason::Rival));
        }
        self.hold_there(opened, InputClass::Proposal, epoch, DeferredReason::MissingParent)
    }

    /// A standalone proposal on the tip: verified and kept in our own table, never in the OpenMLS store,
    /// where it would stop messages and slip into commits (C1 step 2).
    pub(crate) fn apply_proposal(
        &mut self,
        opened: Opened,
        message: ProtocolMessage,
    ) -> Result<Verdict, Halt> {
        let mut group = self.take(&opened.row.id)?;
        let (epoch, copy) = (group.row.epoch, message.clone());
        let processed = match group.mls.process_message(&self.provider(), message) {
            Ok(processed) => processed,
            Err(error) => {
                return match refusal(&error) {
                    Refusal::Elsewhere => {
                        self.put(group);
                        self.place_proposal(&opened, &copy)
                    }
                    refusal => self.refuse(&opened, epoch, Some(InputClass::Proposal), refusal),
                };
            }
        };
        let account = sender_account(&processed);
        let proposal = match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => proposal,
            _ => return Err(Error::Internal("a proposal was expected").into()),
        };
        let view = views::proposal_view(&proposal);
        policy::judge_proposal(&group.view(), &view)?;
        let due_at = match (proposal.proposal(), view.sender) {
            (Proposal::SelfRemove, Some(leaf)) if leaf != group.mls.own_leaf_index().u32() => {
                Some(self.answer_time(&group, leaf))
            }
            _ => None,
        };
        let input = InputRow {
            state: InputState::Verified,
            sender: account,
            parent_auth: Some(group.row.authenticator),
            due_at,
            ..opened.input(InputClass::Proposal, epoch, self.now())
        };
        let kept = self.keep_proposal(&input)?;
        self.put(group);
        if !kept {
            return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
        }
        seen::done(self.tx, &opened)?;
        let id = opened.row.id;
        self.effects.follow(FollowUp::AnswerLeaves(id.clone()));
        if let Some(parent) = input.parent_auth {
            self.effects.new_states.push((id.clone(), parent));
        }
        self.effects.follow(FollowUp::RetryBuffered(id));
        Ok(Verdict::Applied)
    }

    /// Keeps a verified proposal within its sender's share.
    ///
    /// A leaf can make any number of proposals; a commit refers to the lowest it has seen (rule: 2.7-5). So the
    /// lowest ones are kept, and one member's flood takes no room from others.
    pub(crate) fn keep_proposal(&mut self, input: &InputRow) -> Result<bool> {
        let mine: Vec<InputRow> = self
            .tx
            .input_heads(&input.group)?
            .into_iter()
            .filter(|i| i.class == InputClass::Proposal && i.epoch == input.epoch)
            .filter(|i| i.sender == input.sender)
            .collect();
        if mine.len() >= MAX_PROPOSALS {
            match mine.iter().max_by_key(|i| i.content_id) {
                Some(highest) if highest.content_id > input.content_id => {
                    self.tx.drop_input(&input.group, &highest.content_id)?;
                }
                _ => return Ok(false),
            }
        }
        Ok(self.tx.put_input(input, u32::MAX)?)
    }
}
