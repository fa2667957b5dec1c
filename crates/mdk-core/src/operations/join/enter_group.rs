//! Entering a group that a Welcome leads to: the steps before it, and the rows that are written.

use std::collections::BTreeSet;
use std::sync::Arc;

use mdk_store::{GroupRow, GroupStatus, PassRow};
use mdk_wire::{ContentId, GroupId};
use openmls::group::{MlsGroup, StagedWelcome};
use openmls_rust_crypto::RustCrypto;

use crate::mls::enter_epoch::apply_settings;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::welcome::welcome_error;
use crate::mls::work::Work;
use crate::mls::{capabilities, end_membership, settings, views};
use crate::model::call::Call;
use crate::model::commit_facts::Step;
use crate::model::error::Result;
use crate::model::halt::Halt;
use crate::model::invites::Earlier;
use crate::model::membership::{UNROUTED, is_invited};
use crate::operations::join::invitation::{Invitation, Joined};
use crate::policy;
use crate::policy::invite::Behind;
use crate::state_store::previous_memberships::earlier;
use crate::state_store::records::Records;
use crate::state_store::{branch_messages, competing_invites, memberships};

/// Lets go of a membership that has ended, for the next one.
pub(super) fn clear_ended(
    records: &mut Records<'_>,
    id: &GroupId,
    known: Option<&GroupRow>,
) -> Result<()> {
    let disbanded = known.is_some_and(|row| row.status == GroupStatus::Disbanded);
    // rule: D6-11 where nothing competes the choice is made: what was said before the removal is for us
    if !disbanded && branch_messages::is_to_choose(records.groups(), id)? {
        records.branch_messages().sort_messages(id)?;
    }
    records.memberships().clear_state(id)
}

/// Lets go of where we are, since the others are elsewhere.
pub(super) fn follow_away(
    records: &mut Records<'_>,
    row: &GroupRow,
    behind: Behind,
    invitation: &Invitation<'_>,
) -> Result<()> {
    let Invitation { id, offer, .. } = invitation;
    match behind {
        Behind::Lost(from) => {
            end_membership::give_up(records, id, "joined_on_a_lost_branch")?;
            records.branch_messages().lose_branch(id, from)?;
        }
        // Messages from before are true for all members.
        Behind::Away => {
            end_membership::give_up(records, id, "left_behind")?;
            records.gaps().report_left_behind(row, &offer.invite, offer.made)?;
        }
    }
    records.memberships().clear_state(id)
}

/// Joins the group as one that waits for the user's answer. `known` is the row that we had of it.
pub(super) fn enter_invited(
    work: &mut Work<'_>,
    invitation: &Invitation<'_>,
    known: Option<GroupRow>,
    staged: StagedWelcome,
) -> Result<Joined, Halt> {
    // rule: B4-34 (an invitation that was not answered was no membership)
    let before = match known.as_ref() {
        Some(row)
            if is_invited(row.status)
                || competing_invites::ended_unanswered(work.records.tx, row)? =>
        {
            earlier(work.records.tx, row)?.map(Box::new)
        }
        Some(row) => Some(Box::new(Earlier::of(earlier(work.records.tx, row)?, row))),
        None => None,
    };
    let status = match known.as_ref() {
        Some(row) if row.status != GroupStatus::Invited => {
            match memberships::standing_before(work.records.tx, row)? {
                GroupStatus::Invited => GroupStatus::Invited,
                _ => GroupStatus::Reinvited,
            }
        }
        _ => GroupStatus::Invited,
    };
    let signer = staged.welcome_sender_index().u32();
    let mls = staged.into_group(&work.provider()).map_err(|e| welcome_error(&e))?;
    // rule: B4-8 the invariants hold and we support all that is required
    // rule: B4-10 every admin has a leaf
    let view = views::view_of_joined(&mls);
    policy::judge_welcome(&view, signer)?;
    // OpenMLS drops the bundle before it checks anything; a last-resort KeyPackage must serve again.
    let Invitation { reference, bundle, rumor, .. } = invitation;
    let last_resort = work.records.tx.key_package(reference)?.is_some_and(|kp| kp.last_resort);
    if last_resort {
        work.records.tx.mls_put_key_package_bytes(reference, bundle.expose())?;
    }
    work.records.tx.mark_key_package_used(reference)?;
    let row = invited_row(
        work.records.call,
        work.crypto,
        invitation,
        known.as_ref(),
        (&mls, &view, signer),
        status,
    )?;
    // A leaf of our own making, even after a restored backup.
    work.records.tx.clear_must_update_after_restore(&row.id)?;
    if known.is_some() {
        work.records.tx.forgo_held(&row.id)?;
        work.records.memory.buffered.dates.remove(&row.id);
        work.records.tx.update_group(&row)?;
    } else {
        work.records.tx.insert_group(&row)?;
    }
    // The inviter commits, so it has to be an admin. A joiner is not told what the commit was.
    let step = Step {
        digest: ContentId::of(&rumor.mls_message),
        committer: row.welcomer,
        privileged: true,
        left: BTreeSet::new(),
        sent_at: row.pass.joined_at,
    };
    work.records.states().put_tip(&row, None, Some(&step))?;
    work.records.tx.drop_push_rows(&row.id)?;
    work.records.push_tokens().ask_later(&row.id, &work.records.me())?;
    let mut group = LoadedGroup::new(mls, row.clone());
    group.set_view(Arc::new(view));
    work.put(group);
    Ok(Joined::Invited(Box::new(row), before))
}

/// The row of a group that was just joined. `signer` is the leaf of the Welcome's maker.
fn invited_row(
    call: Call<'_>,
    crypto: &RustCrypto,
    invitation: &Invitation<'_>,
    known: Option<&GroupRow>,
    (mls, view, signer): (&MlsGroup, &policy::GroupView, u32),
    status: GroupStatus,
) -> Result<GroupRow, Halt> {
    let settings = settings::settings(mls.public_group().group_context())?;
    let now = call.now();
    let epoch = mls.epoch().as_u64();
    let mut row = GroupRow {
        id: invitation.id.clone(),
        profile: capabilities::GENERATION,
        status,
        epoch,
        join_epoch: epoch,
        authenticator: authenticator(mls)?,
        event_key: event_key(mls, crypto)?,
        nostr_group_id: UNROUTED,
        name: String::new(),
        description: String::new(),
        relays: Vec::new(),
        admins: Vec::new(),
        members: view.accounts().into_iter().collect(),
        retention: 0,
        has_image: false,
        welcomer: view.leaves.get(&signer).and_then(|leaf| leaf.account),
        created_at: now,
        // rule: B4-12 a self-update is due: it drops the lifetime of our leaf and the shared init key
        self_updated_at: 0,
        last_read: known.map_or(0, |row| row.last_read),
        welcome: Some(invitation.offer.invite),
        pass: PassRow {
            floor: epoch,
            joined_at: invitation.offer.made.min(now),
            ..PassRow::default()
        },
    };
    apply_settings(&mut row, &settings);
    Ok(row)
}
