//! A proposal.

use mdk_store::{InputClass, InputRow, InputState, NodeRow, Tx};
use mdk_wire::budget::member::MAX_PROPOSALS;
use openmls::prelude::{ProcessedMessageContent, Proposal, ProtocolMessage};
use openmls_rust_crypto::RustCrypto;

use crate::mls::rebuild_state::Copies;
use crate::mls::refusal::{Refusal, refusal, sender_account};
use crate::mls::replay::Proposed;
use crate::mls::work::Work;
use crate::mls::{leave_proposal, views};
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, Verdict};
use crate::operations::receive::{locate_parent, refuse};
use crate::policy;
use crate::state_store::handshakes_tried::Vain;
use crate::state_store::records::Records;
use crate::state_store::seen;

/// A proposal that was not made on the tip. (rule: D2-9)
pub(crate) fn place_proposal(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    opened: &Opened,
    message: &ProtocolMessage,
) -> Result<Verdict, Halt> {
    let epoch = message.epoch().as_u64();
    let id = opened.row.id.clone();
    let states = records.tx.states(&id)?;
    let mut nodes: Vec<&NodeRow> =
        states.iter().filter(|n| n.authenticator == opened.opener).collect();
    nodes.retain(|n| n.epoch == epoch && !n.removed);
    nodes.retain(|n| !records.memory.tried.is_elsewhere(opened.content_id, n.authenticator));
    for node in nodes {
        let (sender, view) = match Copies::new(records.groups(), records.call, crypto)
            .try_proposal(&id, message.clone(), node)?
        {
            Proposed::Made { sender, view } => (sender, view),
            Proposed::Missing => continue,
            Proposed::Elsewhere => {
                let (proposal, state) = (opened.content_id, node.authenticator);
                records.memory.tried.note(proposal, state, Vain::Elsewhere);
                continue;
            }
        };
        let mut input = opened.input(InputClass::Proposal, epoch, records.now());
        input.state = InputState::Verified;
        input.sender = sender;
        input.parent_auth = Some(node.authenticator);
        if !keep_proposal(records.tx, &input)? {
            return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
        }
        debug_assert!(view.sender.is_some() || sender.is_none());
        seen::done(records.tx, opened)?;
        records.effects.new_states.push((id.clone(), node.authenticator));
        records.effects.follow(FollowUp::RetryBuffered(id));
        // It has no effect of its own here; a commit of its state may refer to it.
        return Ok(Verdict::Deferred(DeferredReason::Rival));
    }
    locate_parent::hold_there(
        records,
        opened,
        InputClass::Proposal,
        epoch,
        DeferredReason::MissingParent,
    )
}

/// A standalone proposal on the tip: verified and kept in our own table, never in the OpenMLS store,
/// where it would stop messages and slip into commits (C1 step 2).
pub(crate) fn apply_proposal(
    work: &mut Work<'_>,
    opened: Opened,
    message: ProtocolMessage,
) -> Result<Verdict, Halt> {
    let mut group = work.take(&opened.row.id)?;
    let (epoch, copy) = (group.row.epoch, message.clone());
    let processed = match group.mls.process_message(&work.provider(), message) {
        Ok(processed) => processed,
        Err(error) => {
            return match refusal(&error) {
                Refusal::Elsewhere => {
                    work.put(group);
                    place_proposal(&mut work.records, work.crypto, &opened, &copy)
                }
                refusal => refuse::refuse(
                    &mut work.records,
                    &opened,
                    epoch,
                    Some(InputClass::Proposal),
                    refusal,
                ),
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
            Some(leave_proposal::answer_time(work.records.call, &group, leaf))
        }
        _ => None,
    };
    let input = InputRow {
        state: InputState::Verified,
        sender: account,
        parent_auth: Some(group.row.authenticator),
        due_at,
        ..opened.input(InputClass::Proposal, epoch, work.records.now())
    };
    let kept = keep_proposal(work.records.tx, &input)?;
    work.put(group);
    if !kept {
        return Ok(Verdict::Deferred(DeferredReason::ResourceRefused));
    }
    seen::done(work.records.tx, &opened)?;
    let id = opened.row.id;
    work.records.effects.follow(FollowUp::AnswerLeaves(id.clone()));
    if let Some(parent) = input.parent_auth {
        work.records.effects.new_states.push((id.clone(), parent));
    }
    work.records.effects.follow(FollowUp::RetryBuffered(id));
    Ok(Verdict::Applied)
}

/// Keeps a verified proposal within its sender's share.
///
/// A leaf can make any number of proposals; a commit refers to the lowest it has seen (rule: 2.7-5). So the
/// lowest ones are kept, and one member's flood takes no room from others.
pub(crate) fn keep_proposal(tx: &Tx<'_>, input: &InputRow) -> Result<bool> {
    let mine: Vec<InputRow> = tx
        .input_heads(&input.group)?
        .into_iter()
        .filter(|i| i.class == InputClass::Proposal && i.epoch == input.epoch)
        .filter(|i| i.sender == input.sender)
        .collect();
    if mine.len() >= MAX_PROPOSALS {
        match mine.iter().max_by_key(|i| i.content_id) {
            Some(highest) if highest.content_id > input.content_id => {
                tx.drop_input(&input.group, &highest.content_id)?;
            }
            _ => return Ok(false),
        }
    }
    Ok(tx.put_input(input, u32::MAX)?)
}
