//! What commits of ours are for, beyond what their proposals say.

/// What the row of a commit says that it is for.
pub(crate) const PURPOSE_DISBAND: u8 = 1;
/// Whom it puts out is to stay out: see `operations/repeat_undone_removals.rs`.
pub(crate) const PURPOSE_SEAL: u8 = 2;
/// It makes again what another branch has undone, and was not sealed.
pub(crate) const PURPOSE_AGAIN: u8 = 3;
