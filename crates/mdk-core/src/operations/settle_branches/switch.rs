//! Going over to another branch: one transaction, rows for rows.

use std::collections::BTreeSet;

use mdk_store::{GroupRow, GroupStatus, InputClass, NodeRow, Tx};
use mdk_wire::v2::components::Lifecycle;
use mdk_wire::{GroupId, PublicKey, SecretVec};
use openmls::group::MlsGroup;
use openmls_rust_crypto::RustCrypto;

use crate::fork_choice::switch_plan::plan_switch;
use crate::mls::enter_epoch::apply_settings;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::rebuild_state::Copies;
use crate::mls::state_keys::event_key;
use crate::mls::work::Work;
use crate::mls::{
    end_membership, leave_proposal, membership_changes, own_commit, push_owners, settings, views,
};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::follow_up::FollowUp;
use crate::model::membership;
use crate::model::membership::is_invited;
use crate::model::settings::{Look, Settings};
use crate::model::state_id::{Auth, ended_by};
use crate::policy::check_invariants;
use crate::state_store::log_entry::Stored;
use crate::state_store::log_rows::withdrawal;
use crate::state_store::records::Records;
use crate::state_store::{memberships, removals_of_others};

/// Follows a candidate on the tip of the followed branch.
pub(crate) fn follow_branch(work: &mut Work<'_>, id: &GroupId, tip: &Auth) -> Result<()> {
    let nodes = work.records.tx.nodes(id)?;
    match nodes.iter().position(|node| node.authenticator == *tip) {
        Some(at) => switch(work, id, &nodes, &[at]),
        None => Ok(()),
    }
}

/// Follows another branch. `path` are its states above the followed one, the tip first.
pub(crate) fn switch(
    work: &mut Work<'_>,
    id: &GroupId,
    nodes: &[NodeRow],
    path: &[usize],
) -> Result<()> {
    work.records.effects.follow(FollowUp::ReleaseWelcomes(id.clone()));
    let (Some(&tip), Some(&lowest)) = (path.first(), path.last()) else { return Ok(()) };
    let (tip, lowest) = (&nodes[tip], &nodes[lowest]);
    let old = work.records.groups().current_row(id)?;
    let pending = work.records.tx.pending_of(id)?;
    let before = leave_branch(work, &old, nodes)?;
    let fork = match path {
        [_] => look_of_fork(work.copies(), id, nodes, tip),
        _ => None,
    };
    let Some(plan) = plan_switch(&old, nodes, path, work.records.me()) else { return Ok(()) };
    for node in &plan.left {
        work.records.tx.set_canonical(id, &node.authenticator, false)?;
    }
    for &node in path {
        work.records.tx.set_canonical(id, &nodes[node].authenticator, true)?;
    }
    let left_behind = plan.left_behind(lowest, pending.as_ref(), work.records.me());
    let row = plan.row;
    for commit in &plan.withdrawn {
        if let Some(own) = work.records.tx.pending_by_digest(id, commit)? {
            work.records.withdraw_commit(own.id)?;
        }
        let subject = withdrawal(row.pass.switches, commit);
        work.records.log().emit(
            id,
            &subject,
            &Stored::ChangeWithdrawn { commit: *commit.as_bytes() },
        )?;
    }
    let step = Step {
        digest: tip.commit.ok_or(Error::Internal("a candidate without a commit"))?,
        // After several commits, no single member made the difference.
        committer: tip.committer.filter(|_| path.len() == 1 && tip.parent.is_some()),
        privileged: tip.privileged,
        left: leavers(work.records.tx, id, nodes, path)?,
        sent_at: tip.sent_at,
    };
    if tip.removed {
        return enter_removal(
            &mut work.records,
            work.crypto,
            &old,
            row,
            before,
            (tip, &step, fork),
            nodes,
        );
    }
    let parted = look_of_fork(work.copies(), id, nodes, lowest);
    enter_branch(work, &old, row, before, (tip, &step, fork))?;
    // The members of the former branch put each other out there, which says nothing here.
    if plan.another_invitation {
        return removals_of_others::forget_removals(work.records.tx, id);
    }
    let new = work.records.groups().current_row(id)?;
    let passed = parted.as_ref().filter(|parted| has_lost_somebody(parted, &new));
    let passed = passed.and_then(|parted| looks_on_the_way(work.copies(), id, nodes, path, parted));
    removals_of_others::note_switch(
        &mut work.records,
        &old,
        &step,
        lowest.committer,
        parted,
        &passed.unwrap_or_default(),
    )?;
    match left_behind {
        Some(commit) => {
            removals_of_others::note_apart(work.records.groups(), work.records.call, tip, commit)
        }
        None => Ok(()),
    }
}

