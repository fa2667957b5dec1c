//! A message, opened by the state it was said in.

use mdk_store::{NodeRow, Tx};
use mdk_wire::budget::group::MAX_RIVALS;
use openmls::prelude::{ProcessedMessageContent, ProtocolMessage};

use crate::fork_choice::settling::undecided;
use crate::mls::refusal::{Refusal, refusal, sender_account};
use crate::mls::replay::Said;
use crate::mls::work::Work;
use crate::model::error::Result;
use crate::model::follow_up::FollowUp;
use crate::model::halt::Halt;
use crate::model::membership;
use crate::model::opened::Opened;
use crate::model::outcome::{DeferredReason, RejectCode, Rejection, Verdict};
use crate::operations::receive::deliver::Source;
use crate::operations::receive::{deliver, refuse};
use crate::state_store::handshakes_tried::{Vain, heard_until};
use crate::state_store::{branch_messages, candidates, seen};

pub(crate) fn open_message(
    work: &mut Work<'_>,
    opened: Opened,
    message: ProtocolMessage,
) -> Result<Verdict, Halt> {
    let epoch = message.epoch().as_u64();
    let row = &opened.row;
    // rule: B4-11 the live group has the message keys of its own epoch, retained states those of the epochs before
    let ours = !membership::is_out(row.status)
        && !candidates::is_candidate(work.records.tx, &opened, epoch)?;
    if !ours || epoch != row.epoch {
        return hear_elsewhere(work, &opened, &message, DeferredReason::FutureEpoch, ours);
    }
    let contested = row.pass.contested != 0 && epoch >= row.pass.contested;
    let copy = contested.then(|| message.clone());
    let mut group = work.take(&row.id)?;
    let processed = match group.mls.process_message(&work.provider(), message) {
        Ok(processed) => processed,
        Err(error) => {
            // The group was taken and is not put back: its ratchets may have moved.
            let refusal = refusal(&error);
            return match (copy, refusal) {
                // rule: D2-10 while branches compete it may have been said on another one
                (Some(message), refusal @ Refusal::Reject(_)) => {
                    let reason = DeferredReason::Undecryptable;
                    match hear_elsewhere(work, &opened, &message, reason, false)? {
                        Verdict::Deferred(DeferredReason::Undecryptable) => {
                            refuse::refuse(&mut work.records, &opened, epoch, None, refusal)
                        }
                        verdict => Ok(verdict),
                    }
                }
                (_, refusal) => refuse::refuse(&mut work.records, &opened, epoch, None, refusal),
            };
        }
    };
    let sender = sender_account(&processed);
    let ProcessedMessageContent::ApplicationMessage(content) = processed.into_content() else {
        // Our own private message cannot be decrypted by us: a claim to be an echo (D2).
        work.put(group);
        return Ok(Verdict::Duplicate);
    };
    // rule: D3-1 the sender's leaf stands for an account
    let sender = sender.ok_or(Rejection::new(
        RejectCode::InvalidEncoding,
        "D3-1",
        "the sender's credential is not an account",
    ))?;
    let source = Source {
        epoch,
        authenticator: group.row.authenticator,
        retention: group.row.retention,
        followed: true,
    };
    work.put(group);
    seen::done(work.records.tx, &opened)?;
    deliver::deliver(work, &opened, sender, &source, &content.into_bytes())?;
    Ok(Verdict::Applied)
}

