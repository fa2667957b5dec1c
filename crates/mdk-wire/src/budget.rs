//! What each peer may cost: the one place of these numbers. `docs/internals/budgets.md` says what each is against and which
//! test goes over it.

/// A relay, whoever named it.
pub mod relay {}

/// A stranger who invites.
pub mod inviter {}

/// A member of a group, who may be hostile.
pub mod member {}

/// A group, with all of its members and relays.
pub mod group {}
