//! Founding a group (protocol/welcomes.md B1, B2).

use mdk_store::{GroupRow, GroupStatus, PassRow};
use mdk_wire::{ContentId, GroupId, NostrGroupId, OsRandom, Random as _};
use openmls::group::{GroupId as MlsGroupId, MlsGroup};

use crate::mls::enter_epoch::apply_settings;
use crate::mls::invitees::incompatible;
use crate::mls::key_packages::check;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::stage_commit::{Plan, Staged};
use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::work::Work;
use crate::mls::{capabilities, invitees, outgoing_welcomes, own_commit, settings, stage_commit};
use crate::model::arguments::{
    MAX_DESCRIPTION, MAX_NAME, check_media_servers, check_relays, check_text,
};
use crate::model::error::{Error, Result};
use crate::model::settings::Settings;
use crate::model::values::{NewGroup, Pending};
use crate::policy::check_invariants;

/// Makes the group at epoch 1 (0 when alone) with its Welcomes. It is visible after `confirm`.
pub(crate) fn create_group(work: &mut Work<'_>, new: NewGroup) -> Result<Pending> {
    let NewGroup { name, description, relays, members, admins, retention, media_servers } = new;
    check_text("name", &name, MAX_NAME)?;
    check_text("description", &description, MAX_DESCRIPTION)?;
    let relays = check_relays(&relays)?;
    let media = check_media_servers(&media_servers)?;
    let invitees = invitees::check_invitees(work.records.call, work.crypto, &members)?;
    let me = work.records.me();
    let mut all_admins = vec![me];
    for admin in admins {
        if admin != me && !invitees.iter().any(|kp| kp.account == admin) {
            return Err(Error::input("admins", "not the creator and not an invitee"));
        }
        all_admins.push(admin);
    }

    let mut id = [0; 16];
    OsRandom.fill(&mut id);
    let mut nostr_group_id = [0; 32];
    OsRandom.fill(&mut nostr_group_id);
    let founding = Settings::founding(
        name,
        description,
        all_admins,
        NostrGroupId::from_bytes(nostr_group_id),
        relays.clone(),
        retention.unwrap_or(0),
    );
    let settings = Settings { media, ..founding };
    let mut group = found(work, &id, &settings)?;
    let view = group.view();
    for invitee in &invitees {
        check::fits(invitee, &view).map_err(incompatible(invitee.account))?;
    }
    let plan = Plan { adds: invitees, ..Plan::default() };
    let staged = stage_invitees(work, &mut group, &plan)?;
    let view = group.view();
    check_invariants(&view).map_err(|_| Error::Internal("a founded group breaks a rule"))?;
    let members = view.accounts().into_iter().collect();
    let row = &mut group.row;
    row.epoch = group.mls.epoch().as_u64();
    row.members = members;
    row.authenticator = authenticator(&group.mls)?;
    row.event_key = event_key(&group.mls, work.crypto)?;
    row.pass.floor = row.epoch;
    work.records.tx.insert_group(&group.row)?;
    work.records.states().put_tip(&group.row, None, None)?;
    let digest = staged.as_ref().map_or_else(|| ContentId::of(&id), |s| ContentId::of(&s.commit));
    let welcome = staged.and_then(|s| s.welcome).unwrap_or_default();
    let pending = own_commit::store_pending(
        work.records.tx,
        work.records.call,
        &group,
        digest,
        None,
        &welcome,
        &plan,
    )?;
    let welcomes = outgoing_welcomes::wrap_welcomes(
        work.records.tx,
        work.records.call,
        work.identity,
        pending,
        &welcome,
        &plan.adds,
        &relays,
    )?;
    let group_id = group.row.id.clone();
    work.put(group);
    Ok(Pending { id: pending, group_id, event: None, welcomes, relays, automatic: false })
}

/// The commit that adds the founder's invitees. It is true at once: nobody else is there yet.
fn stage_invitees(
    work: &mut Work<'_>,
    group: &mut LoadedGroup,
    plan: &Plan,
) -> Result<Option<Staged>> {
    if plan.adds.is_empty() {
        return Ok(None);
    }
    let (staged, result) = stage_commit::stage_mls(work, group, plan)?;
    group
        .mls
        .merge_pending_commit(&work.provider())
        .map_err(Error::bug("merging the founding commit"))?;
    group.merged(result)?;
    group.judged = None;
    Ok(Some(staged))
}

/// Epoch 0, alone.
fn found(work: &mut Work<'_>, id: &[u8; 16], settings: &Settings) -> Result<LoadedGroup> {
    let leaf = capabilities::leaf_extensions(&work.identity.proof)
        .map_err(Error::bug("leaf extensions"))?;
    let context = settings::group_context_extensions(settings)
        .map_err(|e| Error::from_argument("group", e))?;
    let config = capabilities::create_config(work.records.call.config, leaf, context)?;
    let mls = MlsGroup::new_with_group_id(
        &work.provider(),
        &work.identity.signer,
        &config,
        MlsGroupId::from_slice(id),
        work.identity.credential(),
    )
    .map_err(Error::bug("founding an MLS group"))?;
    let now = work.records.now();
    let mut row = GroupRow {
        id: GroupId::from_bytes(id).map_err(Error::bug("own group id"))?,
        profile: capabilities::GENERATION,
        status: GroupStatus::Founding,
        epoch: 0,
        join_epoch: 0,
        authenticator: authenticator(&mls)?,
        event_key: event_key(&mls, work.crypto)?,
        nostr_group_id: settings.nostr_group_id.unwrap_or(NostrGroupId::from_bytes([0; 32])),
        name: String::new(),
        description: String::new(),
        relays: Vec::new(),
        admins: Vec::new(),
        members: Vec::new(),
        retention: 0,
        has_image: false,
        welcomer: None,
        created_at: now,
        self_updated_at: now,
        last_read: 0,
        welcome: None,
        pass: PassRow { joined_at: now, ..PassRow::default() },
    };
    apply_settings(&mut row, settings);
    Ok(LoadedGroup::new(mls, row))
}