// rule: D6-9 what is shown of a group that we are out of is how it was when we went, on that branch
/// Goes to a state in which we are out of the group, or in which the group is over.
fn enter_removal(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    old: &GroupRow,
    mut row: GroupRow,
    before: Option<Settings>,
    (tip, step, fork): (&NodeRow, &Step, Option<Look>),
    nodes: &[NodeRow],
) -> Result<()> {
    let look =
        Copies::new(records.groups(), records.call, crypto).look_without_us(&old.id, nodes, tip)?;
    if tip.authenticator == ended_by(&step.digest) {
        row.status = GroupStatus::Disbanding;
        return enter_end(records, old, row, before, (tip, step, fork), look);
    }
    let after = look.map(|(settings, accounts)| {
        apply_settings(&mut row, &settings);
        row.members = accounts;
        settings
    });
    let me = records.me();
    row.members.retain(|member| *member != me);
    // rule: D6-12 who asked to leave has left, whichever answer is followed
    let left = matches!(old.status, GroupStatus::Leaving | GroupStatus::Left)
        || memberships::standing_before(records.tx, old)? == GroupStatus::Leaving;
    row.status = if left { GroupStatus::Left } else { GroupStatus::Removed };
    records.tx.update_group(&row)?;
    // rule: D7-1 what is different from what was followed is told, out of the group or in it
    if let Some(after) = after.or_else(|| before.clone()) {
        membership_changes::emit_changes(
            records,
            old,
            &row,
            before.as_ref(),
            &after,
            step,
            base(fork.as_ref()),
        )?;
    }
    end_membership::end(records, &row, step.committer, Some(step.digest))
}

// rule: C5-4 the end of a group looks the same to who followed it from the first and to who came to it
/// Goes to a state in which the group is over and we have no leaf. A commit that ends a group is laid down to the last
/// proposal (C5), so its result is known without the state.
fn enter_end(
    records: &mut Records<'_>,
    old: &GroupRow,
    mut row: GroupRow,
    before: Option<Settings>,
    (tip, step, fork): (&NodeRow, &Step, Option<Look>),
    look: Option<Look>,
) -> Result<()> {
    let (Some((mut after, _)), Some(by)) = (look, tip.committer) else {
        return Ok(records.tx.update_group(&row)?);
    };
    after.admins = vec![by];
    after.lifecycle = Lifecycle::Disbanded;
    apply_settings(&mut row, &after);
    row.members = vec![by];
    records.tx.update_group(&row)?;
    membership_changes::emit_changes(
        records,
        old,
        &row,
        before.as_ref(),
        &after,
        step,
        base(fork.as_ref()),
    )
}

// rule: D7-2 what is different from what was shown last is told, to who was out of the group as well
/// Keeps the state that is left. Gives the settings that were shown last.
fn leave_branch(
    work: &mut Work<'_>,
    old: &GroupRow,
    nodes: &[NodeRow],
) -> Result<Option<Settings>> {
    if membership::is_over(old.status) {
        let here = nodes.iter().find(|n| n.authenticator == old.authenticator);
        let look =
            here.map(|here| work.copies().look_without_us(&old.id, nodes, here)).transpose()?;
        return Ok(look.flatten().map(|(settings, _)| shown(old, settings)));
    }
    let mut live = work.take(&old.id)?;
    // Only an automatic commit can be pending here. Its bytes stay known, in case it comes back.
    if let Some(pending) = work.records.tx.pending_of(&old.id)? {
        own_commit::discard_in_place(work, &mut live, pending.id)?;
    }
    let state = work.records.tx.mls_dump(&old.id)?;
    work.records.tx.set_node_state(&old.id, &old.authenticator, &state)?;
    let before = settings::settings(live.mls.public_group().group_context())
        .map_err(|_| Error::Internal("own state does not decode"))?;
    work.records.memory.rows.forget(&old.id);
    Ok(Some(before))
}

/// The look of the group in the state that a tip was made on. Only a name in an event depends on it, so a failure to
/// read it does not keep us from going over.
fn look_of_fork(
    copies: Copies<'_>,
    id: &GroupId,
    nodes: &[NodeRow],
    tip: &NodeRow,
) -> Option<Look> {
    let fork = nodes.iter().find(|n| Some(n.authenticator) == tip.parent)?;
    copies.look_of(id, fork).ok().flatten()
}

fn has_lost_somebody((settings, members): &Look, new: &GroupRow) -> bool {
    members.iter().any(|who| !new.members.contains(who))
        || settings.admins.iter().any(|who| !new.admins.contains(who))
}