/// Reads a message of a retained state: of a past epoch, or of another branch. A message on a branch that has not won
/// is kept out of sight and counted. `unheard` says why it waits if no state opens it. `ours`: the followed branch has
/// the last word on a message that no state opens.
fn hear_elsewhere(
    work: &mut Work<'_>,
    opened: &Opened,
    message: &ProtocolMessage,
    mut unheard: DeferredReason,
    ours: bool,
) -> Result<Verdict, Halt> {
    let (id, epoch) = (&opened.row.id, message.epoch().as_u64());
    let states = work.records.tx.states(id)?;
    let mut nodes: Vec<&NodeRow> = states.iter().filter(|n| n.epoch == epoch).collect();
    let tip = opened.row.authenticator;
    // rule: D6-6 who is out hears nothing more; what others say on a branch that keeps us still counts
    // rule: D6-11 as long as the removal is not decided on, what was said in the states before it is read: it counts
    // for their branch, as with who is not out, and is for us
    let over = membership::is_out(opened.row.status);
    let deaf = over && !undecided(&opened.row.pass);
    nodes.retain(|n| !n.removed && n.authenticator != tip && !(deaf && n.canonical));
    if ours && nodes.iter().any(|n| n.canonical) {
        // (if it waits, then for earlier messages of its sender)
        unheard = DeferredReason::FutureGeneration;
    }
    // Each try loads the state, and peers may send many messages that none of the states opens.
    let heard = heard_until(work.records.tx.newest_message()?);
    nodes.retain(|n| !work.records.memory.tried.is_deaf(opened.content_id, n.authenticator, heard));
    nodes.sort_by_key(|n| n.authenticator != opened.opener);
    spare_sleepers(work.records.tx, opened, &mut nodes)?;
    let mut refused = None;
    for node in nodes {
        let (sender, content) = match work.copies().hear(id, message.clone(), node)? {
            said @ (Said::Missing | Said::Refused(_)) => {
                let vain = match said {
                    Said::Refused(Refusal::Reject(_) | Refusal::Elsewhere) => Vain::Elsewhere,
                    _ => Vain::Lacks(heard),
                };
                work.records.memory.tried.note(opened.content_id, node.authenticator, vain);
                if let Said::Refused(refusal) = said
                    && ours
                    && node.canonical
                {
                    refused = Some(refusal);
                }
                continue;
            }
            Said::Own => return Ok(Verdict::Duplicate),
            Said::Content(sender, content) => (sender, content),
        };
        let source = Source {
            epoch,
            authenticator: node.authenticator,
            retention: node.retention,
            // (a message of the group is out of sight where we are out of it, until the choice is made)
            followed: node.canonical && !over,
        };
        seen::done(work.records.tx, opened)?;
        deliver::deliver(work, opened, sender, &source, &content)?;
        if !node.canonical {
            // The message may have woken the state. Another state may sleep for it.
            work.records.effects.follow(FollowUp::LimitBranches(id.clone()));
        }
        let shown = source.followed
            || node.canonical && !branch_messages::is_to_choose(work.records.groups(), id)?;
        return Ok(if shown { Verdict::Applied } else { Verdict::Deferred(DeferredReason::Rival) });
    }
    if let Some(refusal) = refused {
        return refuse::refuse(&mut work.records, opened, epoch, None, refusal);
    }
    match unheard {
        DeferredReason::Undecryptable => Ok(Verdict::Deferred(unheard)),
        _ if over => {
            let reason = "no longer in this group";
            Err(Rejection::new(RejectCode::UnknownGroup, "D1-3", reason).into())
        }
        _ => refuse::hold_opened(&mut work.records, opened, unheard),
    }
}

/// Limits the sleeping states that are made again for one message, other than the state that sealed it. A member with
/// several keys may seal a message with any of them, and each try costs as much as a commit.
fn spare_sleepers(tx: &Tx<'_>, opened: &Opened, nodes: &mut Vec<&NodeRow>) -> Result<()> {
    if nodes.len() <= MAX_RIVALS {
        return Ok(());
    }
    let whole = tx.whole_nodes(&opened.row.id)?;
    let (first, mut asleep): (Vec<_>, Vec<_>) = std::mem::take(nodes).into_iter().partition(|n| {
        n.authenticator == opened.opener || n.canonical || whole.contains(&n.authenticator)
    });
    asleep.sort_by_key(|n| n.commit);
    asleep.truncate(MAX_RIVALS);
    *nodes = first;
    nodes.append(&mut asleep);
    Ok(())
}
