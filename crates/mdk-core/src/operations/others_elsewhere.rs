//! Telling that the others may be on another branch than this member.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, GroupStatus, NodeRow, RemovalRow};

use crate::fork_choice::removals::removes;
use crate::model::call::Call;
use crate::model::error::Result;
use crate::state_store::groups::Groups;
use crate::state_store::log_entry::Stored;
use crate::state_store::others_elsewhere::is_led_on;
use crate::state_store::records::Records;

// rule: D8-8 who is put out on a branch that it does not follow is told so, until somebody else is heard here
/// Notes a removal of this account on another branch, before it is chosen or not. What comes after it cannot be read, so
/// nobody here knows whether the others have gone there.
pub(crate) fn note_put_out(groups: Groups<'_>, call: Call<'_>, node: &NodeRow) -> Result<()> {
    let Some(commit) = node.commit.filter(|_| removes(node)) else { return Ok(()) };
    let row = groups.current_row(&node.group)?;
    if row.status != GroupStatus::Active || row.authenticator == node.authenticator {
        return Ok(());
    }
    Ok(groups.tx.put_removal(&RemovalRow {
        group: node.group.clone(),
        account: call.me(),
        demoted: false,
        commit,
        epoch: node.epoch,
        made_at: call.now_millis,
        own: false,
        seal: false,
        undone_at: 0,
        next_at: 0,
        attempts: 0,
    })?)
}

/// Tells that this account was put out on a branch that was not chosen; and forgets it when another member was heard since
/// on the branch that is followed: they are here.
pub(crate) fn note_company(
    records: &mut Records<'_>,
    row: &GroupRow,
    removals: &[RemovalRow],
) -> Result<()> {
    let me = records.me();
    let Some(out) = removals.iter().find(|r| r.account == me && !r.demoted) else {
        return Ok(());
    };
    if out.undone_at == 0 {
        let undone_at = records.now().max(1);
        records.tx.put_removal(&RemovalRow { undone_at, ..out.clone() })?;
        let subject = [&b"put out"[..], out.commit.as_bytes()].concat();
        return records.log().emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch });
    }
    let nodes = records.tx.states(&row.id)?;
    let beside: BTreeSet<_> =
        nodes.iter().filter(|n| !n.canonical).map(|n| n.authenticator).collect();
    let since = out.made_at / 1000;
    let spoke = records.tx.heard_after(&row.id, &me, since)?;
    let committed = nodes.iter().any(|n| {
        n.canonical && n.made_at > out.made_at && n.committer.is_some_and(|who| who != me)
    });
    if committed || spoke.iter().any(|state| !beside.contains(state)) {
        records.tx.drop_removal(out)?;
    }
    Ok(())
}

/// Tells of [`is_led_on`], once for each state.
pub(crate) fn tell_led_on(records: &mut Records<'_>, row: &GroupRow) -> Result<()> {
    if row.pass.opened != 0 || !is_led_on(records.tx, records.me(), row)? {
        return Ok(());
    }
    let subject = [&b"led on"[..], &row.authenticator].concat();
    records.log().emit(&row.id, &subject, &Stored::CannotFollow { epoch: row.epoch })
}
