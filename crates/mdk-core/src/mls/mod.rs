//! All that touches OpenMLS.
//!
//! - what all work here needs: its context, the provider, the loaded groups, our identity, the cores: `work`,
//!   `provider`, `loaded_groups`, `identity`, `signer`, `parallel`
//! - what we offer, and the KeyPackages of us and of others: `capabilities`, `key_packages`, `invitees`
//! - a group's settings and other components of its state: `settings`, `components`
//! - commits of ours, with their Welcomes and proposals: `stage_commit`, `own_commit`, `outgoing_welcomes`,
//!   `leave_proposal`
//! - messages and Welcomes that come, and why one is refused: `decode`, `welcome`, `proposals`, `sender_position`,
//!   `refusal`
//! - other states of a group, rebuilt and tried on copies: `rebuild_state`, `replay`
//! - the step to the next epoch, what it tells the user, and the end: `enter_epoch`, `membership_changes`,
//!   `end_membership`, `decline_invite`
//! - messages of ours, and keys from the secrets of a state: `encrypt`, `event_size`, `state_keys`, `media_secret`
//! - MLS objects in the terms of the rules, for `policy`: `views`

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
pub(crate) mod push_owners;
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
