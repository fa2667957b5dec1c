//! Whether the others may be on another branch than this member: what it can see of that.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, GroupStatus, Loss, NodeRow, RemovalRow, Tx};
use mdk_wire::PublicKey;

use crate::converge::gaps::{created_at, ours_from};
use crate::converge::order::POLICY;
use crate::converge::replay::removed_by;
use crate::ctx::Ctx;
use crate::error::Result;
use crate::event_log::Stored;

impl Ctx<'_, '_> {
    // rule: D8-8 who is put out on a branch that it does not follow is told so, until somebody else is heard here
    /// Notes a removal of this account on another branch, before it is chosen or not. What comes after it cannot be read, so
    /// nobody here knows whether the others have gone there.
    pub(crate) fn note_put_out(&self, node: &NodeRow) -> Result<()> {
        let Some(commit) = node.commit.filter(|c| node.authenticator == removed_by(c)) else {
            return Ok(());
        };
        let row = self.current_row(&node.group)?;
        if row.status != GroupStatus::Active || row.authenticator == node.authenticator {
            return Ok(());
        }
        Ok(self.tx.put_removal(&RemovalRow {
            group: node.group.clone(),
            account: self.identity.account(),
            demoted: false,
            commit,
            epoch: node.epoch,
            made_at: self.now_millis,
            own: false,
            seal: false,
            undone_at: 0,
            next_at: 0,
            attempts: 0,
        })?)
    }

    /// Tells that this account was put out on a branch that was not chosen; and forgets it when another member was heard since
    /// on the branch that is followed: they are here.
    pub(super) fn note_company(&mut self, row: &GroupRow, removals: &[RemovalRow]) -> Result<()> {
        let me = self.identity.account();
        let Some(out) = removals.iter().find(|r| r.account == me && !r.demoted) else {
            return Ok(());
        };
        if out.undone_at == 0 {
            let undone_at = self.now().max(1);
            self.tx.put_removal(&RemovalRow { undone_at, ..out.clone() })?;
            let subject = [&b"put out"[..], out.commit.as_bytes()].concat();
            return self.emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch });
        }
        let nodes = self.tx.states(&row.id)?;
        let beside: BTreeSet<_> =
            nodes.iter().filter(|n| !n.canonical).map(|n| n.authenticator).collect();
        let since = out.made_at / 1000;
        let spoke = self.tx.heard_after(&row.id, &me, since)?;
        let committed = nodes.iter().any(|n| {
            n.canonical && n.made_at > out.made_at && n.committer.is_some_and(|who| who != me)
        });
        if committed || spoke.iter().any(|state| !beside.contains(state)) {
            self.tx.drop_removal(out)?;
        }
        Ok(())
    }
}

impl Ctx<'_, '_> {
    /// Tells of [`is_led_on`], once for each state.
    pub(crate) fn tell_led_on(&mut self, row: &GroupRow) -> Result<()> {
        if row.pass.opened != 0 || !is_led_on(self.tx, self.identity.account(), row)? {
            return Ok(());
        }
        let subject = [&b"led on"[..], &row.authenticator].concat();
        self.emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch })
    }
}

// rule: D8-9 who is led on by members alone, while something comes that cannot be read, is told that the others may be elsewhere
/// Whether all that was done and said here, in as many epochs as a choice goes back, was so by members that are no admins,
/// and something came meanwhile that no key opens. Who was removed and has kept his state can make such a branch for one
/// who hears of the removal too late; what the others say cannot be read there.
pub(crate) fn is_led_on(tx: &Tx<'_>, me: PublicKey, row: &GroupRow) -> Result<bool> {
    if row.status != GroupStatus::Active {
        return Ok(false);
    }
    let states = tx.states(&row.id)?;
    let from = row.epoch.saturating_sub(POLICY.max_rewind_commits);
    let line: Vec<&NodeRow> = states.iter().filter(|n| n.canonical && n.epoch >= from).collect();
    let mute = |who: &PublicKey| *who != me && !row.admins.contains(who);
    let made = line.iter().all(|n| n.parent.is_some() && n.committer.is_some_and(|c| mute(&c)));
    if !made || (line.len() as u64) <= POLICY.max_rewind_commits {
        return Ok(false);
    }
    let makers: BTreeSet<_> = line.iter().filter_map(|n| n.committer).collect();
    let began = line.iter().map(|n| n.history).min().unwrap_or(0);
    let others = tx.witnesses(&row.id, began)?;
    if others.iter().any(|w| w.sender != me && !makers.contains(&w.sender)) {
        return Ok(false);
    }
    let since = line.iter().map(|n| n.made_at / 1000).min().unwrap_or(0);
    let unread = tx.held(&row.id)?;
    Ok(unread.iter().any(|held| {
        held.loss != Loss::Told
            && held.received_at >= since
            && created_at(held).is_some_and(|at| at >= ours_from(row))
    }))
}
