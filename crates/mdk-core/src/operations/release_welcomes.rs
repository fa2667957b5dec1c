//! Welcomes of ours that are handed out again, and forgotten.

use mdk_store::CommitStatus;
use mdk_wire::GroupId;

use crate::ctx::Ctx;
use crate::mls::outgoing_welcomes::RESEND_FOR;
use crate::model::error::Result;
use crate::model::membership;

impl Ctx<'_> {
    // rule: C2-8 whoever a commit of ours has added is invited when that commit becomes true, also when it had been given
    // up or had lost before: to everybody it is a member then, and nobody else has its Welcome
    /// After a change of branches: hands out the Welcomes that were kept back, of commits that are true now, for whoever
    /// is a member now. Those that a relay is known to have are not here any more; another may go out twice, which its
    /// reader sees.
    pub(crate) fn invite_again(&mut self, id: &GroupId) -> Result<()> {
        let withheld = self.tx.withheld_welcomes(id)?;
        if withheld.is_empty() {
            return Ok(());
        }
        let (members, nodes) = (self.groups().current_row(id)?.members, self.tx.nodes(id)?);
        for welcome in withheld.iter().filter(|welcome| members.contains(&welcome.recipient)) {
            let Some(commit) = self.tx.pending(welcome.pending)? else { continue };
            let node = nodes.iter().find(|node| node.commit == Some(commit.digest));
            let is_true = match (node, commit.status) {
                (Some(node), _) => node.canonical,
                // (its state was let go, and what is beside it has parted since)
                (None, CommitStatus::Confirmed) => !self.commits().is_withdrawn(&commit)?,
                (None, _) => false,
            };
            if is_true {
                self.tx.release_welcome(welcome.id)?;
                let event = self.wrap_again(&commit, welcome)?;
                self.outbox().post_welcome(&commit, &event, welcome.recipient)?;
                self.effects.withheld.retain(|gone| *gone != event.id());
                self.effects.publish.push(event);
            }
        }
        Ok(())
    }

    /// Forgets Welcomes that are too old to be handed out again.
    pub(crate) fn expire_welcomes(&self) -> Result<()> {
        for welcome in self.tx.sendable_welcomes()? {
            let commit = self.tx.pending(welcome.pending)?;
            if commit.as_ref().is_some_and(|c| c.created_at.saturating_add(RESEND_FOR) > self.now())
            {
                continue;
            }
            self.tx.drop_welcomes(welcome.pending)?;
            if let Some(commit) = commit {
                self.forget_last_commits(&commit.group)?;
            }
        }
        Ok(())
    }

    /// Where we are out and no state is retained any more, nothing else comes that would take finished commits away.
    fn forget_last_commits(&self, id: &GroupId) -> Result<()> {
        let over = self.tx.group(id)?.is_some_and(|row| membership::is_over(row.status));
        if over && self.tx.nodes(id)?.is_empty() {
            self.tx.prune_commits(id, u64::MAX)?;
        }
        Ok(())
    }
}
