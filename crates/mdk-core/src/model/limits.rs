//! Limits and times of our own, beyond those of the protocol. What bounds a peer stands in `mdk_wire::budget`.

/// States that an open pass retains of a line that it follows: messages in them, and rivals of them, may still come.
/// The number equals the most commits of a group that wait, so commits that came before the ones they lead on from lose
/// nothing.
pub(crate) const MAX_LINE: u64 = 256;

/// The longest time that the fetching of a history keeps a pass open, in milliseconds: our own commits wait for it.
pub(crate) const MOST_FETCHED: u64 = 20_000;

/// Passes that one call closes for a group.
pub(crate) const MAX_PASSES: usize = 10_000;

/// The time for which the states of a group that we are out of are kept, in seconds: a branch that keeps us may still
/// win. Nothing advances such a group, so time has to end it.
pub(crate) const OUT_FOR: u64 = 86_400;

/// The time after which a commit that the clock forbids to judge is tried again, in milliseconds.
pub(crate) const JUDGE_AGAIN: u64 = 600_000;

/// The time that a Welcome waits for a removal before it counts as one from a branch that we cannot see, in seconds.
pub(crate) const PATIENCE: u64 = 120;

/// Milliseconds.
pub(crate) const MINUTE: u64 = 60_000;

/// The error of a clock up to which its dates count as ours, in seconds. Relays may give events from before our
/// membership at any time. An event counts as one of those if it claims to be older than our membership by more than
/// this.
pub(crate) const CLOCKS: u64 = 86_400;

/// Seconds.
pub(crate) const HOUR: u64 = 3_600;
