//! The purposes of our commits, beyond their proposals.

/// The commit ends the group.
pub(crate) const PURPOSE_DISBAND: u8 = 1;
/// The accounts that it puts out are to stay out: see `operations/hold_removals.rs`.
pub(crate) const PURPOSE_SEAL: u8 = 2;
/// It makes a removal again that another branch has undone, and was not sealed.
pub(crate) const PURPOSE_AGAIN: u8 = 3;
