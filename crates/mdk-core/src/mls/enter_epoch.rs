//! The step from one epoch to the next, the same for commits of ours and of others.

use mdk_store::{GroupRow, GroupStatus};
use mdk_wire::v2::components::Lifecycle;

use crate::ctx::Ctx;
use crate::fork_choice::settling::touch;
use crate::mls::loaded_groups::LoadedGroup;
use crate::mls::settings;
use crate::mls::state_keys::{authenticator, event_key};
use crate::model::commit_facts::Step;
use crate::model::error::{Error, Result};
use crate::model::settings::Settings;
use crate::model::state_id::{ended_by, removed_by};
use crate::state_store::retained_states;

impl Ctx<'_> {
    /// After OpenMLS has merged a commit: rows, routes, retention window and events of the new epoch.
    pub(crate) fn finish_epoch(
        &mut self,
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
            row.event_key = event_key(&group.mls, self.crypto)?;
        }
        // rule: C5-2 the end of a group is one branch among others until nothing has beaten it
        let disbanded = after.lifecycle == Lifecycle::Disbanded;
        if disbanded {
            row.status = GroupStatus::Disbanding;
            touch(&mut row.pass, old.epoch, self.call.now_millis);
            if !active {
                row.authenticator = ended_by(&step.digest);
            }
        } else if !active {
            let left = old.status == GroupStatus::Leaving;
            row.status = if left { GroupStatus::Left } else { GroupStatus::Removed };
            row.authenticator = removed_by(&step.digest);
        }
        self.states().put_tip(row, Some(&old), Some(step))?;
        let floor = retained_states::floor(&row.pass, row.epoch);
        if row.pass.opened == 0 || floor > row.pass.floor {
            row.pass.floor = floor;
            row.pass.contested = self.states().prune(row)?;
        }
        self.tx.update_group(row)?;
        self.note_step(&old, row, step)?;
        let base = Some((before, old.members.as_slice()));
        self.emit_changes(&old, &group.row, Some(before), &after, step, base)?;
        if !active && !disbanded {
            self.end(&group.row, step.committer, Some(step.digest))?;
        }
        self.effects.new_states.push((group.row.id.clone(), group.row.authenticator));
        Ok(())
    }
}

/// Copies what `groups()` shows from the group's settings.
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
