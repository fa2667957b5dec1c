//! Follow-ups: work that one thing makes due elsewhere.

use mdk_wire::GroupId;

use crate::model::state_id::Auth;

/// Work that an operation has made due. The smallest is done first, equal ones once: reading comes before letting go
/// (rule: F1-3), and a group's duties to its members come before reading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FollowUp {
    /// A commit of ours, by its row, whose end a relay has told.
    SettleOwnCommit(i64, Published),
    /// A candidate on the followed tip: nothing competes with it.
    FollowBranch(GroupId, Auth),
    /// Branches may be more than are kept.
    LimitBranches(GroupId),
    /// A leave counts in one epoch: it is asked for again.
    RenewLeave(GroupId),
    /// Another branch is followed: the members that its commits of ours have added are invited.
    ReleaseWelcomes(GroupId),
    /// An end of ours has lost.
    DisbandAgain(GroupId),
    /// Leaves of others may be due.
    AnswerLeaves(GroupId),
    /// Removals may have to be made again, or sealed.
    WorkOffRemovals(GroupId),
    /// Welcomes that waited for something that has gone are taken up.
    TakeUpWelcomes,
    /// Handshakes that wait are tried on every state that they were not tried on yet.
    TryHandshakes(GroupId),
    /// From here on: reading, then letting go. Events that have waited may open now.
    RetryBuffered(GroupId),
    /// A pass that was opened for events that came while a commit of ours, which led to this state, was being
    /// published.
    EndHold(GroupId, Auth),
    /// The pass may be over.
    CloseIfDue(GroupId),
}

/// The known end of a commit of ours that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Published {
    /// A relay has it.
    There,
    /// Nobody has it, and nobody will.
    Nowhere,
}

impl FollowUp {
    /// Whether it is done with the event that made it due, before anything else is read.
    pub(crate) fn is_at_once(&self) -> bool {
        !matches!(self, Self::RetryBuffered(_) | Self::EndHold(..) | Self::CloseIfDue(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // shows: F1-3
    /// Immediate work comes before reading, and reading before letting go.
    #[test]
    fn what_is_read_comes_before_what_is_let_go() {
        let id = || GroupId::from_bytes(&[9; 16]).expect("a group id");
        let other = || GroupId::from_bytes(&[1; 16]).expect("a group id");
        let mut due = std::collections::BTreeSet::from([
            FollowUp::CloseIfDue(other()),
            FollowUp::EndHold(id(), [0; 32]),
            FollowUp::RetryBuffered(id()),
            FollowUp::TryHandshakes(id()),
            FollowUp::LimitBranches(id()),
            FollowUp::SettleOwnCommit(7, Published::There),
        ]);
        due.insert(FollowUp::LimitBranches(id()));
        let order: Vec<bool> = due.iter().map(FollowUp::is_at_once).collect();
        assert_eq!(order, [true, true, true, false, false, false]);
        assert_eq!(due.last(), Some(&FollowUp::CloseIfDue(other())));
    }
}
