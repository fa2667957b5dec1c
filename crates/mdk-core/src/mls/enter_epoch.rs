//! The step from one epoch to the next, the same for commits of ours and of others.

use mdk_store::{GroupRow, GroupStatus};
use mdk_wire::v2::components::Lifecycle;
use openmls_rust_crypto::RustCrypto;

use crate::fork_choice::settling::touch;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::state_keys::{authenticator, event_key};
use crate::mls::{end_membership, membership_changes, push_owners, settings};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::settings::Settings;
use crate::model::state_id::{ended_by, removed_by};
use crate::state_store::records::Records;
use crate::state_store::{removals_of_others, retained_states};

/// After OpenMLS has merged a commit: rows, routes, retention window and events of the new epoch.
pub(crate) fn finish_epoch(
    records: &mut Records<'_>,
    crypto: &RustCrypto,
    group: &mut LoadedGroup,
    before: &Settings,
    step: &Step,
) -> Result<()> {
    let old = group.row.clone();
    let after = settings::settings(group.mls.public_group().group_context())
        .map_err(|_| Error::Internal("merged state does not decode"))?;
    let members = group.view().accounts().into_iter().collect();
    let row = &mut group.row;
    row.epoch = group.mls.epoch().as_u64();
    row.members = members;
    apply_settings(row, &after);
    let active = group.mls.is_active();
    if active {
        row.authenticator = authenticator(&group.mls)?;
        row.event_key = event_key(&group.mls, crypto)?;
    }
    // rule: C5-2 the end of a group is one branch among others until nothing has beaten it
    let disbanded = after.lifecycle == Lifecycle::Disbanded;
    if disbanded {
        row.status = GroupStatus::Disbanding;
        touch(&mut row.pass, old.epoch, records.call.now_millis);
        if !active {
            row.authenticator = ended_by(&step.digest);
        }
    } else if !active {
        let left = old.status == GroupStatus::Leaving;
        row.status = if left { GroupStatus::Left } else { GroupStatus::Removed };
        row.authenticator = removed_by(&step.digest);
    }
    records.states().put_tip(row, Some(&old), Some(step))?;
    let floor = retained_states::floor(&row.pass, row.epoch);
    if row.pass.opened == 0 || floor > row.pass.floor {
        row.pass.floor = floor;
        records.gaps().report_skipped(row, floor)?;
        row.pass.contested = records.states().prune(row)?;
    }
    records.tx.update_group(row)?;
    removals_of_others::note_step(records.tx, records.call, &old, row, step)?;
    let base = Some((before, old.members.as_slice()));
    membership_changes::emit_changes(records, &old, &group.row, Some(before), &after, step, base)?;
    if active {
        push_owners::forget_of_gone(records, &group.row.id, &group.mls)?;
    }
    if !active && !disbanded {
        end_membership::end(records, &group.row, step.committer, Some(step.digest))?;
    }
    records.effects.new_states.push((group.row.id.clone(), group.row.authenticator));
    Ok(())
}

/// Copies the fields that `groups()` shows from the group's settings.
pub(crate) fn apply_settings(row: &mut GroupRow, settings: &Settings) {
    row.name.clone_from(&settings.name);
    row.description.clone_from(&settings.description);
    row.admins.clone_from(&settings.admins);
    row.relays.clone_from(&settings.relays);
    row.retention = settings.retention;
    row.has_image = settings.has_image;
    if let Some(id) = settings.nostr_group_id {
        row.nostr_group_id = id;
    }
}
