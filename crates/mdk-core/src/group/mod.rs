//! The life of a group: founding, joining, members, settings, leaving; and the step from epoch to epoch.

use mdk_store::GroupStatus;

pub(crate) mod create;
pub(crate) mod epoch;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod members;
pub(crate) mod settings;
pub(crate) mod update;

/// Whether the MLS state of a group in this status is gone.
pub(crate) fn is_over(status: GroupStatus) -> bool {
    matches!(
        status,
        GroupStatus::Left | GroupStatus::Removed | GroupStatus::Declined | GroupStatus::Disbanded
    )
}
