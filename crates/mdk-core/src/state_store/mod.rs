//! Narrow repositories over the transaction, with the memory that mirrors them.
//!
//! - all repositories of a call, and the memory of them between calls: `records`, `memory`
//! - groups, memberships in them and the user's view of both: `groups`, `memberships`, `previous_memberships`,
//!   `history`
//! - states of a group, the followed one and those beside it: `retained_states`, `candidates`, `settling`,
//!   `witnesses`, `others_on_another_branch`
//! - removals, and what undoes them: `removals_of_others`, `removals_of_us`
//! - commits of ours, and the renewals after a restore: `pending_commits`, `after_restore`
//! - events that came: the results, the keys that were tried, what waits: `seen`, `event_keys`, `buffered_events`,
//!   `buffered_memory`, `held_times`, `pending_handshakes`, `handshakes_tried`
//! - invites, theirs and ours: `pending_welcomes`, `competing_invites`, `declined_invites`, `invite_deliveries`
//! - when our KeyPackages are replaced: `key_package_plans`
//! - messages: what they do to each other, order, branches, end: `message_effects`, `message_order`,
//!   `branch_messages`, `message_expiry`, `history_quota`, `history_gaps`, `file_keys`
//! - sending: whether it may be, the outbox, and messages of ours until relays have them: `may_say`, `outbox`,
//!   `deliveries`, `stale_outgoing`, `timestamps`
//! - the tokens that wake phones: `push_tokens`
//! - the event log that is told to the user: `event_log`, `log_entry`, `log_rows`, `read_events`

pub(crate) mod after_restore;
pub(crate) mod branch_messages;
pub(crate) mod buffered_events;
pub(crate) mod buffered_memory;
pub(crate) mod candidates;
pub(crate) mod competing_invites;
pub(crate) mod declined_invites;
pub(crate) mod deliveries;
pub(crate) mod event_keys;
pub(crate) mod event_log;
pub(crate) mod file_keys;
pub(crate) mod groups;
pub(crate) mod handshakes_tried;
pub(crate) mod held_times;
pub(crate) mod history;
pub(crate) mod history_gaps;
pub(crate) mod history_quota;
pub(crate) mod invite_deliveries;
pub(crate) mod key_package_plans;
pub(crate) mod log_entry;
pub(crate) mod log_rows;
pub(crate) mod may_say;
pub(crate) mod memberships;
pub(crate) mod memory;
pub(crate) mod message_effects;
pub(crate) mod message_expiry;
pub(crate) mod message_order;
pub(crate) mod others_on_another_branch;
pub(crate) mod outbox;
pub(crate) mod pending_commits;
pub(crate) mod pending_handshakes;
pub(crate) mod pending_welcomes;
pub(crate) mod previous_memberships;
pub(crate) mod push_tokens;
pub(crate) mod read_events;
pub(crate) mod records;
pub(crate) mod removals_of_others;
pub(crate) mod removals_of_us;
pub(crate) mod retained_states;
pub(crate) mod seen;
pub(crate) mod settling;
pub(crate) mod stale_outgoing;
pub(crate) mod timestamps;
pub(crate) mod witnesses;
