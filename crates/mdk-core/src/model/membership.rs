//! The life of a group: founding, joining, members, settings, leaving; and the step from epoch to epoch.

use mdk_store::{GroupRow, GroupStatus, MessageStatus};
use mdk_wire::NostrGroupId;

use crate::model::error::{Error, Result};
use crate::model::values::GroupState;

/// Whether a group waits for the answer to its invite.
pub(crate) fn is_invited(status: GroupStatus) -> bool {
    matches!(status, GroupStatus::Invited | GroupStatus::Reinvited)
}

/// Routing id of a group without 0x8004.
pub(crate) const UNROUTED: NostrGroupId = NostrGroupId::from_bytes([0; 32]);

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
        GroupStatus::RunsElsewhere => Err(Error::RunsElsewhere),
    }
}

/// The state a user sees; `None` for groups that are not visible (founding, declined).
pub(crate) fn state(status: GroupStatus) -> Option<GroupState> {
    Some(match status {
        GroupStatus::Founding => return None,
        GroupStatus::Invited | GroupStatus::Reinvited => GroupState::Pending,
        GroupStatus::Active => GroupState::Active,
        GroupStatus::Leaving => GroupState::Leaving,
        GroupStatus::Left => GroupState::Left,
        GroupStatus::Removed => GroupState::Removed,
        GroupStatus::Disbanding | GroupStatus::Disbanded => GroupState::Disbanded,
        GroupStatus::Unrecoverable | GroupStatus::RunsElsewhere => GroupState::Unrecoverable,
    })
}

/// Whether a message is part of the history that a user sees.
pub(crate) fn is_shown(status: MessageStatus) -> bool {
    !matches!(status, MessageStatus::Expired | MessageStatus::Parked)
}
