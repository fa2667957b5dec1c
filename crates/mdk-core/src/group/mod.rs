//! The life of a group: founding, joining, members, settings, leaving; and the step from epoch to epoch.

use mdk_store::{GroupRow, GroupStatus};

use crate::error::{Error, Result};
use join::UNROUTED;

pub(crate) mod beside;
pub(crate) mod create;
pub(crate) mod declined;
mod delete;
pub(crate) mod doubt;
pub(crate) mod earlier;
pub(crate) mod epoch;
pub(crate) mod inviters;
pub(crate) mod invites;
pub(crate) mod join;
mod kept;
pub(crate) mod leave;
pub(crate) mod members;
pub(crate) mod removals;
mod requirements;
mod rival;
pub(crate) mod settings;
pub(crate) mod update;
pub(crate) mod waiting;

/// Whether the MLS state of a group in this status is gone.
pub(crate) fn is_over(status: GroupStatus) -> bool {
    matches!(status, GroupStatus::Left | GroupStatus::Removed | GroupStatus::Disbanded)
}

/// Whether nothing can be said in a group any more, as it stands.
pub(crate) fn is_out(status: GroupStatus) -> bool {
    is_over(status) || status == GroupStatus::Disbanding
}

/// Whether we may send and commit: an accepted, live membership in a group that can be reached.
pub(crate) fn require_active(row: &GroupRow) -> Result<()> {
    match row.status {
        GroupStatus::Active if row.nostr_group_id == UNROUTED => {
            Err(Error::NotAllowed("the group has no routing component: nothing can be sent"))
        }
        GroupStatus::Active => Ok(()),
        GroupStatus::Founding => Err(Error::CommitPending),
        GroupStatus::Invited | GroupStatus::Reinvited => {
            Err(Error::NotMember("the invite is not accepted yet"))
        }
        // rule: 2.7-2 who asked to leave says and commits nothing
        GroupStatus::Leaving => Err(Error::NotMember("a leave was requested")),
        GroupStatus::Left => Err(Error::NotMember("left")),
        GroupStatus::Removed => Err(Error::NotMember("removed")),
        GroupStatus::Disbanding | GroupStatus::Disbanded => {
            Err(Error::NotMember("the group was disbanded"))
        }
        GroupStatus::Unrecoverable => Err(Error::Unrecoverable("a retained state was lost")),
    }
}
