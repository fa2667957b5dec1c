//! The changes by a commit, told to the user.

use std::collections::BTreeSet;

use mdk_store::GroupRow;
use mdk_wire::PublicKey;

use crate::mls::settings;
use crate::model::commit_facts::Step;
use crate::model::error::Result;
use crate::model::settings::Settings;
use crate::state_store::log_entry::{SETTINGS, Stored};
use crate::state_store::records::Records;

// rule: D7-3 what only takes back a change that was withdrawn is nobody's deed
/// Tells the differences from the state that was shown last. `base` is the state that the step was made on, if it can
/// be read: a difference that is no change from there was not made by the committer, and is told by itself.
pub(crate) fn emit_changes(
    records: &mut Records<'_>,
    old: &GroupRow,
    new: &GroupRow,
    before: Option<&Settings>,
    after: &Settings,
    step: &Step,
    base: Option<(&Settings, &[PublicKey])>,
) -> Result<()> {
    let commit = Some(*step.digest.as_bytes());
    let base = base.filter(|_| step.committer.is_some());
    if old.epoch != new.epoch {
        let changed = Stored::EpochChanged { old: old.epoch, new: new.epoch, commit };
        records.log().emit_epoch(&new.id, &changed)?;
    }
    let was: BTreeSet<PublicKey> = old.members.iter().copied().collect();
    let is: BTreeSet<PublicKey> = new.members.iter().copied().collect();
    let (made, undone): (Vec<PublicKey>, Vec<PublicKey>) = was
        .symmetric_difference(&is)
        .partition(|key| base.is_some_and(|(_, there)| there.contains(key) == was.contains(key)));
    for (keys, by) in [(undone, None), (made, step.committer)] {
        let (added, gone): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is.contains(key));
        let (left, removed): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|key| step.left.contains(key));
        let bytes = |keys: Vec<PublicKey>| keys.iter().map(|key| *key.as_bytes()).collect();
        if !keys.is_empty() {
            let changed = Stored::MembersChanged {
                added: bytes(added),
                removed: bytes(removed),
                left: bytes(left),
                by: by.map(|key| *key.as_bytes()),
                commit,
            };
            records.log().emit_step(&new.id, &changed)?;
        }
    }
    let changed = before.map(|before| settings::diff(before, after)).unwrap_or_default();
    let by_step = base.map(|(there, _)| settings::diff(there, after)).unwrap_or_default();
    let (made, undone): (Vec<&str>, Vec<&str>) =
        changed.into_iter().partition(|name| by_step.contains(name));
    for (names, by) in [(undone, None), (made, step.committer)] {
        let changed: Vec<u8> = names
            .into_iter()
            .filter_map(|name| SETTINGS.iter().position(|s| *s == name))
            .filter_map(|i| u8::try_from(i).ok())
            .collect();
        if !changed.is_empty() {
            let by = by.map(|key| *key.as_bytes());
            records.log().emit_step(&new.id, &Stored::GroupUpdated { changed, by, commit })?;
        }
    }
    Ok(())
}
