//! Welcomes of ours that are handed out again, and forgotten.

use mdk_store::{CommitStatus, Tx};
use mdk_wire::GroupId;

use crate::mls::identity::Identity;
use crate::mls::outgoing_welcomes;
use crate::mls::outgoing_welcomes::RESEND_FOR;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::model::membership;
use crate::state_store::records::Records;

// rule: C2-8 whoever a commit of ours has added is invited when that commit becomes true, also when it had been given
// up or had lost before: to everybody it is a member then, and nobody else has its Welcome
/// Hands out, after a change of branches, the Welcomes that were kept back: those of commits that are true now, for
/// accounts that are members now. Welcomes that a relay is known to have are not here any more. Another one may go out
/// twice, and its reader sees that.
pub(crate) fn invite_again(
    records: &mut Records<'_>,
    identity: &Identity,
    id: &GroupId,
) -> Result<()> {
    let withheld = records.tx.withheld_welcomes(id)?;
    if withheld.is_empty() {
        return Ok(());
    }
    let (members, nodes) = (records.groups().current_row(id)?.members, records.tx.nodes(id)?);
    for welcome in withheld.iter().filter(|welcome| members.contains(&welcome.recipient)) {
        let Some(commit) = records.tx.pending(welcome.pending)? else { continue };
        let node = nodes.iter().find(|node| node.commit == Some(commit.digest));
        let is_true = match (node, commit.status) {
            (Some(node), _) => node.canonical,
            // (its state was let go, and the branches beside it have parted since)
            (None, CommitStatus::Confirmed) => !records.commits().is_withdrawn(&commit)?,
            (None, _) => false,
        };
        if is_true {
            records.tx.release_welcome(welcome.id)?;
            let event = outgoing_welcomes::wrap_again(identity, &commit, welcome)?;
            records.outbox().post_welcome(&commit, &event, welcome.recipient)?;
            records.effects.withheld.retain(|gone| *gone != event.id());
            records.effects.publish.push(event);
        }
    }
    Ok(())
}

/// Forgets Welcomes that are too old to be handed out again.
pub(crate) fn expire_welcomes(tx: &Tx<'_>, call: Call<'_>) -> Result<()> {
    for welcome in tx.sendable_welcomes()? {
        let commit = tx.pending(welcome.pending)?;
        if commit.as_ref().is_some_and(|c| c.created_at.saturating_add(RESEND_FOR) > call.now()) {
            continue;
        }
        tx.drop_welcomes(welcome.pending)?;
        if let Some(commit) = commit {
            forget_last_commits(tx, &commit.group)?;
        }
    }
    Ok(())
}

/// Forgets finished commits of a group that we are out of and that retains no state: no later step would take them
/// away.
fn forget_last_commits(tx: &Tx<'_>, id: &GroupId) -> Result<()> {
    let over = tx.group(id)?.is_some_and(|row| membership::is_over(row.status));
    if over && tx.nodes(id)?.is_empty() {
        tx.prune_commits(id, u64::MAX)?;
    }
    Ok(())
}
