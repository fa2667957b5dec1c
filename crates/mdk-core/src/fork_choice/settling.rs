//! The window in which branches compete: its opening, its length and its reach.

use mdk_store::{GroupRow, PassRow};

use crate::fork_choice::branch_order;
use crate::model::busy_time::Worked;
use crate::model::limits::MOST_FETCHED;

/// Opens the pass, or makes it wait on. (rule: E5-1)
pub(crate) fn touch(pass: &mut PassRow, epoch: u64, now_millis: u64) {
    if pass.opened == 0 {
        pass.opened = now_millis.max(1);
        pass.base = epoch;
    }
    pass.relevant = now_millis.max(1);
}

/// The epoch that the choice counts from which a rival of now takes part in. A line may have gone far since its pass was
/// opened; branches are counted in the window of where it has come to.
pub(crate) fn base_for_rival(row: &GroupRow) -> u64 {
    match (row.pass.opened, row.pass.contested) {
        (0, _) => row.epoch,
        (_, 0) => {
            row.pass.base.max(row.epoch.saturating_sub(branch_order::POLICY.max_rewind_commits))
        }
        _ => row.pass.base,
    }
}

/// Whether a commit leads further than the open pass reaches. Such a commit is for the next pass, and messages from
/// before can still come meanwhile. (rule: E5-7)
///
/// A pass without rivals has nothing to choose, so a line of commits is followed as far as it goes (rule: E5-8). A pass
/// with rivals reaches as far from the fork, or from its opening, as branches may differ: a member that waited with the
/// whole line would open its pass there. `early` says that rivals may be among events that are still to be read in this
/// call. Then the line is left to the end of it, when everything is taken up by epochs and no rival is passed by.
pub(crate) fn beyond(pass: &PassRow, epoch: u64, early: bool) -> bool {
    let from = match pass.contested {
        _ if pass.opened == 0 => return false,
        0 if !early => return false,
        0 => pass.base,
        contested => pass.base.max(contested.saturating_sub(1)),
    };
    epoch >= from.saturating_add(branch_order::POLICY.max_rewind_commits)
}

/// Whether another branch may still take the place of the followed one: a choice is to come, or a branch that lost is
/// retained.
pub(crate) fn undecided(pass: &PassRow) -> bool {
    pass.opened != 0 || pass.contested != 0
}

/// The times that an open pass waits, in milliseconds, and the causes of the wait.
pub(crate) struct SettlingTimes<'a> {
    /// The wait without anything relevant.
    pub(crate) quiet: u64,
    /// The wait in any case.
    pub(crate) hard: u64,
    /// The end of the fetching of a history, Unix milliseconds; 0 if none is fetched.
    pub(crate) fetching_until: u64,
    /// The times at which we were at work.
    pub(crate) worked: &'a Worked,
}

impl SettlingTimes<'_> {
    /// The end of an open pass, in Unix milliseconds. `None`: none is open.
    ///
    /// Closing lets go of states that the next page of a history may still be read in. So time in which we were at work is
    /// not counted, because nobody could give us that page meanwhile, and while a history is being fetched it waits on.
    pub(crate) fn deadline(&self, pass: &PassRow) -> Option<u64> {
        let after = |from: u64, millis: u64| {
            from.saturating_add(millis).saturating_add(self.worked.since(from))
        };
        (pass.opened != 0).then(|| {
            let over = after(pass.relevant, self.quiet).min(after(pass.opened, self.hard));
            over.max(self.fetching_until.min(pass.opened.saturating_add(MOST_FETCHED)))
        })
    }

    /// Whether the open pass is to be closed. (rule: E5-2; a clock that went back closes it)
    pub(crate) fn is_due(&self, pass: &PassRow, now_millis: u64) -> bool {
        self.deadline(pass).is_some_and(|at| at <= now_millis || now_millis < pass.relevant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(worked: &Worked, fetching_until: u64) -> SettlingTimes<'_> {
        SettlingTimes { quiet: 1_000, hard: 5_000, fetching_until, worked }
    }

    // shows: E5-2
    /// A pass is over after a quiet time, after the hard limit in any case, and when the clock goes back.
    #[test]
    fn a_pass_waits_for_quiet_and_not_for_ever() {
        let worked = Worked::default();
        let times = times(&worked, 0);
        let pass = |relevant| PassRow { opened: 10_000, relevant, ..PassRow::default() };
        assert_eq!(times.deadline(&PassRow::default()), None);
        assert_eq!(times.deadline(&pass(10_000)), Some(11_000));
        assert_eq!(times.deadline(&pass(14_500)), Some(15_000));
        assert!(!times.is_due(&pass(10_000), 10_999));
        assert!(times.is_due(&pass(10_000), 11_000));
        assert!(times.is_due(&pass(10_500), 10_400));
    }

    /// A history that is being fetched holds a pass open for a bounded time, and our own work does not count as quiet.
    #[test]
    fn a_pass_waits_for_history_and_for_ourselves() {
        let mut worked = Worked::default();
        let pass = PassRow { opened: 10_000, relevant: 10_000, ..PassRow::default() };
        assert_eq!(times(&worked, 13_000).deadline(&pass), Some(13_000));
        let most = 10_000 + MOST_FETCHED;
        assert_eq!(times(&worked, most + 1).deadline(&pass), Some(most));
        worked.note(10_100, 10_600);
        assert_eq!(times(&worked, 0).deadline(&pass), Some(11_500));
    }
}
