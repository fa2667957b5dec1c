//! All that touches OpenMLS.

pub(crate) mod capabilities;
pub(crate) mod components;
pub(crate) mod decline_invite;
pub(crate) mod decode;

pub(crate) mod encrypt;
pub(crate) mod end_membership;
pub(crate) mod enter_epoch;
pub(crate) mod event_size;
pub(crate) mod identity;
pub(crate) mod invitees;
pub(crate) mod key_packages;
pub(crate) mod leave_proposal;
pub(crate) mod loaded_groups;
pub(crate) mod media_secret;
pub(crate) mod membership_changes;
pub(crate) mod outgoing_welcomes;
pub(crate) mod own_commit;
pub(crate) mod parallel;
pub(crate) mod proposals;
pub(crate) mod provider;
pub(crate) mod rebuild_state;
pub(crate) mod refusal;
pub(crate) mod replay;
pub(crate) mod sender_position;
pub(crate) mod settings;
pub(crate) mod signer;
pub(crate) mod stage_commit;
pub(crate) mod state_keys;
#[cfg(test)]
mod tests;
pub(crate) mod views;
pub(crate) mod welcome;
pub(crate) mod work;