/// The look of the group in each epoch from the fork to the one before the tip, if all can be read. Nothing is read where
/// one commit leads to the tip.
fn looks_on_the_way(
    copies: Copies<'_>,
    id: &GroupId,
    nodes: &[NodeRow],
    path: &[usize],
    parted: &Look,
) -> Option<Vec<(u64, Look)>> {
    let (_, below) = path.split_first()?;
    let lowest = &nodes[*below.last()?];
    let mut looks = vec![(lowest.epoch.saturating_sub(1), parted.clone())];
    for &place in below {
        looks.push((nodes[place].epoch, copies.look_of(id, &nodes[place]).ok().flatten()?));
    }
    Some(looks)
}

fn enter_branch(
    work: &mut Work<'_>,
    old: &GroupRow,
    mut row: GroupRow,
    before: Option<Settings>,
    (tip, step, fork): (&NodeRow, &Step, Option<Look>),
) -> Result<()> {
    let id = &old.id;
    let state = work
        .records
        .tx
        .node_state(id, &tip.authenticator)?
        .ok_or(Error::Unrecoverable("a retained state is missing"))?;
    work.records.tx.mls_restore(id, state.expose())?;
    // The live rows are it from now on.
    work.records.tx.set_node_state(id, &tip.authenticator, &SecretVec::new(Vec::new()))?;
    let mls_id = openmls::group::GroupId::from_slice(id.as_bytes());
    let mls = MlsGroup::load(&work.records.tx.mls(), &mls_id)?
        .ok_or(Error::Unrecoverable("a retained state does not load"))?;
    let after = settings::settings(mls.public_group().group_context())
        .map_err(|_| Error::Internal("a retained state does not decode"))?;
    apply_settings(&mut row, &after);
    row.event_key = event_key(&mls, work.crypto)?;
    let view = std::sync::Arc::new(views::view_of_group(&mls));
    if mls.is_active() {
        check_invariants(&view).map_err(|_| Error::Internal("a branch breaks a rule"))?;
    }
    row.members = view.accounts().into_iter().collect();
    // rule: D6-4 a branch that keeps us lifts the removal
    row.status = match old.status {
        _ if after.lifecycle == Lifecycle::Disbanded => GroupStatus::Disbanding,
        GroupStatus::Left => GroupStatus::Leaving,
        GroupStatus::Removed | GroupStatus::Disbanding => {
            memberships::standing_before(work.records.tx, old)?
        }
        status => status,
    };
    work.records.tx.update_group(&row)?;
    work.records.tx.put_route(&row.nostr_group_id, id, row.epoch)?;
    work.records.memory.for_client.rerouted = true;
    membership_changes::emit_changes(
        &mut work.records,
        old,
        &row,
        before.as_ref(),
        &after,
        step,
        base(fork.as_ref()),
    )?;
    if let Some(invite) = row.welcome.filter(|_| is_invited(row.status))
        && !is_invited(old.status)
    {
        // (a user who was told of the end has put the question away)
        work.records.log().emit_step(id, &Stored::Invited { welcome: *invite.as_bytes() })?;
    }
    push_owners::forget_of_gone(&work.records, &row.id, &mls)?;
    let mut group = LoadedGroup::new(mls, row);
    group.set_view(view);
    leave_proposal::schedule_answers(work, &mut group)?;
    work.put(group);
    work.records.effects.follow(FollowUp::RenewLeave(id.clone()));
    Ok(())
}

/// Accounts that asked to leave in a state that a commit of the path was made on.
fn leavers(
    tx: &Tx<'_>,
    id: &GroupId,
    nodes: &[NodeRow],
    path: &[usize],
) -> Result<BTreeSet<PublicKey>> {
    let parents: BTreeSet<_> = path.iter().filter_map(|node| nodes[*node].parent).collect();
    let inputs = tx.input_heads(id)?.into_iter();
    Ok(inputs
        .filter(|i| i.class == InputClass::Proposal)
        .filter(|i| i.parent_auth.is_some_and(|auth| parents.contains(&auth)))
        .filter_map(|i| i.sender)
        .collect())
}

fn base(fork: Option<&Look>) -> Option<(&Settings, &[PublicKey])> {
    fork.map(|(settings, accounts)| (settings, accounts.as_slice()))
}

/// Settings that are as the row of a group shows them, where it does.
pub(crate) fn shown(row: &GroupRow, settings: Settings) -> Settings {
    Settings {
        name: row.name.clone(),
        description: row.description.clone(),
        admins: row.admins.clone(),
        relays: row.relays.clone(),
        retention: row.retention,
        has_image: row.has_image,
        ..settings
    }
}
