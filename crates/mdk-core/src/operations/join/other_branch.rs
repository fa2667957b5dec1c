//! A second invitation, to the epoch that our membership began in or to one before it (protocol/welcomes.md B4;
//! protocol/branches.md E3).

use mdk_store::{GroupRow, NodeRow};
use mdk_wire::{ContentId, KeyPackageRef, WelcomeRumor};
use openmls::group::StagedWelcome;

use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::welcome::{welcome_error, welcome_of};
use crate::mls::work::Work;
use crate::mls::{capabilities, settings, views, welcome};
use crate::model::error::Result;
use crate::model::halt::{Halt, reject};
use crate::model::membership::UNROUTED;
use crate::model::outcome::RejectCode;
use crate::model::state_id::Auth;
use crate::operations::join::invitation::Joined;
use crate::policy;

// rule: B4-17 of two invitations the branch that wins is followed, whichever came first
/// A second Welcome, to the epoch that our membership began in or to one before: two admins invited us before either
/// heard of the other. The winner is not known here, and on the branch of the loser nobody will say so. The state that
/// this Welcome leads to is kept beside ours and compared like any other.
///
/// `after` is the removal that it leads on from, if it does. Our copy is not touched: writes of OpenMLS to the rows of
/// the group on the way are undone.
pub(crate) fn join_rival(
    work: &mut Work<'_>,
    row: &GroupRow,
    reference: &KeyPackageRef,
    rumor: &WelcomeRumor,
    after: Option<Auth>,
) -> Result<Joined, Halt> {
    const KNOWN: Halt = reject(RejectCode::AlreadyApplied, "B4-4", "the group is known already");
    // rule: C2-4 while a commit of the user's is being published everything else waits
    if work.records.groups().publishing(row)? {
        return Ok(Joined::Wait(row.id.clone()));
    }
    let mut rival = None;
    let tx = work.records.tx;
    let undone = tx.savepoint(|_| {
        rival = read_rival(work, row, rumor, after)?;
        Err::<(), Halt>(KNOWN)
    });
    let Some(node) = rival else { return Err(undone.err().unwrap_or(KNOWN)) };
    work.records.tx.mark_key_package_used(reference)?;
    if !work.records.tx.key_package(reference)?.is_some_and(|kp| kp.last_resort) {
        work.records.tx.mls_delete_key_package(reference)?;
    }
    Ok(Joined::Rival(Box::new(node)))
}

/// The state that a Welcome leads to; `None` if no admin that we know made it, or if it is where we came in.
fn read_rival(
    work: &mut Work<'_>,
    row: &GroupRow,
    rumor: &WelcomeRumor,
    after: Option<Auth>,
) -> Result<Option<NodeRow>, Halt> {
    let provider = work.provider();
    let config = capabilities::join_config(work.records.call.config);
    let staged =
        StagedWelcome::build_from_welcome(&provider, &config, welcome_of(&rumor.mls_message)?)
            .and_then(|builder| builder.replace_old_group().skip_lifetime_validation().build())
            .map_err(|e| welcome_error(&e))?;
    if !(welcome::vouched(work, row, &staged)?
        || welcome::vouched_before(work.copies(), row, &staged)?)
    {
        return Ok(None);
    }
    let signer = staged.welcome_sender_index().u32();
    // Nothing of our copy gets into the other.
    work.records.tx.mls_delete(&row.id)?;
    let mls = staged.into_group(&provider).map_err(|e| welcome_error(&e))?;
    let view = views::view_of_joined(&mls);
    policy::judge_welcome(&view, signer)?;
    let settings = settings::settings(mls.public_group().group_context())?;
    let authenticator = authenticator(&mls)?;
    if work.records.tx.nodes(&row.id)?.iter().any(|node| node.authenticator == authenticator) {
        return Ok(None);
    }
    Ok(Some(NodeRow {
        group: row.id.clone(),
        authenticator,
        epoch: mls.epoch().as_u64(),
        parent: after,
        commit: Some(ContentId::of(&rumor.mls_message)),
        committer: view.leaves.get(&signer).and_then(|leaf| leaf.account),
        privileged: true,
        canonical: false,
        removed: false,
        history: work.records.tx.newest_message()?,
        made_at: work.records.call.now_millis,
        sent_at: rumor.created_at.min(work.records.now()),
        event_key: event_key(&mls, work.crypto)?,
        nostr_group_id: settings.nostr_group_id.unwrap_or(UNROUTED),
        relays: settings.relays,
        retention: settings.retention,
        state: work.records.tx.mls_dump(&row.id)?,
    }))
}
